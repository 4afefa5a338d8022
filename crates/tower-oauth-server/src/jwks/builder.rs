use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::codec::{Metadata, MetadataCodec};
use tower_oauth_core::{BuildError, Clock, EndpointUri, Issuer, SystemClock};
use tower_oauth_endpoint::{Discovery, HttpClient, Locator};

use super::Jwks;
use super::fetch::{DEADLINE, Fetcher};
use super::file::SnapshotFile;
use super::store::Store;

const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Builds a [`Jwks`]; made by [`Jwks::issuer`] and [`Jwks::uri`].
///
/// | option | default |
/// | --- | --- |
/// | [`http_client`](Self::http_client) | the `transport` feature's; without the feature it must be given |
/// | [`stale_for`](Self::stale_for) | 24 h |
/// | [`also_at`](Self::also_at) | no further address |
/// | [`trust_host`](Self::trust_host) | the issuer's own host only |
/// | [`snapshot_file`](Self::snapshot_file) | none |
/// | [`clock`](Self::clock) | the system's |
#[derive(Clone)]
#[must_use]
pub struct JwksBuilder {
    place: Place,
    http: Option<HttpClient>,
    clock: Arc<dyn Clock>,
    stale_for: Duration,
    trusted_hosts: Vec<String>,
    also_at: Vec<String>,
    snapshot_file: Option<PathBuf>,
}

#[derive(Clone)]
enum Place {
    Issuer(String),
    Uri(String),
}

impl JwksBuilder {
    pub(super) fn issuer(issuer: String) -> Self {
        Self::new(Place::Issuer(issuer))
    }

    pub(super) fn uri(uri: String) -> Self {
        Self::new(Place::Uri(uri))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            http: None,
            clock: Arc::new(SystemClock),
            stale_for: MAX_STALE,
            trusted_hosts: Vec::new(),
            also_at: Vec::new(),
            snapshot_file: None,
        }
    }

    /// Fetches with this HTTP client, whatever Tower layers it wears.
    pub fn http_client(mut self, http: HttpClient) -> Self {
        self.http = Some(http);
        self
    }

    /// For how long a set that has outlived its freshness may serve while the issuer does not
    /// answer: 24 h if not set, and at most. Zero switches it off.
    pub fn stale_for(mut self, stale_for: Duration) -> Self {
        self.stale_for = stale_for;
        self
    }

    /// Also takes a discovered `jwks_uri` on this host, which is not the issuer's.
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.trusted_hosts.push(host.into());
        self
    }

    /// Another address of the same key set, for when the first one is in trouble. May be called several times; the
    /// order counts. Whoever answers there is believed: it is as much the issuer as the first address.
    pub fn also_at(mut self, uri: impl Into<String>) -> Self {
        self.also_at.push(uri.into());
        self
    }

    /// Keeps the last good set in this file, for a start while the issuer does not answer.
    ///
    /// It is read once, by [`build`](Self::build). A set that is still fresh serves at once, and is
    /// refreshed by the first request; one that is only within [`stale_for`](Self::stale_for) serves if the first fetch fails; an older
    /// one is ignored. So is, with a warning, a file that is corrupt, larger than 272 KiB, of
    /// another issuer or from the future, and on Unix one that is of another user or writable by
    /// others: whoever can write it can let anybody in. Put it where only the service may write.
    ///
    /// It is written after each load, in the background: mode 0600, to a new file that is then
    /// renamed. A set in which the issuer has published a private key is not written.
    pub fn snapshot_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_file = Some(path.into());
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the values. Nothing is fetched yet.
    ///
    /// # Errors
    /// The issuer or the address is not usable, `stale_for` is more than 24 h, a host is trusted
    /// although nothing is discovered, the snapshot file has no place, or there is no HTTP client.
    pub fn build(self) -> Result<Jwks, BuildError> {
        if self.stale_for > MAX_STALE {
            let value = format_args!("{:?}", self.stale_for);
            return Err(BuildError::new("stale_for", value, "is more than 24 hours"));
        }
        let (Place::Issuer(name) | Place::Uri(name)) = &self.place;
        let file = self.snapshot_file.map(|path| SnapshotFile::new(path, name)).transpose()?;
        let http = self.http.map_or_else(default_http_client, Ok)?;
        let (issuer, locator) = match self.place {
            Place::Uri(uri) => {
                if let Some(host) = self.trusted_hosts.first() {
                    let why = "is for a discovered jwks_uri; this one is given";
                    return Err(BuildError::new("trust_host", host, why));
                }
                let uri =
                    EndpointUri::parse(&uri).map_err(|error| error.with_option("jwks_uri"))?;
                (None, Locator::fixed(uri))
            }
            Place::Issuer(issuer) => {
                let issuer = Issuer::parse(&issuer)?;
                let codec = self
                    .trusted_hosts
                    .into_iter()
                    .fold(MetadataCodec::new(), MetadataCodec::trust_host);
                let discovery = Discovery::new(codec, http.clone());
                let clock = Arc::clone(&self.clock);
                let locator =
                    Locator::discovered(issuer.clone(), discovery, Metadata::jwks_uri, clock);
                (Some(issuer), locator)
            }
        };
        let also_at = self.also_at.iter().map(|uri| EndpointUri::parse(uri));
        let also_at: Result<Vec<_>, _> = also_at.collect();
        let also_at = also_at.map_err(|error| error.with_option("also_at"))?;
        let locator = locator.also_at(also_at, Arc::clone(&self.clock), DEADLINE);
        let fetcher = Fetcher::new(locator, http, Arc::clone(&self.clock));
        Ok(Jwks::fetched(issuer, Store::new(fetcher, self.clock, self.stale_for, file)))
    }
}

#[cfg(feature = "transport")]
pub(crate) fn default_http_client() -> Result<HttpClient, BuildError> {
    HttpClient::transport()
}

#[cfg(not(feature = "transport"))]
pub(crate) fn default_http_client() -> Result<HttpClient, BuildError> {
    let why = "must be given, since the feature `transport` is off";
    Err(BuildError::new("http_client", "none", why))
}

impl fmt::Debug for JwksBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Issuer(place) | Place::Uri(place)) = &self.place;
        f.debug_struct("JwksBuilder")
            .field("place", place)
            .field("stale_for", &self.stale_for)
            .field("trusted_hosts", &self.trusted_hosts)
            .finish_non_exhaustive()
    }
}
