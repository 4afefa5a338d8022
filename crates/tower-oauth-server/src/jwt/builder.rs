use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tower_oauth_core::{BuildError, Clock, Issuer, SystemClock};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::{Algorithm, Profile, Rules, StandardClaims, Verified};

use super::cache::{VerifiedTokenCache, VerifiedTokens};
use super::{Inner, Jwt, ReadClaims};
use crate::Jwks;

const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// The first step to a [`Jwt`]: an issuer, and no audience yet.
#[derive(Clone, Debug)]
#[must_use = "a `Jwt` needs an audience"]
pub struct JwtIssuer {
    issuer: String,
}

impl JwtIssuer {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// Accepts tokens that name this audience (RFC 7519 §4.1.3): us.
    pub fn audience(self, audience: impl Into<String>) -> JwtBuilder {
        self.audiences([audience.into()])
    }

    /// Accepts tokens that name one of these audiences, where we have several names.
    pub fn audiences<A: Into<String>>(self, audiences: impl IntoIterator<Item = A>) -> JwtBuilder {
        JwtBuilder {
            options: Options {
                issuer: self.issuer,
                audiences: audiences.into_iter().map(Into::into).collect(),
                algorithms: None,
                profile: Profile::default(),
                leeway: None,
                max_lifetime: None,
                clock: Arc::new(SystemClock),
                jwks: None,
                jwks_uri: None,
                http: None,
                stale_for: None,
                trusted_hosts: Vec::new(),
                snapshot_file: None,
                verified_tokens: Some(VerifiedTokenCache::new()),
            },
            claims: |verified: Verified| Ok(verified.into_standard()),
        }
    }
}

/// Builds a [`Jwt`]; made by [`Jwt::issuer`] and an audience.
///
/// | option | default |
/// | --- | --- |
/// | [`claims`](Self::claims) | [`StandardClaims`] |
/// | [`lenient`](Self::lenient) | off: tokens follow RFC 9068 |
/// | [`algorithms`](Self::algorithms) | all: RS/PS 256 to 512, ES256, ES384, EdDSA |
/// | [`leeway`](Self::leeway) | 30 s |
/// | [`max_lifetime`](Self::max_lifetime) | 24 h |
/// | [`verified_token_cache`](Self::verified_token_cache) | 10,000 tokens of up to 4 KiB |
/// | [`jwks_uri`](Self::jwks_uri) | what the issuer's metadata say |
/// | [`trust_host`](Self::trust_host) | the issuer's own host only |
/// | [`stale_for`](Self::stale_for) | 24 h |
/// | [`snapshot_file`](Self::snapshot_file) | none |
/// | [`jwks`](Self::jwks) | a [`Jwks`] of its own |
/// | [`http_client`](Self::http_client) | the `transport` feature's; without the feature it must be given |
/// | [`clock`](Self::clock) | the system's |
#[must_use]
pub struct JwtBuilder<C = StandardClaims> {
    options: Options,
    claims: ReadClaims<C>,
}

#[derive(Clone)]
struct Options {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Option<Vec<Algorithm>>,
    profile: Profile,
    leeway: Option<Duration>,
    max_lifetime: Option<Duration>,
    clock: Arc<dyn Clock>,
    jwks: Option<Jwks>,
    jwks_uri: Option<String>,
    http: Option<HttpClient>,
    stale_for: Option<Duration>,
    trusted_hosts: Vec<String>,
    snapshot_file: Option<PathBuf>,
    verified_tokens: Option<VerifiedTokenCache>,
}

