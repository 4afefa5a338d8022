use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;
use tower_oauth_core::codec::{Codec, StatusListCodec};
use tower_oauth_core::{BuildError, Clock, Issuer};
use tower_oauth_endpoint::{Endpoint, HttpClient};
use tower_oauth_jose::{LARGEST_STATUS_LIST_BYTES, Rules};
use tower_single_flight::SingleFlightLayer;

use super::fetch::{Ask, Fetcher, Verifier};
use super::list::{Key, MIN_TTL};
use super::store::Store;
use super::{Options, Route, Shared, StatusCheck, StatusLists};
use crate::jwks::default_http_client;
use crate::{Jwks, Outage};

const MAX_LISTS: usize = 4_096;
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const LEAST_BYTES: usize = 1024;
const MAX_UNPACKED_BYTES: usize = 64 * 1024 * 1024;
/// How many requests may wait for one list.
const MAX_WAITERS: usize = 8_192;

/// Builds [`StatusLists`]; made by [`StatusLists::builder`].
///
/// | option | default |
/// | --- | --- |
/// | [`required`](Self::required) | off: a token that names no list is let in |
/// | [`outage`](Self::outage) | [`Outage::Closed`] |
/// | [`accept_status`](Self::accept_status) | 0 ("valid") only |
/// | [`max_ttl`](Self::max_ttl) | 1 h; from 5 s to 24 h |
/// | [`trust_host`](Self::trust_host) | the issuer's own host only |
/// | [`max_lists`](Self::max_lists) | 64; at most 4,096 |
/// | [`max_token_bytes`](Self::max_token_bytes) | 256 KiB as fetched; at most 4 MiB |
/// | [`max_unpacked_bytes`](Self::max_unpacked_bytes) | 4 MiB; at most 64 MiB |
/// | [`http_client`](Self::http_client) | the one that the [`Jwt`](crate::Jwt) is given, or else the `transport` feature's |
///
/// The issuer, its keys, the algorithms, the leeway and the clock are those of the `Jwt`.
#[derive(Clone)]
#[must_use]
pub struct StatusListsBuilder {
    required: bool,
    outage: Outage,
    accepted: Vec<u8>,
    max_ttl: Duration,
    trusted_hosts: Vec<String>,
    max_lists: usize,
    max_token_bytes: usize,
    max_unpacked_bytes: usize,
    http: Option<HttpClient>,
}

impl StatusListsBuilder {
    pub(super) fn new() -> Self {
        Self {
            required: false,
            outage: Outage::Closed,
            accepted: Vec::new(),
            max_ttl: Duration::from_secs(60 * 60),
            trusted_hosts: Vec::new(),
            max_lists: 64,
            max_token_bytes: StatusListCodec::MAX_BODY,
            max_unpacked_bytes: 4 * 1024 * 1024,
            http: None,
        }
    }

    /// Refuses tokens that name no status list (401): for an issuer that puts one into each.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What happens while a list cannot be fetched; a route may [decide otherwise](StatusLists::with_outage).
    pub fn outage(mut self, outage: Outage) -> Self {
        self.outage = outage;
        self
    }

    /// Also lets in tokens with this status: 3 and 12 to 15 mean what the application says, and others may be registered
    /// (draft-ietf-oauth-status-list §7.1). 2 ("suspended") is possible, too; 1 ("invalid") is not.
    pub fn accept_status(mut self, status: u8) -> Self {
        self.accepted.push(status);
        self
    }

    /// How long a list may be used before it is fetched anew, whatever its `ttl` says: 1 h if not set, from 5 s to 24 h.
    /// For so long a revoked token may still be let in.
    pub fn max_ttl(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = max_ttl;
        self
    }

