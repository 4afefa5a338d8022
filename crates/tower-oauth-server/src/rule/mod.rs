//! Behind the door: rules about a caller who is known.
//!
//! 1. A rule sees the proof of the door and nothing else of the request, and decides at once.
//! 2. Without a door further out every rule refuses, with a 500 that says why.
//! 3. An anonymous request that the door let in is asked for a token (401): no rule holds for nobody.
//! 4. A CORS preflight that the door let in passes: it never has credentials.

mod claims;
mod future;
mod service;
mod step_up;

use http::{Extensions, Request, Response};
use tower_service::Service;

use crate::Rejection;
use crate::require::{Admission, Proof};

pub use claims::RequireClaimsLayer;
pub use future::RuleResponseFuture;
pub use service::RequireRule;
pub use step_up::{AuthenticationRequirement, RequireAuthenticationLayer};

/// What a rule says to the request with these extensions.
pub(crate) fn judge(
    extensions: &Extensions,
    rule: impl FnOnce(&Proof) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    match Admission::of(extensions)? {
        Admission::Caller(proof) => rule(proof),
        Admission::Anonymous { .. } => Err(Rejection::Missing),
        Admission::Preflight => Ok(()),
    }
}

/// Calls the service, or refuses in the style of the door.
pub(crate) fn follow<S, B, RB>(
    verdict: Result<(), Rejection>,
    inner: &mut S,
    request: Request<B>,
) -> RuleResponseFuture<S::Future>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    match verdict {
        Ok(()) => RuleResponseFuture::calling(inner.call(request)),
        Err(rejection) => {
            // As in `RequireToken`: the place that `poll_ready` may have reserved is given back.
            *inner = inner.clone();
            let (head, _) = request.into_parts();
            RuleResponseFuture::refused(Admission::refusal(rejection, &head))
        }
    }
}
