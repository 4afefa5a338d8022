use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_service::Service;

use super::future::ScopeResponseFuture;
use super::layer::Rule;
use crate::accessors::inner_accessors;
use crate::render::Refusal;
use crate::require::Admission;
use crate::{DoorBody, Rejection};

/// Lets pass only callers whose token has enough scope. Made by [`RequireScopeLayer`](crate::RequireScopeLayer).
#[derive(Clone, Debug)]
pub struct RequireScope<S> {
    inner: S,
    rule: Arc<Rule>,
}

impl<S> RequireScope<S> {
    pub(super) fn with_rule(inner: S, rule: Arc<Rule>) -> Self {
        Self { inner, rule }
    }

    inner_accessors!(S);
}

impl<S, B, RB> Service<Request<B>> for RequireScope<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    type Response = Response<DoorBody<RB>>;
    type Error = S::Error;
    type Future = ScopeResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match judge(&self.rule, request.extensions()) {
            Ok(()) => ScopeResponseFuture::calling(self.inner.call(request)),
            Err(rejection) => {
                // As in `RequireToken`: the place that `poll_ready` may have reserved is given back.
                self.inner = self.inner.clone();
                let (head, _) = request.into_parts();
                let admission = Admission::of(&head.extensions).ok();
                let refusal = Refusal::new(rejection, &head, admission.and_then(Admission::realm));
                ScopeResponseFuture::refused(refusal.offering(admission.and_then(Admission::offer)))
            }
        }
    }
}

fn judge(rule: &Rule, extensions: &Extensions) -> Result<(), Rejection> {
    match Admission::of(extensions)? {
        Admission::Caller(proof) => rule.judge(&proof.principal),
        Admission::Anonymous { .. } => Err(Rejection::Missing),
        Admission::Preflight => Ok(()),
    }
}
