//! Asks the authorization server whether a token is still active.

mod memory;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_oauth_core::codec::{
    ClientAuth, IntrospectionCodec, IntrospectionRequest, IntrospectionResponse, Metadata,
    MetadataCodec,
};
use tower_oauth_core::{
    BoxFuture, BuildError, Clock, EndpointUri, Error, ErrorKind, Issuer, Secret, SystemClock,
    Token, TokenId,
};
use tower_oauth_endpoint::{Discovery, Endpoint, HttpClient, Locator, SharedService};
use tower_service::Service;
use tower_single_flight::{SingleFlight, SingleFlightLayer};

pub(crate) use memory::Known;
use memory::Memory;

use crate::retry::Resource;

/// Tells a dead token from a lack of rights, where an answer leaves that open: by asking the
/// authorization server (RFC 7662).
///
/// * **One question** for all who want to know the same thing at the same time, and at most one for each
///   token and resource (a method and a path): the answer is remembered for as long as the token is
///   used, up to five minutes. Questions for further resources under the same token that turn out to be in vain
///   come 250 ms apart, doubling to 30 s.
/// * **Trouble** with the server (no answer, a refusal, 5 seconds) means that the answer of the resource
///   stands; the next question waits 1 s, doubling to 30 s, or as long as `Retry-After` says.
///
/// The client has to be one that may introspect the token; to others, servers say `inactive` (RFC 7662 §2.2),
/// which then costs what a dead token costs.
///
/// Give it to [`confirm_with_introspection`](crate::RetryInvalidTokenLayer::confirm_with_introspection). Cloning is a reference
/// count; clones share what they know.
///
/// ```
/// use tower_oauth_client::{ConfirmWithIntrospection, HttpClient, RetryInvalidTokenLayer, Token};
/// # fn http() -> HttpClient {
/// #     HttpClient::new(tower::service_fn(|_: http::Request<http_body_util::Full<bytes::Bytes>>| async {
/// #         Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
/// #     }))
/// # }
///
/// let issuer = "https://idp.example.com/realms/shop";
/// let confirm = ConfirmWithIntrospection::issuer(issuer, "orders", "s3cret", http())?;
/// let layer = RetryInvalidTokenLayer::new(Token::bearer("fixed")?).confirm_with_introspection(confirm);
/// # drop(layer); Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ConfirmWithIntrospection(Arc<Inner>);

struct Inner {
    asker: SharedService<Secret, IntrospectionResponse, Error>,
    flight: Flight,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
}

type Flight = SingleFlight<Ask, fn(&Question) -> TokenId, TokenId, bool, Error>;

impl ConfirmWithIntrospection {
    /// Finds the introspection endpoint by discovery (RFC 8414), and asks as this client
    /// (`client_secret_basic`).
    ///
    /// # Errors
    /// The issuer is no `https` (or loopback) address.
    pub fn issuer(
        issuer: &str,
        client_id: impl Into<String>,
        secret: impl Into<Secret>,
        http: HttpClient,
    ) -> Result<Self, BuildError> {
        let issuer = Issuer::parse(issuer)?;
        let discovery = Discovery::new(MetadataCodec::new(), http.clone());
        let pick = Metadata::introspection_endpoint;
        let locator = Locator::discovered(issuer, discovery, pick, Arc::new(SystemClock));
        Ok(Self::over_http(locator, client_id.into(), secret.into(), http))
    }

    /// Asks at this endpoint, as this client (`client_secret_basic`).
    ///
    /// # Errors
    /// The endpoint is no `https` (or loopback) address.
    pub fn endpoint(
        uri: &str,
        client_id: impl Into<String>,
        secret: impl Into<Secret>,
        http: HttpClient,
    ) -> Result<Self, BuildError> {
        let uri =
            EndpointUri::parse(uri).map_err(|error| error.with_option("introspection_endpoint"))?;
        Ok(Self::over_http(Locator::fixed(uri), client_id.into(), secret.into(), http))
    }

    /// Asks a service of your own: another way to authenticate, or no introspection at all.
    #[must_use]
    pub fn service<S>(service: S) -> Self
    where
        S: Service<Secret, Response = IntrospectionResponse> + Clone + Send + 'static,
        S::Error: Into<Error>,
        S::Future: Send,
    {
        Self::build(SharedService::new(service), Arc::new(SystemClock))
    }

