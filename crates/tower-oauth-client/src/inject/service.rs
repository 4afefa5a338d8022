use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_oauth_core::{Need, TokenSource};
use tower_service::Service;

use super::{InjectTokenFuture, InjectTokenLayer, Shared};
use crate::error::BoxError;
use crate::prove::ProvenTo;
use crate::select::Selected;
use crate::stamp::{Stamped, stamp};
use crate::{ClientError, NoToken};

/// The service of [`InjectTokenLayer`](crate::InjectTokenLayer).
#[derive(Clone)]
pub struct InjectToken<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> InjectToken<S> {
    /// Wraps one service with the defaults; [`InjectTokenLayer`](crate::InjectTokenLayer) has the settings.
    #[must_use]
    pub fn new(inner: S, source: impl TokenSource) -> Self {
        tower_layer::Layer::layer(&InjectTokenLayer::new(source), inner)
    }

    pub(super) fn shared(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
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

impl<S, B, R> Service<Request<B>> for InjectToken<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = ClientError;
    type Future = InjectTokenFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        self.inner.poll_ready(cx).map_err(|error| ClientError::Inner(error.into()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut selected = Selected::COMMON;
        if let Some(select) = self.shared.sources.selector() {
            match Selected::by(select, request) {
                Ok(picked) => (selected, request) = picked,
                Err(error) => {
                    return InjectTokenFuture::refused(ClientError::Token(NoToken::new(error)));
                }
            }
        }
        let source = self.shared.sources.get(&selected);
        match stamp(source, &self.shared.guard, &mut request) {
            Stamped::Ours(token) => {
                let server = ProvenTo::of(&token, &self.shared.guard, request.uri());
                InjectTokenFuture::sent(self.inner.call(request), server)
            }
            Stamped::Foreign => InjectTokenFuture::sent(self.inner.call(request), None),
            Stamped::Refused(error) => InjectTokenFuture::refused(error),
            Stamped::Nobody => {
                // The call happens after a wait: the instance that was polled ready goes along, a
                // clone takes its place.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                let token = source.fetch(Need::Any);
                InjectTokenFuture::waiting(&self.shared, token, ready, request)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for InjectToken<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectToken").field("inner", &self.inner).finish_non_exhaustive()
    }
}
