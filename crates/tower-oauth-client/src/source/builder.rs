use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::codec::{Grant, Metadata, MetadataCodec, TokenRequest, TokenResponse};
use tower_oauth_core::{
    BuildError, Clock, EndpointUri, Error, Issuer, Scopes, Secret, SystemClock,
};
use tower_oauth_endpoint::{Discovery, Endpoint, HttpClient, Locator};
use tower_service::Service;

use super::TokenCache;
use super::cache::Parts;
use super::edge::ClientEdge;
use super::exchange::TokenService;
use super::source_fn::{Call, Foreign};
use crate::auth::{Client, SecretSource};
#[cfg(feature = "dpop")]
use crate::dpop::{DpopKey, KeyProver};
use crate::grant::{
    Chain, Link, LostRefresh, MemoryStore, RefreshTokenStore, Session, SessionId, SubjectToken,
};

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
    place: Option<Place>,
    also_at: Vec<String>,
    revocation_endpoint: Option<String>,
    client: Option<Client>,
    own_name: Option<(String, SecretSource)>,
    auth_method: AuthMethod,
    refresh_token: Option<Secret>,
    jwt_bearer: Option<SecretSource>,
    exchange: Option<SubjectToken>,
    password: Option<(String, SecretSource)>,
    session: String,
    store: Option<Arc<dyn RefreshTokenStore>>,
    lost: LostRefresh,
    scopes: Vec<String>,
    resources: Vec<String>,
    audiences: Vec<String>,
    trusted_hosts: Vec<String>,
    http: Option<HttpClient>,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    pub(super) max_age: Option<Duration>,
    #[cfg(feature = "dpop")]
    dpop: Option<DpopKey>,
}

enum Place {
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

    /// The client's id and secret, and the grant `client_credentials` (RFC 6749 §4.4): alone, or as the last to fall back on.
    ///
    /// A client that has other grants and shall never ask for itself is given by [`client`](Self::client).
    pub fn client_credentials(
        mut self,
        client_id: impl Into<String>,
        secret: impl Into<SecretSource>,
    ) -> Self {
        self.own_name = Some((client_id.into(), secret.into()));
        self
    }

