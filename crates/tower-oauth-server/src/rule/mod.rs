//! Behind the door: rules about a caller who is known.
//!
//! 1. A rule sees the proof of the door and nothing else of the request, and decides at once.
//! 2. Without a door further out every rule refuses, with a 500 that says why.
//! 3. An anonymous request that the door let in is asked for a token (401): no rule holds for nobody.
//! 4. A CORS preflight that the door let in passes: it never has credentials.

mod claims;
mod future;
mod scope;
mod service;
mod step_up;

pub use claims::RequireClaimsLayer;
pub use future::RuleResponseFuture;
pub use scope::RequireScopeLayer;
pub use service::RequireRule;
pub use step_up::{AuthenticationRequirement, RequireAuthenticationLayer};