impl<C> JwtBuilder<C> {
    /// Gives the claims in the application's own type.
    ///
    /// They are read only after everything else is checked. A valid token whose claims do not fit is refused with
    /// [`UnfitClaims`](tower_oauth_jose::InvalidToken::UnfitClaims).
    pub fn claims<D>(self) -> JwtBuilder<D>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        JwtBuilder { options: self.options, claims: |verified: Verified| verified.claims() }
    }

    /// Accepts tokens of issuers that do not follow RFC 9068. Read [`Profile::Lenient`] first: an ID
    /// token cannot always be told from an access token then.
    pub fn lenient(mut self) -> Self {
        self.options.profile = Profile::Lenient;
        self
    }

    /// Accepts these signature algorithms only. (An algorithm must also be the key's, always.)
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.options.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// How far our clock and the issuer's may differ, for `exp`, `nbf` and `iat` alike: 30 s if not
    /// set, at most 300 s, in whole seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.options.leeway = Some(leeway);
        self
    }

    /// How long a token may live, from `iat` to `exp`: 24 h if not set, in whole seconds.
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.options.max_lifetime = Some(max_lifetime);
        self
    }

    /// How many verified tokens are remembered: [`VerifiedTokenCache::new`] if not set, none with
    /// `None`.
    pub fn verified_token_cache(mut self, cache: impl Into<Option<VerifiedTokenCache>>) -> Self {
        self.options.verified_tokens = cache.into();
        self
    }

    /// The address of the key set, for an issuer without metadata.
    pub fn jwks_uri(mut self, jwks_uri: impl Into<String>) -> Self {
        self.options.jwks_uri = Some(jwks_uri.into());
        self
    }

    /// Also takes a discovered `jwks_uri` on this host, which is not the issuer's.
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.options.trusted_hosts.push(host.into());
        self
    }

    /// For how long keys that have outlived their freshness may serve while the issuer does not
    /// answer: see [`JwksBuilder::stale_for`](crate::JwksBuilder::stale_for).
    pub fn stale_for(mut self, stale_for: Duration) -> Self {
        self.options.stale_for = Some(stale_for);
        self
    }

    /// Keeps the keys in this file, for a start while the issuer does not answer: see
    /// [`JwksBuilder::snapshot_file`](crate::JwksBuilder::snapshot_file).
    pub fn snapshot_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.snapshot_file = Some(path.into());
        self
    }

    /// Takes the keys from here: two validators of one issuer, say with an audience each, can share
    /// them. They must be that issuer's keys; where they were discovered for another, `build` fails.
    pub fn jwks(mut self, jwks: Jwks) -> Self {
        self.options.jwks = Some(jwks);
        self
    }

    /// Fetches metadata and keys with this HTTP client, whatever Tower layers it wears.
    pub fn http_client(mut self, http: HttpClient) -> Self {
        self.options.http = Some(http);
        self
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// Checks the values. Nothing is fetched yet.
    ///
    /// # Errors
    /// A value that cannot work, by name: no absolute https issuer, an empty audience or none, no
    /// algorithm, a leeway of more than 300 s, a lifetime below a second; what [`JwksBuilder`](crate::JwksBuilder)
    /// refuses; an option for fetching keys beside [`jwks`](Self::jwks).
    pub fn build(self) -> Result<Jwt<C>, BuildError> {
        let issuer = Issuer::parse(&self.options.issuer)?;
        let rules = self.options.rules(&issuer)?;
        let clock = Arc::clone(&self.options.clock);
        let verified = self.options.verified_tokens.map(VerifiedTokens::new).transpose()?;
        let jwks = self.options.key_source(&issuer)?;
        Ok(Jwt(Arc::new(Inner { rules, jwks, clock, claims: self.claims, verified })))
    }
}

impl Options {
    fn rules(&self, issuer: &Issuer) -> Result<Rules, BuildError> {
        let refuse =
            |option, value: &dyn fmt::Display, why| Err(BuildError::new(option, value, why));
        let mut audiences = self.audiences.iter();
        let Some(first) = audiences.next() else {
            return refuse("audiences", &"none", "names no audience");
        };
        if self.audiences.iter().any(String::is_empty) {
            return refuse("audience", &"", "is empty");
        }
        let mut rules = audiences
            .fold(Rules::builder(issuer.as_str(), first), |rules, more| rules.audience(more))
            .profile(self.profile);
        if let Some(algorithms) = &self.algorithms {
            if algorithms.is_empty() {
                return refuse("algorithms", &"none", "names no algorithm");
            }
            rules = rules.algorithms(algorithms.iter().copied());
        }
        if let Some(leeway) = self.leeway {
            if leeway > MAX_LEEWAY {
                return refuse("leeway", &format_args!("{leeway:?}"), "is more than 300 s");
            }
            rules = rules.leeway(leeway);
        }
        if let Some(max_lifetime) = self.max_lifetime {
            if max_lifetime < Duration::from_secs(1) {
                let value = format_args!("{max_lifetime:?}");
                return refuse("max_lifetime", &value, "is less than a second");
            }
            rules = rules.max_lifetime(max_lifetime);
        }
        rules.build().map_err(|error| BuildError::new("rules", error, "cannot be used"))
    }

    fn key_source(self, issuer: &Issuer) -> Result<Jwks, BuildError> {
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

// Derived, it would ask for `C: Clone`.
impl<C> Clone for JwtBuilder<C> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), claims: self.claims }
    }
}

impl<C> fmt::Debug for JwtBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtBuilder")
            .field("issuer", &self.options.issuer)
            .field("audiences", &self.options.audiences)
            .finish_non_exhaustive()
    }
}