    /// Also fetches lists from this host, which is not the issuer's. The issuer's signature has to be on them all the same.
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.trusted_hosts.push(host.into());
        self
    }

    /// How many lists are kept: 64 if not set, from 1 to 4,096.
    pub fn max_lists(mut self, max_lists: usize) -> Self {
        self.max_lists = max_lists;
        self
    }

    /// How long a list may be as it is fetched, signed and compressed: 256 KiB if not set, from 1 KiB to 4 MiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// How long a list may be when it is unpacked: 4 MiB if not set (33 million tokens of one bit), from 1 KiB to 64 MiB. Times the
    /// number of lists, this is the most memory that they take.
    pub fn max_unpacked_bytes(mut self, bytes: usize) -> Self {
        self.max_unpacked_bytes = bytes;
        self
    }

    /// Fetches with this HTTP client, whatever Tower layers it wears.
    pub fn http_client(mut self, http: HttpClient) -> Self {
        self.http = Some(http);
        self
    }

    /// Checks the values. Nothing is fetched yet.
    ///
    /// # Errors
    /// A value that cannot work, by name: a number or a duration beyond its bounds, an accepted status of 0 or 1, a host that is empty.
    pub fn build(self) -> Result<StatusLists, BuildError> {
        self.check()?;
        let route = Route { outage: self.outage.checked()? };
        let store = Arc::new(Store::new(self.max_lists));
        let fetcher = Fetcher::new(
            Arc::clone(&store),
            self.max_ttl,
            self.max_token_bytes,
            self.max_unpacked_bytes,
        );
        let flight = SingleFlightLayer::new((|ask| ask.key.clone()) as fn(&Ask) -> Key)
            .max_waiters(MAX_WAITERS)
            .layer(fetcher);
        let options = Options {
            required: self.required,
            accepted: self.accepted,
            trusted_hosts: self.trusted_hosts,
            max_token_bytes: self.max_token_bytes,
            http: self.http,
        };
        Ok(StatusLists { shared: Arc::new(Shared { store, flight, options }), route })
    }

    fn check(&self) -> Result<(), BuildError> {
        let refuse =
            |option, value: &dyn fmt::Display, why| Err(BuildError::new(option, value, why));
        if let Some(status) = self.accepted.iter().find(|status| **status < 2) {
            let why = "is \"valid\" or \"invalid\", about which there is nothing to say";
            return refuse("accept_status", status, why);
        }
        if !(MIN_TTL..=MAX_TTL).contains(&self.max_ttl) {
            let value = format_args!("{:?}", self.max_ttl).to_string();
            return refuse("max_ttl", &value, "is not from 5 s to 24 h");
        }
        if self.trusted_hosts.iter().any(String::is_empty) {
            return refuse("trust_host", &"", "is empty");
        }
        if !(1..=MAX_LISTS).contains(&self.max_lists) {
            return refuse("max_lists", &self.max_lists, "is not from 1 to 4,096");
        }
        if !(LEAST_BYTES..=LARGEST_STATUS_LIST_BYTES).contains(&self.max_token_bytes) {
            let why = "is not from 1 KiB to 4 MiB";
            return refuse("max_token_bytes", &self.max_token_bytes, why);
        }
        if !(LEAST_BYTES..=MAX_UNPACKED_BYTES).contains(&self.max_unpacked_bytes) {
            let why = "is not from 1 KiB to 64 MiB";
            return refuse("max_unpacked_bytes", &self.max_unpacked_bytes, why);
        }
        Ok(())
    }
}

impl fmt::Debug for StatusListsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusListsBuilder")
            .field("required", &self.required)
            .field("outage", &self.outage)
            .field("max_ttl", &self.max_ttl)
            .field("trusted_hosts", &self.trusted_hosts)
            .finish_non_exhaustive()
    }
}

impl StatusLists {
    /// The lists, as a validator of this issuer asks for them.
    pub(crate) fn bind(
        self,
        issuer: &Issuer,
        rules: &Rules,
        jwks: &Jwks,
        clock: &Arc<dyn Clock>,
        http: Option<HttpClient>,
    ) -> Result<StatusCheck, BuildError> {
        let options = &self.shared.options;
        let http = options.http.clone().or(http).map_or_else(default_http_client, Ok)?;
        let codec = StatusListCodec::new().with_max_body(options.max_token_bytes);
        let verifier = Verifier {
            issuer: issuer.as_str().into(),
            host: issuer.host(),
            rules: rules.clone(),
            jwks: jwks.clone(),
            clock: Arc::clone(clock),
            endpoint: Endpoint::new(codec, http),
        };
        Ok(StatusCheck::new(self, verifier))
    }
}
