use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tower_service::Service;

use crate::answer::response;
use crate::service::{Readiness, ScriptedFuture};
use crate::{ScriptedBody, ScriptedIssuer, Serving};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How a [`ScriptedResource`] refuses a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 401 with `WWW-Authenticate: Bearer error="invalid_token"` (RFC 6750 §3.1); a request without
    /// a token gets the challenge without an error.
    #[default]
    InvalidToken,
    /// 401 and no challenge.
    Bare,
    /// 403 and no challenge, as some gateways answer.
    Forbidden,
    /// HTTP 200 with `grpc-status: 16` in the header, and no trailers: what gRPC servers send.
    Grpc,
    /// Exactly this.
    Exactly {
        /// The status.
        status: StatusCode,
        /// The `WWW-Authenticate` field, if any.
        challenge: Option<String>,
        /// The content.
        body: Bytes,
    },
}

/// A protected resource that consults the issuer's memory: for tests of clients.
///
/// It reads the whole request and echoes it with 200 if the bearer token is
/// [active](ScriptedIssuer::is_active), else it refuses. A gRPC request gets its message back and
/// `grpc-status: 0` in the trailers. Clones count together.
///
/// ```
/// use http::{Request, StatusCode};
/// use http_body_util::Empty;
/// use tower::ServiceExt;
/// use tower_oauth_test::{ScriptedIssuer, TokenSpec};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = ScriptedIssuer::builder().build()?;
/// let resource = issuer.resource();
/// let bearer = format!("Bearer {}", issuer.mint(TokenSpec::new()));
/// let request = || Request::get("https://api.test/").header("authorization", &bearer).body(Empty::<&[u8]>::new());
///
/// assert_eq!(resource.clone().oneshot(request()?).await?.status(), StatusCode::OK);
/// issuer.restart();
/// assert_eq!(resource.clone().oneshot(request()?).await?.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!((resource.calls(), resource.refused()), (2, 1));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ScriptedResource {
    issuer: ScriptedIssuer,
    refusal: Refusal,
    refuses_unread: bool,
    refuses_all: bool,
    forbids: Option<Predicate>,
    counts: Arc<Counts>,
    readiness: Readiness,
}

type Predicate = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    refused: AtomicU64,
    tokens: Mutex<HashSet<String>>,
}

impl ScriptedResource {
    pub(crate) fn new(issuer: ScriptedIssuer) -> Self {
        Self {
            issuer,
            refusal: Refusal::default(),
            refuses_unread: false,
            refuses_all: false,
            forbids: None,
            counts: Arc::default(),
            readiness: Readiness::default(),
        }
    }

    /// How it refuses. Default: [`Refusal::InvalidToken`].
    #[must_use]
    pub fn refuse_with(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    /// Refuses before it reads the body. Default: the body is read first.
    #[must_use]
    pub fn refuse_unread(mut self) -> Self {
        self.refuses_unread = true;
        self
    }

    /// Refuses every token, live ones too.
    #[must_use]
    pub fn refuse_all(mut self) -> Self {
        self.refuses_all = true;
        self
    }

    /// Answers 403 to these requests whatever their token: the right is what they lack. It looks the same as
    /// [`Refusal::Forbidden`] does for a dead token.
    #[must_use]
    pub fn forbid(mut self, which: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.forbids = Some(Arc::new(which));
        self
    }

    /// Serves the resource on a free port of 127.0.0.1, by HTTP/1.1 and HTTP/2.
    ///
    /// # Errors
    /// The system gives no port.
    pub async fn serve(&self) -> io::Result<Serving> {
        let this = self.clone();
        let (serving, _) = Serving::start(0, move |request| this.clone().answer(request))?;
        Ok(serving)
    }

    /// How many requests came.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.counts.calls.load(Ordering::Relaxed)
    }

    /// How many of them were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// How many different tokens came.
    #[must_use]
    pub fn tokens_seen(&self) -> usize {
        self.counts.tokens.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn answer<B>(self, request: Request<B>) -> io::Result<Response<ScriptedBody>>
    where
        B: Body,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let token = bearer(&head.headers);
        if let Some(token) = token {
            let mut tokens = self.counts.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.insert(token.to_owned());
        }
        let accepted = !self.refuses_all && token.is_some_and(|token| self.issuer.is_active(token));
        if !accepted && self.refuses_unread {
            return Ok(self.refuse(token.is_some()));
        }
        let content = body.collect().await.map_err(|error| io::Error::other(error.into()))?;
        if !accepted {
            return Ok(self.refuse(token.is_some()));
        }
        if self.forbids.as_ref().is_some_and(|forbids| forbids(&head)) {
            return Ok(response(StatusCode::FORBIDDEN, &[], Bytes::new()));
        }
        Ok(echo(&head.headers, content.to_bytes()))
    }

    fn refuse(&self, had_token: bool) -> Response<ScriptedBody> {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        match &self.refusal {
            Refusal::InvalidToken => {
                // RFC 6750 §3.1: no error code where no credentials came.
                let challenge =
                    if had_token { r#"Bearer error="invalid_token""# } else { "Bearer" };
                response(StatusCode::UNAUTHORIZED, &[(WWW_AUTHENTICATE, challenge)], Bytes::new())
            }
            Refusal::Bare => response(StatusCode::UNAUTHORIZED, &[], Bytes::new()),
            Refusal::Forbidden => response(StatusCode::FORBIDDEN, &[], Bytes::new()),
            Refusal::Grpc => {
                let headers = [
                    (CONTENT_TYPE, "application/grpc"),
                    (GRPC_STATUS, "16"),
                    (GRPC_MESSAGE, "invalid token"),
                ];
                response(StatusCode::OK, &headers, Bytes::new())
            }
            Refusal::Exactly { status, challenge, body } => {
                let challenge = challenge.as_deref().map(|text| (WWW_AUTHENTICATE, text));
                response(*status, challenge.as_slice(), body.clone())
            }
        }
    }
}

impl<B> Service<Request<B>> for ScriptedResource
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<ScriptedBody>;
    type Error = io::Error;
    type Future = ScriptedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.readiness.set();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ScriptedFuture {
        let ready = self.readiness.take();
        let this = self.clone();
        Box::pin(async move {
            ready?;
            this.answer(request).await
        })
    }
}

impl fmt::Debug for ScriptedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedResource")
            .field("refusal", &self.refusal)
            .field("calls", &self.calls())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}

/// The bearer token of the one `Authorization` field (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn echo(headers: &HeaderMap, content: Bytes) -> Response<ScriptedBody> {
    let kind = headers.get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let body =
        if is_grpc { ScriptedBody::with_grpc_ok(content) } else { ScriptedBody::whole(content) };
    let mut response = Response::new(body);
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}
