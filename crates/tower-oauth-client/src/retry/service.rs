use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_oauth_core::{Need, TokenSource};
use tower_service::Service;

use super::mode::Mode;
use super::{IsReplay, Replay, RetryInvalidTokenFuture, RetryInvalidTokenLayer, Shared};
use crate::ClientError;
use crate::error::BoxError;
use crate::stamp::{Stamped, stamp};

/// The service of [`RetryInvalidTokenLayer`](crate::RetryInvalidTokenLayer).
pub struct RetryInvalidToken<S, M = Replay> {
    inner: S,
    shared: Shared,
    mode: PhantomData<fn() -> M>,
}

impl<S> RetryInvalidToken<S> {
    /// Wraps one service with the defaults; the layer has the settings.
    #[must_use]
    pub fn new(inner: S, source: impl TokenSource) -> Self {
        tower_layer::Layer::layer(&RetryInvalidTokenLayer::new(source), inner)
    }
}

impl<S, M> RetryInvalidToken<S, M> {
    pub(super) fn shared(inner: S, shared: Shared) -> Self {
        Self { inner, shared, mode: PhantomData }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the inner service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, M, B, R> Service<Request<B>> for RetryInvalidToken<S, M>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    M: Mode<B>,
{
    type Response = Response<R>;
    type Error = ClientError;
    type Future = RetryInvalidTokenFuture<S, M, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.inner.poll_ready(cx).map_err(|error| ClientError::Inner(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The instance that was polled ready makes the first call; the clone that takes its place
        // is not ready, and neither is the one that a replay would use.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let is_replay = request.extensions().get::<IsReplay>().is_some();
        match stamp(self.shared.source.as_ref(), &mut request) {
            Stamped::Foreign => RetryInvalidTokenFuture::pass(ready, request),
            // The layer outside judges the answer.
            Stamped::Ours(_) if is_replay => RetryInvalidTokenFuture::pass(ready, request),
            Stamped::Ours(token) => {
                RetryInvalidTokenFuture::send(self.shared.clone(), token, ready, request)
            }
            Stamped::Nobody => {
                let token = self.shared.source.fetch(Need::Any);
                RetryInvalidTokenFuture::wait(self.shared.clone(), token, ready, request)
            }
        }
    }
}

// Derived, it would ask for `M: Clone`.
impl<S: Clone, M> Clone for RetryInvalidToken<S, M> {
    fn clone(&self) -> Self {
        Self::shared(self.inner.clone(), self.shared.clone())
    }
}

impl<S: fmt::Debug, M> fmt::Debug for RetryInvalidToken<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryInvalidToken").field("inner", &self.inner).finish_non_exhaustive()
    }
}
