use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_oauth_core::{Need, TokenSource};
use tower_service::Service;

use super::mode::{Answers, Mode};
use super::{
    Call, IsReplay, IsReproof, Replay, RetryInvalidTokenFuture, RetryInvalidTokenLayer, Shared,
};
use crate::deadline::Deadline;
use crate::error::BoxError;
use crate::select::Selected;
use crate::stamp::{Stamped, stamp};
use crate::{ClientError, NoToken};

/// The service of [`RetryInvalidTokenLayer`](crate::RetryInvalidTokenLayer).
pub struct RetryInvalidToken<S, M = Replay> {
    inner: S,
    shared: Arc<Shared>,
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
    pub(super) fn shared(inner: S, shared: Arc<Shared>) -> Self {
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
    M: Mode<B> + Answers<R>,
{
    type Response = Response<M::Body>;
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
        let mut selected = Selected::COMMON;
        if let Some(select) = self.shared.sources.selector() {
            match Selected::by(select, request) {
                Ok(picked) => (selected, request) = picked,
                Err(error) => {
                    return RetryInvalidTokenFuture::refuse(ClientError::Token(NoToken::new(
                        error,
                    )));
                }
            }
        }
        let source = self.shared.sources.get(&selected);
        let is_replay = request.extensions().get::<IsReplay>().is_some();
        let is_reproof = request.extensions().get::<IsReproof>().is_some();
        let stamped = stamp(source, &self.shared.guard, &mut request);
        let call = |selected| Call {
            shared: Arc::clone(&self.shared),
            selected,
            deadline: Deadline::of(request.headers(), &*self.shared.clock),
            is_reproof,
        };
        match stamped {
            Stamped::Foreign => RetryInvalidTokenFuture::pass(ready, request),
            Stamped::Refused(error) => RetryInvalidTokenFuture::refuse(error),
            // The layer outside judges the answer.
            Stamped::Ours(_) if is_replay => RetryInvalidTokenFuture::pass(ready, request),
            Stamped::Ours(token) => {
                RetryInvalidTokenFuture::send(call(selected), token, ready, request)
            }
            Stamped::Nobody => {
                let token = source.fetch(Need::Any);
                RetryInvalidTokenFuture::wait(call(selected), token, ready, request)
            }
        }
    }
}

// Derived, it would ask for `M: Clone`.
impl<S: Clone, M> Clone for RetryInvalidToken<S, M> {
    fn clone(&self) -> Self {
        Self::shared(self.inner.clone(), Arc::clone(&self.shared))
    }
}

impl<S: fmt::Debug, M> fmt::Debug for RetryInvalidToken<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryInvalidToken").field("inner", &self.inner).finish_non_exhaustive()
    }
}
