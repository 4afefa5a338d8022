use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tower_oauth_core::{BuildError, Clock, Issuer, SystemClock};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::{Algorithm, InvalidToken, KeySet, Profile, StandardClaims, Verified};

use super::cache::{VerifiedTokenCache, VerifiedTokens};
use super::options::Options;
use super::{Inner, Jwt, ReadClaims};
use crate::{Jwks, Revocations};

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
                clients: None,
                required_claims: Vec::new(),
                checked_too_early: false,
                keys: None,
                max_token_bytes: None,
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
                #[cfg(feature = "status-list")]
                status_lists: None,
                revocations: None,
            },
            claims: Arc::new(|verified: Verified| Ok(verified.into_standard())),
            is_checked: false,
        }
    }

    /// Accepts access tokens of an Amazon Cognito user pool that were issued to one of these app
    /// clients. They name no audience; the clients are checked in its place. See
    /// [`Profile::Cognito`].
    ///
    /// ```
    /// use tower_oauth_server::Jwt;
    ///
    /// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
    /// let pool = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE";
    /// let jwt = Jwt::issuer(pool)
    ///     .cognito_clients(["1h57kf5cpq17m0eml12EXAMPLE"])
    /// #   .http_client(http)
    ///     .build()?;
    /// # drop(jwt); Ok(()) }
    /// ```
    pub fn cognito_clients<A: Into<String>>(
        self,
        clients: impl IntoIterator<Item = A>,
    ) -> JwtBuilder {
        self.audiences([""; 0]).profile(Profile::Cognito).clients(clients)
    }
}

/// Builds a [`Jwt`]; made by [`Jwt::issuer`] and an audience.
///
/// | option | default |
/// | --- | --- |
/// | [`claims`](Self::claims) | [`StandardClaims`] |
/// | [`profile`](Self::profile) | tokens follow RFC 9068 |
/// | [`clients`](Self::clients) | tokens of any client |
/// | [`require_claim`](Self::require_claim) | the profile's claims only |
/// | [`check`](Self::check) | none |
/// | [`algorithms`](Self::algorithms) | all: RS/PS 256 to 512, ES256, ES384, EdDSA; with [`keys`](Self::keys), theirs |
/// | [`keys`](Self::keys) | the issuer's own, fetched |
/// | [`leeway`](Self::leeway) | 30 s |
/// | [`max_token_bytes`](Self::max_token_bytes) | 8 KiB |
/// | [`max_lifetime`](Self::max_lifetime) | 24 h |
/// | [`verified_token_cache`](Self::verified_token_cache) | 10,000 tokens of up to 4 KiB |
/// | `status_list` (feature `status-list`) | none: `status` means nothing |
/// | [`revocations`](Self::revocations) | none: only their time ends tokens |
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
    /// Whether `claims` holds checks.
    is_checked: bool,
}