    /// The client, however it authenticates. Without any other grant it asks for itself (RFC 6749 §4.4).
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The refresh token to begin with (RFC 6749 §6). It is put into the [store](Self::refresh_token_store) if that is
    /// empty; one that is stored there already is newer, and is used.
    pub fn refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }

    /// An assertion in JWT form, asked for at each exchange (RFC 7523 §2.1): a file that a platform renews, a closure, or one that is
    /// signed here (`SecretSource::signed`).
    pub fn jwt_bearer(mut self, assertion: impl Into<SecretSource>) -> Self {
        self.jwt_bearer = Some(assertion.into());
        self
    }

    /// Exchanges a token for another one (RFC 8693): on behalf of the caller.
    pub fn token_exchange(mut self, subject: SubjectToken) -> Self {
        self.exchange = Some(subject);
        self
    }

    /// Name and password of a user (RFC 6749 §4.3).
    ///
    /// RFC 9700 §2.4 forbids this grant, with reason: the program sees the password, a second factor has no place, and a user who is
    /// taught to type it into programs will type it into others. It is here for accounts of machines at servers that know
    /// nothing else. Where there is a choice, use [`client_credentials`](Self::client_credentials), [`jwt_bearer`](Self::jwt_bearer) or a
    /// [refresh token](Self::refresh_token) of a log-in in the browser. The password stays in memory and is sent only when there
    /// is no refresh token, or the server has refused it.
    pub fn password(
        mut self,
        username: impl Into<String>,
        password: impl Into<SecretSource>,
    ) -> Self {
        self.password = Some((username.into(), password.into()));
        self
    }

    /// Names the session in the store, where that holds several of the same client at the same server. Without it, the user name of
    /// [`password`](Self::password) is the name.
    pub fn session(mut self, name: impl Into<String>) -> Self {
        self.session = name.into();
        self
    }

    /// Where refresh tokens are kept; [`MemoryStore`] by default: in memory until log-out, never on disk.
    pub fn refresh_token_store(mut self, store: impl RefreshTokenStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// What becomes of a refresh token when the answer to it is lost; by default it is presented again within 10 seconds.
    pub fn lost_refresh(mut self, lost: LostRefresh) -> Self {
        self.lost = lost;
        self
    }

    /// How id and secret of [`client_credentials`](Self::client_credentials) travel;
    /// [`AuthMethod::ClientSecretBasic`] by default.
    pub fn token_endpoint_auth_method(mut self, method: AuthMethod) -> Self {
        self.auth_method = method;
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

    /// Checks the settings and builds. Nothing is fetched before the first token is asked for.
    ///
    /// # Errors
    /// Names the setting and its value: an address that is not `https` (or loopback), a missing
    /// client id, a scope with a space in it, a resource that is no absolute URI, two assertions.
    pub fn build(self) -> Result<TokenCache, BuildError> {
        self.parts().map(TokenCache::new)
    }

    pub(super) fn parts(self) -> Result<Parts, BuildError> {
        let request = TokenRequest {
            scopes: Scopes::new(&self.scopes)?,
            resources: checked_resources(&self.resources)?,
            audiences: self.audiences.clone(),
            ..bare_request()
        };
        let clock = Arc::clone(&self.clock);
        let (service, session) = match &self.place {
            None => {
                let why = "is not set: use issuer(..), token_endpoint(..) or token_service(..)";
                return Err(BuildError::new("issuer", "", why));
            }
            Some(Place::Service(service)) => {
                self.refuse_beside_a_service()?;
                (service.clone(), None)
            }
            Some(Place::Foreign(call)) => {
                self.refuse_beside_a_service()?;
                let (call, clock) = (Arc::clone(call), Arc::clone(&clock));
                (TokenService::new(Foreign { call, clock }), None)
            }
            Some(Place::Endpoint(uri)) => {
                let uri =
                    EndpointUri::parse(uri).map_err(|error| error.with_option("token_endpoint"))?;
                self.chain(&uri.to_string(), None, |_| Locator::fixed(uri.clone()))?
            }
            Some(Place::Issuer(issuer)) => {
                let issuer = Issuer::parse(issuer)?;
                let pick = Metadata::token_endpoint;
                let place = |http: &HttpClient| self.discovered(issuer.clone(), http, pick);
                self.chain(issuer.as_str(), Some(&issuer), place)?
            }
        };
        let (deadline, max_age) = (self.deadline, self.max_age);
        Ok(Parts { service, request, clock, deadline, max_age, family: None, session })
    }

    /// What would be set in vain is a mistake that nobody would notice.
    fn refuse_beside_a_service(&self) -> Result<(), BuildError> {
        let own_name = self.own_name.as_ref().map(|(id, _)| id.as_str());
        let set_in_vain = [
            ("client_credentials", own_name),
            ("client", self.client.as_ref().map(Client::id)),
            ("refresh_token", self.refresh_token.as_ref().map(|_| "")),
            ("refresh_token_store", self.store.as_ref().map(|_| "")),
            ("jwt_bearer", self.jwt_bearer.as_ref().map(|_| "")),
            ("token_exchange", self.exchange.as_ref().map(|_| "")),
            ("password", self.password.as_ref().map(|_| "")),
            ("also_at", self.also_at.first().map(String::as_str)),
            ("revocation_endpoint", self.revocation_endpoint.as_deref()),
            ("trust_host", self.trusted_hosts.first().map(String::as_str)),
            ("http_client", self.http.as_ref().map(|_| "")),
            #[cfg(feature = "dpop")]
            ("dpop", self.dpop.as_ref().map(|_| "")),
        ];
        for (option, value) in set_in_vain {
            if let Some(value) = value {
                let why = "is of no use beside token_service(..), which has its own";
                return Err(BuildError::new(option, value, why));
            }
        }
        Ok(())
    }

    fn discovered(
        &self,
        issuer: Issuer,
        http: &HttpClient,
        pick: fn(&Metadata) -> Result<EndpointUri, Error>,
    ) -> Locator {
        let codec = self
            .trusted_hosts
            .iter()
            .fold(MetadataCodec::new(), |codec, host| codec.trust_host(host));
        let discovery = Discovery::new(codec, http.clone()).with_deadline(self.deadline);
        Locator::discovered(issuer, discovery, pick, Arc::clone(&self.clock))
    }

    fn chain(
        &self,
        server: &str,
        issuer: Option<&Issuer>,
        place: impl FnOnce(&HttpClient) -> Locator,
    ) -> Result<(TokenService, Option<Arc<Session>>), BuildError> {
        let http = self.http_or_default()?;
        let client = self.checked_client(issuer.is_some())?;
        let links = self.links()?;
        let is_of_a_user = self.refresh_token.is_some()
            || self.store.is_some()
            || !matches!(*links, [Link::ClientCredentials]);
        let others = parsed(&self.also_at, "also_at")?;
        let revocation = match (&self.revocation_endpoint, issuer) {
            (Some(uri), _) => Some(Locator::fixed(
                EndpointUri::parse(uri)
                    .map_err(|error| error.with_option("revocation_endpoint"))?,
            )),
            (None, Some(issuer)) => {
                Some(self.discovered(issuer.clone(), &http, Metadata::revocation_endpoint))
            }
            (None, None) => None,
        };
        let name = match &self.password {
            Some((username, _)) if self.session.is_empty() => username,
            _ => &self.session,
        };
        let id = SessionId::new(server, client.id(), name);
        let edge = ClientEdge {
            tokens: place(&http).also_at(others, Arc::clone(&self.clock), self.deadline),
            revocation,
            client,
            issuer: issuer.map(|issuer| issuer.as_str().to_owned()),
            http,
            deadline: self.deadline,
            clock: Arc::clone(&self.clock),
            #[cfg(feature = "dpop")]
            dpop: self.dpop.clone().map(|key| KeyProver::new(key, Arc::clone(&self.clock)).into()),
        };
        let store = self.store.clone().unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let seed = self.refresh_token.clone();
        let session = Arc::new(Session::new(id, store, edge, self.lost, is_of_a_user, seed));
        Ok((TokenService::new(Chain::new(Arc::clone(&session), links)), Some(session)))
    }

    fn checked_client(&self, has_issuer: bool) -> Result<Client, BuildError> {
        let client = match (&self.own_name, &self.client) {
            (Some((id, _)), Some(_)) => {
                let why = "names a client beside client(..)";
                return Err(BuildError::new("client_credentials", id, why));
            }
            (None, None) => return Err(BuildError::new("client_credentials", "", "are not set")),
            (None, Some(client)) => client.clone(),
            (Some((id, secret)), None) => match self.auth_method {
                AuthMethod::ClientSecretBasic => Client::basic(id, secret.clone()),
                AuthMethod::ClientSecretPost => Client::post(id, secret.clone()),
            },
        };
        client.check(has_issuer).map_err(|error| match &self.own_name {
            Some(_) => error.with_option("client_credentials"),
            None => error,
        })?;
        Ok(client)
    }

    /// What there is below the refresh token.
    fn links(&self) -> Result<Vec<Link>, BuildError> {
        if self.jwt_bearer.is_some() && self.exchange.is_some() {
            let why = "stands beside jwt_bearer(..): one assertion is enough";
            return Err(BuildError::new("token_exchange", "", why));
        }
        let mut links = Vec::new();
        links.extend(self.jwt_bearer.clone().map(Link::JwtBearer));
        links.extend(self.exchange.clone().map(Box::new).map(Link::Exchange));
        if let Some((username, password)) = self.password.clone() {
            links.push(Link::Password { username, password });
        }
        let has_none = links.is_empty() && self.refresh_token.is_none() && self.store.is_none();
        if self.own_name.is_some() || has_none {
            links.push(Link::ClientCredentials);
        }
        Ok(links)
    }

    #[cfg(feature = "transport")]
    fn http_or_default(&self) -> Result<HttpClient, BuildError> {
        self.http.clone().map_or_else(HttpClient::transport, Ok)
    }

    #[cfg(not(feature = "transport"))]
    fn http_or_default(&self) -> Result<HttpClient, BuildError> {
        let why = "is not set, and the feature `transport` with the default one is off";
        self.http.clone().ok_or_else(|| BuildError::new("http_client", "", why))
    }
}

fn parsed(uris: &[String], option: &'static str) -> Result<Vec<EndpointUri>, BuildError> {
    let parse = |uri: &String| EndpointUri::parse(uri).map_err(|error| error.with_option(option));
    uris.iter().map(parse).collect()
}

/// A request that asks for nothing in particular.
pub(super) fn bare_request() -> TokenRequest {
    TokenRequest {
        grant: Grant::ClientCredentials,
        scopes: Scopes::default(),
        resources: Vec::new(),
        audiences: Vec::new(),
        unlike: None,
    }
}

/// RFC 8707 §2: an absolute URI, without a fragment.
fn checked_resources(resources: &[String]) -> Result<Vec<String>, BuildError> {
    for resource in resources {
        let absolute = resource.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        if !absolute || resource.contains(['#', ' ']) {
            let why = "is not an absolute URI without a fragment (RFC 8707 §2)";
            return Err(BuildError::new("resource", resource, why));
        }
    }
    Ok(resources.to_vec())
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