    /// Another clock, for tests. Forgets what was known.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::build(self.0.asker.clone(), Arc::new(clock))
    }

    fn over_http(locator: Locator, id: String, secret: Secret, http: HttpClient) -> Self {
        let codec = IntrospectionCodec::new(ClientAuth::Basic { id, secret });
        let edge = Edge { locator, endpoint: Endpoint::new(codec, http) };
        Self::build(SharedService::new(edge), Arc::new(SystemClock))
    }

    fn build(
        asker: SharedService<Secret, IntrospectionResponse, Error>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let memory = Arc::new(Memory::default());
        let (told, told_at) = (Arc::clone(&memory), Arc::clone(&clock));
        let key: fn(&Question) -> TokenId = |question| question.token.id();
        let flight = SingleFlightLayer::new(key)
            .on_complete(move |token: &TokenId, result: Result<&bool, &Error>| match result {
                Ok(is_active) => told.heard(*token, *is_active, told_at.now()),
                Err(error) => {
                    tracing::warn!(error = %error, "token could not be confirmed");
                    told.failed(error, told_at.now(), fastrand::f64());
                }
            })
            .layer(Ask(asker.clone()));
        Self(Arc::new(Inner { asker, flight, memory, clock }))
    }

    /// What is known, without asking.
    pub(crate) fn known(&self, token: TokenId, resource: Resource) -> Known {
        self.0.memory.known(token, resource, self.0.clock.now())
    }

    /// Whether the server says that the token is dead; `false` where it does not say.
    pub(crate) fn ask(&self, token: &Token, resource: Resource) -> BoxFuture<bool> {
        let this = self.clone();
        let token = token.clone();
        // Called here and not on first poll: whoever asks at the same time finds the question asked.
        let answer = this.0.flight.clone().call(Question { token: token.clone() });
        Box::pin(async move {
            match answer.await {
                Ok(true) => {
                    this.0.memory.explained(token.id(), resource, this.0.clock.now());
                    false
                }
                Ok(false) => true,
                Err(_) => false,
            }
        })
    }
}

/// What is asked. The token is not shown.
#[derive(Clone)]
struct Question {
    token: Token,
}

/// The service below the flight: whether the token is active.
#[derive(Clone)]
struct Ask(SharedService<Secret, IntrospectionResponse, Error>);

impl Service<Question> for Ask {
    type Response = bool;
    type Error = Error;
    type Future = BoxFuture<Result<bool, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, question: Question) -> Self::Future {
        let asker = self.0.clone();
        Box::pin(async move {
            // `Bearer `, `DPoP `: what stands behind the scheme.
            let header = question.token.header().to_str().unwrap_or_default();
            let Some((_, token)) = header.split_once(' ') else {
                return Err(ErrorKind::Malformed("the token has no scheme").into());
            };
            match asker.send(Secret::new(token)).await? {
                IntrospectionResponse::Active(_) => Ok(true),
                IntrospectionResponse::Inactive => Ok(false),
                _ => Err(ErrorKind::Malformed("nobody asked for a signed answer").into()),
            }
        })
    }
}

/// The introspection endpoint, wherever it is.
#[derive(Clone)]
struct Edge {
    locator: Locator,
    endpoint: Endpoint<IntrospectionCodec, HttpClient>,
}

impl Service<Secret> for Edge {
    type Response = IntrospectionResponse;
    type Error = Error;
    type Future = BoxFuture<Result<IntrospectionResponse, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Discovery and question each ready a clone of the HTTP client.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, token: Secret) -> Self::Future {
        let Self { locator, endpoint } = self.clone();
        Box::pin(async move {
            let ask = |uri| {
                let (mut endpoint, token) = (endpoint.clone(), token.clone());
                async move {
                    poll_fn(|cx| endpoint.poll_ready(cx)).await?;
                    endpoint.call(IntrospectionRequest { endpoint: uri, token }).await
                }
            };
            locator.call(ask).await
        })
    }
}

impl fmt::Debug for ConfirmWithIntrospection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmWithIntrospection").finish_non_exhaustive()
    }
}