impl<C: 'static> JwtBuilder<C> {
    /// Gives the claims in the application's own type.
    ///
    /// They are read only after everything else is checked. A valid token whose claims do not fit is refused with
    /// [`UnfitClaims`](tower_oauth_jose::InvalidToken::UnfitClaims).
    pub fn claims<D>(self) -> JwtBuilder<D>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        // The checks so far are for claims of another type; dropped in silence they would be a hole.
        let checked_too_early = self.options.checked_too_early || self.is_checked;
        JwtBuilder {
            options: Options { checked_too_early, ..self.options },
            claims: Arc::new(|verified: Verified| verified.claims()),
            is_checked: false,
        }
    }

    /// Refuses a valid token whose claims this check does not accept, with
    /// [`CheckFailed`](InvalidToken::CheckFailed) and the text for the log; the client is not told it.
    /// Several checks are run in their order. Give them after [`claims`](Self::claims).
    ///
    /// A check sees the claims alone and should depend on nothing else: its verdict may be remembered
    /// for as long as the token lives. What a caller may do is not its business; a refusal here is a
    /// 401, "this is no good token", and not a 403.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_oauth_server::Jwt;
    ///
    /// #[derive(Deserialize)]
    /// struct Caller {
    ///     tid: String,
    /// }
    ///
    /// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
    /// let jwt = Jwt::issuer("https://login.example.com/common-house")
    ///     .audience("inventory")
    ///     .claims::<Caller>()
    ///     .check(|caller| match caller.tid.as_str() {
    ///         "north" | "south" => Ok(()),
    ///         _ => Err("the tenant is not a customer of ours"),
    ///     })
    /// #   .http_client(http)
    ///     .build()?;
    /// # drop(jwt); Ok(()) }
    /// ```
    pub fn check(
        mut self,
        check: impl Fn(&C) -> Result<(), &'static str> + Send + Sync + 'static,
    ) -> Self {
        let read = self.claims;
        self.claims = Arc::new(move |verified| {
            let claims = read(verified)?;
            check(&claims).map_err(InvalidToken::CheckFailed)?;
            Ok(claims)
        });
        self.is_checked = true;
        self
    }

    /// What the tokens look like: as an issuer of this make sends them, if not as RFC 9068 says.
    ///
    /// ```
    /// use tower_oauth_server::{Jwt, Profile};
    ///
    /// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
    /// let jwt = Jwt::issuer("https://idp.example.com/realms/shop")
    ///     .audience("inventory")
    ///     .profile(Profile::Keycloak)
    /// #   .http_client(http)
    ///     .build()?;
    /// # drop(jwt); Ok(()) }
    /// ```
    pub fn profile(mut self, profile: Profile) -> Self {
        self.options.profile = profile;
        self
    }

    /// Accepts tokens that were issued to one of these clients, and no others.
    pub fn clients<I: Into<String>>(mut self, clients: impl IntoIterator<Item = I>) -> Self {
        self.options.clients = Some(clients.into_iter().map(Into::into).collect());
        self
    }

    /// Refuses tokens that do not have this claim, or have it as `null`.
    pub fn require_claim(mut self, name: &'static str) -> Self {
        self.options.required_claims.push(name);
        self
    }

    /// Takes these keys, which were configured by hand, and fetches none.
    ///
    /// Without [`algorithms`](Self::algorithms), the algorithms are those that the keys are for. This is
    /// the one way to HMAC: a secret never comes from an issuer's key set.
    ///
    /// ```
    /// use tower_oauth_server::{Algorithm, Jwt, KeySet, VerifyingKey};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let secret = [7; 32]; // for the example only
    /// let key = VerifyingKey::hmac(Algorithm::HS256, secret)?.with_kid("gateway")?;
    /// let jwt = Jwt::issuer("https://gateway.internal")
    ///     .audience("inventory")
    ///     .keys(KeySet::from_keys([key]))
    ///     .build()?;
    /// # drop(jwt); Ok(()) }
    /// ```
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.options.keys = Some(keys);
        self
    }

    /// Accepts tokens of issuers that do not follow RFC 9068. See first whether the issuer has a
    /// [`profile`](Self::profile) of its own, and read [`Profile::Lenient`]: an ID token cannot always
    /// be told from an access token then.
    pub fn lenient(mut self) -> Self {
        self.options.profile = Profile::Lenient;
        self
    }

    /// Accepts these signature algorithms only. (An algorithm must also be the key's, always; HMAC
    /// is possible only with [`keys`](Self::keys).)
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

    /// How long a token may be: 8 KiB if not set, from 1 KiB to 64 KiB.
    ///
    /// For issuers that put long lists of groups into their tokens. What a hostile token costs grows
    /// with it, and the servers and proxies on the way have limits of their own for a header.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.options.max_token_bytes = Some(bytes);
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

    /// Looks every token that names a status list up in it, and refuses those that were revoked or suspended: see
    /// [`StatusLists`](crate::StatusLists). The claim `status` means nothing if this is not set.
    #[cfg(feature = "status-list")]
    pub fn status_list(mut self, lists: crate::StatusLists) -> Self {
        self.options.status_lists = Some(lists);
        self
    }

    /// Refuses what stands in this list, however valid it is. Validators share one by cloning it.
    pub fn revocations(mut self, revocations: Revocations) -> Self {
        self.options.revocations = Some(revocations);
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
    /// A value that cannot work, by name: no absolute https issuer, an empty audience or none, an empty
    /// list of clients, no algorithm or one that the keys are not for, a check before `claims`, a token size out of bounds, a leeway of more than 300 s, a lifetime below a second or beyond that of the revocations; what [`JwksBuilder`](crate::JwksBuilder)
    /// refuses; an option for fetching keys beside [`jwks`](Self::jwks) or [`keys`](Self::keys).
    pub fn build(self) -> Result<Jwt<C>, BuildError> {
        let issuer = Issuer::parse(&self.options.issuer)?;
        let rules = self.options.rules(&issuer)?;
        let clock = Arc::clone(&self.options.clock);
        let verified = self.options.verified_tokens.map(VerifiedTokens::new).transpose()?;
        let revocations = self.options.revocations.clone();
        #[cfg(feature = "status-list")]
        let (lists, http) = (self.options.status_lists.clone(), self.options.http.clone());
        let jwks = self.options.key_source(&issuer)?;
        #[cfg(feature = "status-list")]
        let status =
            lists.map(|lists| lists.bind(&issuer, &rules, &jwks, &clock, http)).transpose()?;
        Ok(Jwt(Arc::new(Inner {
            rules,
            jwks,
            clock,
            claims: self.claims,
            verified,
            revocations,
            #[cfg(feature = "status-list")]
            status,
        })))
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for JwtBuilder<C> {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            claims: Arc::clone(&self.claims),
            is_checked: self.is_checked,
        }
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
