use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower_oauth_core::BoxFuture;
use tower_service::Service;

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
pub struct HttpClient(Arc<dyn Transport>);

type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

trait Transport: Send + Sync {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<Answer>;
}

/// The lock makes a service that is `Send` but not `Sync` shareable; it is held for a clone only.
struct Erased<S>(Mutex<S>);

impl HttpClient {
    /// Erases a service, with whatever Tower layers it wears.
    #[must_use]
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(Erased(Mutex::new(service))))
    }
}

impl<S, B> Transport for Erased<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<Answer> {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

impl Service<Request<Full<Bytes>>> for HttpClient {
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = BoxFuture<Answer>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each call readies its own clone.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.0.send(request)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}
