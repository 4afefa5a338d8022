use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tower_oauth_core::BoxFuture;
use tower_service::Service;

/// A service with its type erased, shared by reference count.
///
/// Every call drives a clone of the service that was passed in, readiness first, so `poll_ready` is
/// always ready and a call needs no exclusive access.
pub struct SharedService<Req, Res, E>(Arc<dyn Call<Req, Res, E>>);

trait Call<Req, Res, E>: Send + Sync {
    fn call(&self, request: Req) -> BoxFuture<Result<Res, E>>;
}

/// The lock makes a service that is `Send` but not `Sync` shareable; it is held for a clone only.
struct Erased<S>(Mutex<S>);

impl<Req, Res, E> SharedService<Req, Res, E> {
    /// Erases a service, with whatever Tower layers it wears.
    #[must_use]
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Req, Response = Res> + Clone + Send + 'static,
        S::Error: Into<E>,
        S::Future: Send,
        Req: Send + 'static,
    {
        Self(Arc::new(Erased(Mutex::new(service))))
    }

    /// Starts a call. Nothing runs before the future is polled.
    #[must_use]
    pub fn send(&self, request: Req) -> BoxFuture<Result<Res, E>> {
        self.0.call(request)
    }
}

impl<S, Req, Res, E> Call<Req, Res, E> for Erased<S>
where
    S: Service<Req, Response = Res> + Clone + Send + 'static,
    S::Error: Into<E>,
    S::Future: Send,
    Req: Send + 'static,
{
    fn call(&self, request: Req) -> BoxFuture<Result<Res, E>> {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        })
    }
}

impl<Req, Res, E> Service<Req> for SharedService<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = BoxFuture<Result<Res, E>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.send(request)
    }
}

// Derived, it would ask for `Req: Clone` and the rest.
impl<Req, Res, E> Clone for SharedService<Req, Res, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req, Res, E> fmt::Debug for SharedService<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedService")
    }
}
