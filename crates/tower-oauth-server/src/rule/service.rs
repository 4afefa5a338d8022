use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_service::Service;

use super::future::RuleResponseFuture;
use crate::accessors::inner_accessors;
use crate::require::{Admission, Proof};
use crate::{DoorBody, Rejection};

/// Decides about a caller. It is erased, so that the type of what stands behind a rule stays short.
pub(super) type Rule = dyn Fn(&Proof) -> Result<(), Rejection> + Send + Sync;

/// Lets pass only callers that a rule allows. Made by [`RequireScopeLayer`](crate::RequireScopeLayer),
/// [`RequireClaimsLayer`](crate::RequireClaimsLayer) and [`RequireAuthenticationLayer`](crate::RequireAuthenticationLayer).
#[derive(Clone)]
pub struct RequireRule<S> {
    inner: S,
    rule: Arc<Rule>,
}

impl<S> RequireRule<S> {
    pub(super) fn with_rule(inner: S, rule: Arc<Rule>) -> Self {
        Self { inner, rule }
    }

    inner_accessors!(S);
}

impl<S, B, RB> Service<Request<B>> for RequireRule<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    type Response = Response<DoorBody<RB>>;
    type Error = S::Error;
    type Future = RuleResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match judge(request.extensions(), &*self.rule) {
            Ok(()) => RuleResponseFuture::calling(self.inner.call(request)),
            Err(rejection) => {
                // As in `RequireToken`: the place that `poll_ready` may have reserved is given back.
                self.inner = self.inner.clone();
                let (head, _) = request.into_parts();
                RuleResponseFuture::refused(Admission::refusal(rejection, &head))
            }
        }
    }
}

/// What a rule says to the request with these extensions.
fn judge(extensions: &Extensions, rule: &Rule) -> Result<(), Rejection> {
    match Admission::of(extensions)? {
        Admission::Caller(proof) => rule(proof),
        Admission::Anonymous { .. } => Err(Rejection::Missing),
        Admission::Preflight => Ok(()),
    }
}

impl<S: fmt::Debug> fmt::Debug for RequireRule<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireRule").field("inner", &self.inner).finish_non_exhaustive()
    }
}
