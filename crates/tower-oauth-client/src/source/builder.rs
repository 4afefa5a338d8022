use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_core::{Clock, Error, Secret, SystemClock};
use tower_oauth_endpoint::{Endpoint, HttpClient};
use tower_service::Service;

#[cfg(doc)]
use super::TokenCache;
use super::exchange::TokenService;
use super::source_fn::Call;
use crate::auth::{Client, SecretSource};
#[cfg(feature = "dpop")]
use crate::dpop::DpopKey;
use crate::grant::{LostRefresh, RefreshTokenStore, SubjectToken};

/// How the client authenticates at the token endpoint, by the names of RFC 7591 §2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthMethod {
    /// `client_secret_basic`: in the `Authorization` header, form-encoded first (RFC 6749 §2.3.1).
    #[default]
    ClientSecretBasic,
    /// `client_secret_post`: in the form.
    ClientSecretPost,
}

/// Builds a [`TokenCache`].
///
/// Needed: where tokens come from ([`issuer`](Self::issuer), [`token_endpoint`](Self::token_endpoint)
/// or [`token_service`](Self::token_service)) and, for the first two, the client:
/// [`client_credentials`](Self::client_credentials), or [`client`](Self::client) with what it asks for tokens with.
/// Values are checked by [`build`](Self::build).
///
/// # Grants, and what they fall back on
///
/// Of the grants that are configured these are tried, always in this order, until one brings a token:
///
/// 1. the refresh token: [`refresh_token`](Self::refresh_token), or one that came with an earlier answer and is in the
///    [store](Self::refresh_token_store);
/// 2. the assertion: [`jwt_bearer`](Self::jwt_bearer) or [`token_exchange`](Self::token_exchange);
/// 3. the password: [`password`](Self::password);
/// 4. the client itself: [`client_credentials`](Self::client_credentials), or [`client`](Self::client) where there is no other grant.
///
/// Only a refusal of *what was presented* leads on: `invalid_grant`, `unsupported_grant_type`, `invalid_request`, and codes that are not in
/// the RFCs. It ends with `invalid_client`, `unauthorized_client`, `invalid_scope` and `invalid_target`, which the next grant would meet as
/// well, with an answer of less scope or of another type, and with any passing trouble: that a server does not answer is no reason to send it a password.
/// Where nothing is left the error is the last refusal; or, if that was of a user's credentials,
/// [`ErrorKind::Reauthenticate`](tower_oauth_core::ErrorKind::Reauthenticate).
#[must_use]
pub struct TokenCacheBuilder {
    pub(super) place: Option<Place>,
    pub(super) also_at: Vec<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) client: Option<Client>,
    pub(super) own_name: Option<(String, SecretSource)>,
    pub(super) auth_method: AuthMethod,
    pub(super) refresh_token: Option<Secret>,
    pub(super) jwt_bearer: Option<SecretSource>,
    pub(super) exchange: Option<SubjectToken>,
    pub(super) password: Option<(String, SecretSource)>,
    pub(super) session: String,
    pub(super) store: Option<Arc<dyn RefreshTokenStore>>,
    pub(super) lost: LostRefresh,
    pub(super) scopes: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) trusted_hosts: Vec<String>,
    pub(super) http: Option<HttpClient>,
    pub(super) deadline: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) max_age: Option<Duration>,
    #[cfg(feature = "dpop")]
    pub(super) dpop: Option<DpopKey>,
}

pub(super) enum Place {
    Issuer(String),
    Endpoint(String),
    Service(TokenService),
    Foreign(Call),
}

impl TokenCacheBuilder {
    pub(super) fn new() -> Self {
        Self {
            place: None,
            also_at: Vec::new(),
            revocation_endpoint: None,
            client: None,
            own_name: None,
            auth_method: AuthMethod::default(),
            refresh_token: None,
            jwt_bearer: None,
            exchange: None,
            password: None,
            session: String::new(),
            store: None,
            lost: LostRefresh::default(),
            scopes: Vec::new(),
            resources: Vec::new(),
            audiences: Vec::new(),
            trusted_hosts: Vec::new(),
            http: None,
            deadline: Endpoint::<(), ()>::DEFAULT_DEADLINE,
            clock: Arc::new(SystemClock),
            max_age: None,
            #[cfg(feature = "dpop")]
            dpop: None,
        }
    }

