use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::layer::Rule;
use crate::DoorBody;
use crate::accessors::inner_accessors;
use crate::rule::{self, RuleResponseFuture};

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
    type Future = RuleResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verdict = rule::judge(request.extensions(), |proof| self.rule.judge(&proof.principal));
        rule::follow(verdict, &mut self.inner, request)
    }
}
