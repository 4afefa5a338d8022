use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower_oauth_core::BoxFuture;
use tower_service::Service;

use crate::SharedService;

/// Any error of a transport.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An HTTP service with its type erased, so that a source or a key set has a short type.
///
/// Cloning is a reference count. Every call drives a clone of the service that was passed in,
/// readiness first.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower_oauth_endpoint::HttpClient;
///
/// let scripted = tower::service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from_static(b"{}"))))
/// });
/// let http = HttpClient::new(scripted);
/// # drop(http);
/// ```
#[derive(Clone)]
pub struct HttpClient(SharedService<Request<Full<Bytes>>, Answer, BoxError>);

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl HttpClient {
    /// Erases a service, with whatever Tower layers it wears.
    #[must_use]
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(SharedService::new(BoxedBody(service)))
    }
}

impl Service<Request<Full<Bytes>>> for HttpClient {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.0.call(request)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

/// Boxes the body of every answer, so that one type covers all transports.
#[derive(Clone)]
struct BoxedBody<S>(S);

impl<S, B> Service<Request<Full<Bytes>>> for BoxedBody<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await.map_err(Into::into)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}
