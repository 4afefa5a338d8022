//! What a builder was told, and what follows from it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::{BuildError, Clock, Issuer};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::{Algorithm, AlgorithmSet, KeySet, LARGEST_TOKEN_BYTES, Profile, Rules};

use super::cache::VerifiedTokenCache;
use crate::{Jwks, Revocations};

/// What the rules say if nobody else does.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// How long a token may be allowed to be.
pub(crate) const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 1024..=LARGEST_TOKEN_BYTES;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Option<Vec<Algorithm>>,
    pub(super) profile: Profile,
    pub(super) clients: Option<Vec<String>>,
    pub(super) required_claims: Vec<&'static str>,
    pub(super) checked_too_early: bool,
    pub(super) keys: Option<KeySet>,
    pub(super) max_token_bytes: Option<usize>,
    pub(super) leeway: Option<Duration>,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) jwks: Option<Jwks>,
    pub(super) jwks_uri: Option<String>,
    pub(super) http: Option<HttpClient>,
    pub(super) stale_for: Option<Duration>,
    pub(super) trusted_hosts: Vec<String>,
    pub(super) snapshot_file: Option<PathBuf>,
    pub(super) verified_tokens: Option<VerifiedTokenCache>,
    #[cfg(feature = "status-list")]
    pub(super) status_lists: Option<crate::StatusLists>,
    pub(super) revocations: Option<Revocations>,
}

impl Options {
    pub(super) fn rules(&self, issuer: &Issuer) -> Result<Rules, BuildError> {
        let refuse =
            |option, value: &dyn fmt::Display, why| Err(BuildError::new(option, value, why));
        if self.checked_too_early {
            let why = "is for claims of another type; give it after claims(..)";
            return refuse("check", &"..", why);
        }
        let by_client = self.profile == Profile::Cognito;
        let audiences: Vec<_> = self.audiences.iter().map(String::as_str).collect();
        let mut rules = match audiences.split_first() {
            None if !by_client => return refuse("audiences", &"none", "names no audience"),
            _ if audiences.contains(&"") => return refuse("audience", &"", "is empty"),
            None => Rules::cognito(issuer.as_str(), [""; 0]),
            Some((first, rest)) => rest
                .iter()
                .fold(Rules::builder(issuer.as_str(), *first), |rules, more| rules.audience(*more)),
        };
        rules = rules.profile(self.profile).algorithms(self.accepted_algorithms()?.iter());
        match &self.clients {
            None if by_client => {
                let why = "must be given, since Cognito's tokens name no audience";
                return refuse("clients", &"none", why);
            }
            None => {}
            Some(clients) if clients.is_empty() => {
                return refuse("clients", &"none", "names no client");
            }
            Some(clients) if clients.iter().any(String::is_empty) => {
                return refuse("clients", &"", "is empty");
            }
            Some(clients) => rules = rules.clients(clients),
        }
        for name in &self.required_claims {
            if name.is_empty() {
                return refuse("require_claim", &"", "is empty");
            }
            rules = rules.require_claim(name);
        }
        if let Some(leeway) = self.leeway {
            if leeway > MAX_LEEWAY {
                return refuse("leeway", &format_args!("{leeway:?}"), "is more than 300 s");
            }
            rules = rules.leeway(leeway);
        }
        if let Some(bytes) = self.max_token_bytes {
            if !TOKEN_BYTES.contains(&bytes) {
                return refuse("max_token_bytes", &bytes, "is not from 1 KiB to 64 KiB");
            }
            rules = rules.max_token_bytes(bytes);
        }
        if let Some(max_lifetime) = self.max_lifetime {
            if max_lifetime < Duration::from_secs(1) {
                let value = format_args!("{max_lifetime:?}");
                return refuse("max_lifetime", &value, "is less than a second");
            }
            rules = rules.max_lifetime(max_lifetime);
        }
        let lifetime = self.max_lifetime.unwrap_or(DEFAULT_LIFETIME);
        // A token that outlives the entry which ends it would come back.
        if let Some(revocations) = self.revocations.as_ref().filter(|list| list.life() < lifetime) {
            let value = format_args!("{:?}", revocations.life());
            let why = "is the life of the revocations, and less than max_lifetime";
            return refuse("revocations", &value, why);
        }
        rules.build().map_err(|error| BuildError::new("rules", error, "cannot be used"))
    }

    /// Those that are asked for, as far as the keys can be for them.
    fn accepted_algorithms(&self) -> Result<AlgorithmSet, BuildError> {
        if self.keys.as_ref().is_some_and(KeySet::is_empty) {
            return Err(BuildError::new("keys", "none", "has no usable key"));
        }
        let by_hand = match (&self.keys, &self.jwks) {
            (Some(keys), _) => Some(keys.algorithms()),
            (None, Some(jwks)) => jwks.fixed_algorithms(),
            (None, None) => None,
        };
        let Some(algorithms) = &self.algorithms else {
            return Ok(by_hand.unwrap_or(AlgorithmSet::ASYMMETRIC));
        };
        if algorithms.is_empty() {
            return Err(BuildError::new("algorithms", "none", "names no algorithm"));
        }
        // A secret must not be fetched, and a public key must not be taken for one (RFC 8725 §3.1).
        let possible = by_hand.unwrap_or(AlgorithmSet::ASYMMETRIC);
        match algorithms.iter().find(|algorithm| !possible.contains(**algorithm)) {
            Some(hmac) if hmac.is_hmac() => {
                let why = "needs a secret for it, which is given with keys(..)";
                Err(BuildError::new("algorithms", hmac, why))
            }
            Some(other) => {
                Err(BuildError::new("algorithms", other, "is not what the keys are for"))
            }
            None => Ok(algorithms.iter().copied().collect()),
        }
    }

    pub(super) fn key_source(mut self, issuer: &Issuer) -> Result<Jwks, BuildError> {
        if let Some(keys) = self.keys.take() {
            if self.jwks.is_some() {
                return Err(BuildError::new("jwks", "..", "is given beside keys(..)"));
            }
            self.jwks = Some(Jwks::fixed(keys).map_err(|error| error.with_option("keys"))?);
        }
        let Some(jwks) = self.jwks else {
            let builder = match self.jwks_uri {
                Some(uri) => Jwks::uri(uri),
                None => Jwks::issuer(issuer.as_str()),
            };
            let mut builder = self
                .trusted_hosts
                .into_iter()
                .fold(builder, |builder, host| builder.trust_host(host))
                .clock(self.clock);
            if let Some(stale_for) = self.stale_for {
                builder = builder.stale_for(stale_for);
            }
            if let Some(path) = self.snapshot_file {
                builder = builder.snapshot_file(path);
            }
            if let Some(http) = self.http {
                builder = builder.http_client(http);
            }
            return builder.build();
        };
        let contradiction = [
            ("jwks_uri", self.jwks_uri.is_some()),
            ("http_client", self.http.is_some()),
            ("stale_for", self.stale_for.is_some()),
            ("snapshot_file", self.snapshot_file.is_some()),
            ("trust_host", !self.trusted_hosts.is_empty()),
        ];
        if let Some((option, _)) = contradiction.iter().find(|(_, is_set)| *is_set) {
            let why = "says how to fetch keys, but the keys come from jwks(..)";
            return Err(BuildError::new(option, "..", why));
        }
        // Keys are per issuer: else one tenant's key would sign for another (RFC 8725 §3.8).
        if let Some(other) = jwks.is_of().filter(|other| *other != issuer) {
            return Err(BuildError::new("jwks", other, "are the keys of another issuer"));
        }
        Ok(jwks)
    }
}
