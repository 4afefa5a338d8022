use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::codec::{
    ClientAuth, Grant, Metadata, MetadataCodec, TokenRequest, TokenResponse,
};
use tower_oauth_core::{
    BuildError, Clock, EndpointUri, Error, Issuer, Scopes, Secret, SystemClock,
};
use tower_oauth_endpoint::{Discovery, Endpoint, HttpClient, Locator};
use tower_service::Service;

use super::TokenCache;
use super::cache::Parts;
use super::edge::TokenEdge;
use super::exchange::TokenService;
use super::source_fn::{Call, Foreign};

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
/// or [`token_service`](Self::token_service)) and, for the first two,
/// [`client_credentials`](Self::client_credentials). Values are checked by [`build`](Self::build).
#[must_use]
pub struct TokenCacheBuilder {
    place: Option<Place>,
    client: Option<(String, Secret)>,
    auth_method: AuthMethod,
    scopes: Vec<String>,
    resources: Vec<String>,
    audiences: Vec<String>,
    trusted_hosts: Vec<String>,
    http: Option<HttpClient>,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    pub(super) max_age: Option<Duration>,
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
            client: None,
            auth_method: AuthMethod::default(),
            scopes: Vec::new(),
            resources: Vec::new(),
            audiences: Vec::new(),
            trusted_hosts: Vec::new(),
            http: None,
            deadline: Endpoint::<(), ()>::DEFAULT_DEADLINE,
            clock: Arc::new(SystemClock),
            max_age: None,
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

    /// The client's id and secret, for the grant `client_credentials` (RFC 6749 §4.4).
    pub fn client_credentials(
        mut self,
        client_id: impl Into<String>,
        secret: impl Into<Secret>,
    ) -> Self {
        self.client = Some((client_id.into(), secret.into()));
        self
    }

    /// How id and secret travel; [`AuthMethod::ClientSecretBasic`] by default.
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
    /// client id, a scope with a space in it, a resource that is no absolute URI.
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
        let service = match &self.place {
            None => {
                let why = "is not set: use issuer(..), token_endpoint(..) or token_service(..)";
                return Err(BuildError::new("issuer", "", why));
            }
            Some(Place::Service(service)) => {
                self.refuse_beside_a_service()?;
                service.clone()
            }
            Some(Place::Foreign(call)) => {
                self.refuse_beside_a_service()?;
                let (call, clock) = (Arc::clone(call), Arc::clone(&clock));
                TokenService::new(Foreign { call, clock })
            }
            Some(Place::Endpoint(uri)) => {
                let uri =
                    EndpointUri::parse(uri).map_err(|error| error.with_option("token_endpoint"))?;
                let http = self.http_or_default()?;
                TokenService::new(self.edge(Locator::fixed(uri), http)?)
            }
            Some(Place::Issuer(issuer)) => {
                let http = self.http_or_default()?;
                let locator = self.discovered(Issuer::parse(issuer)?, &http);
                TokenService::new(self.edge(locator, http)?)
            }
        };
        let (deadline, max_age) = (self.deadline, self.max_age);
        Ok(Parts { service, request, clock, deadline, max_age, family: None })
    }

    /// What would be set in vain is a mistake that nobody would notice.
    fn refuse_beside_a_service(&self) -> Result<(), BuildError> {
        let why = "is of no use beside token_service(..), which has its own";
        if let Some((id, _)) = &self.client {
            return Err(BuildError::new("client_credentials", id, why));
        }
        if let Some(host) = self.trusted_hosts.first() {
            return Err(BuildError::new("trust_host", host, why));
        }
        if self.http.is_some() {
            return Err(BuildError::new("http_client", "", why));
        }
        Ok(())
    }

    fn discovered(&self, issuer: Issuer, http: &HttpClient) -> Locator {
        let codec = self
            .trusted_hosts
            .iter()
            .fold(MetadataCodec::new(), |codec, host| codec.trust_host(host));
        let discovery = Discovery::new(codec, http.clone()).with_deadline(self.deadline);
        Locator::discovered(issuer, discovery, Metadata::token_endpoint, Arc::clone(&self.clock))
    }

    fn edge(&self, locator: Locator, http: HttpClient) -> Result<TokenEdge, BuildError> {
        let Some((id, secret)) = self.client.clone() else {
            return Err(BuildError::new("client_credentials", "", "are not set"));
        };
        if id.is_empty() {
            return Err(BuildError::new("client_credentials", "", "the client id is empty"));
        }
        Ok(TokenEdge {
            locator,
            auth: match self.auth_method {
                AuthMethod::ClientSecretBasic => ClientAuth::Basic { id, secret },
                AuthMethod::ClientSecretPost => ClientAuth::Post { id, secret },
            },
            http,
            deadline: self.deadline,
        })
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
            .field("client_id", &self.client.as_ref().map(|(id, _)| id))
            .field("auth_method", &self.auth_method)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