    /// Finds the token endpoint by discovery (OpenID Connect Discovery, RFC 8414) when the first
    /// token is needed, and again after an hour or when the endpoint is not there any more.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.place = Some(Place::Issuer(issuer.into()));
        self
    }

    /// The token endpoint, without discovery: `https`, or `http` to a loopback address.
    pub fn token_endpoint(mut self, uri: impl Into<String>) -> Self {
        self.place = Some(Place::Endpoint(uri.into()));
        self
    }

    /// Another address of the same token endpoint, for when the first one is in trouble: `https`, or `http` to a loopback address.
    /// May be called several times; the order counts. Only passing trouble leads on; the address that answered is remembered, and the
    /// first one is tried again after 30 s, then less often. [`deadline`](Self::deadline) holds for all of them together.
    pub fn also_at(mut self, uri: impl Into<String>) -> Self {
        self.also_at.push(uri.into());
        self
    }

    /// Where tokens are revoked at [log-out](TokenCache::log_out) (RFC 7009). With [`issuer`](Self::issuer) the metadata say it.
    pub fn revocation_endpoint(mut self, uri: impl Into<String>) -> Self {
        self.revocation_endpoint = Some(uri.into());
        self
    }

    /// Gets tokens from a service of your own below the cache: a fallback, a store, another grant.
    pub fn token_service<S>(mut self, service: S) -> Self
    where
        S: Service<TokenRequest, Response = TokenResponse> + Clone + Send + 'static,
        S::Error: Into<Error>,
        S::Future: Send,
    {
        self.place = Some(Place::Service(TokenService::new(service)));
        self
    }

    pub(super) fn foreign(mut self, call: Call) -> Self {
        self.place = Some(Place::Foreign(call));
        self
    }

    /// Adds one scope token to what is asked for (RFC 6749 §3.3). A token with less is an error.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Adds several.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Adds a `resource` (RFC 8707): an absolute URI without a fragment.
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        self.resources.push(uri.into());
        self
    }

    /// Adds an `audience`, for servers that take that parameter.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Asks for tokens that are bound to this key (RFC 9449), and sends a proof of it with each request: `Authorization: DPoP …` and `DPoP: …`.
    ///
    /// 1. The token request carries a proof; an answer whose `token_type` is not `DPoP` is discarded (§5).
    /// 2. Each request of the layers has a proof of its own: for its method, its target without query, and the token (§7). Layers that
    ///    send a request again by themselves (retries, redirects) belong *outside* of the token's layer.
    /// 3. A nonce that a server has named goes into the next proofs for it. One that asks for a nonce (`use_dpop_nonce`, §8, §9) gets the
    ///    request again, once, with the same token; [`InjectTokenLayer`](crate::InjectTokenLayer) alone sends nothing again.
    /// 4. A tonic `Channel` adds its origin below the layers: name it by
    ///    [`dpop_origin`](crate::RetryInvalidTokenLayer::dpop_origin).
    ///
    /// The caches of [`build_keyed`](Self::build_keyed) share the key. Refresh tokens of a public client are bound to it as well.
    #[cfg(feature = "dpop")]
    pub fn dpop(mut self, key: DpopKey) -> Self {
        self.dpop = Some(key);
        self
    }

    /// Lets the issuer's metadata name endpoints on this host; otherwise only the issuer's own.
    pub fn trust_host(mut self, host: impl Into<String>) -> Self {
        self.trusted_hosts.push(host.into());
        self
    }

    /// The HTTP client for discovery and the token endpoint; [`HttpClient::new`] takes any Tower
    /// service. The default is `HttpClient::transport()` (feature `transport`).
    pub fn http_client(mut self, http: HttpClient) -> Self {
        self.http = Some(http);
        self
    }

    /// The total time of one try for a token, discovery included; 5 seconds by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder")
            .field("client_id", &self.own_name.as_ref().map(|(id, _)| id))
            .field("client", &self.client)
            .field("auth_method", &self.auth_method)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
