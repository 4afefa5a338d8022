//! The door: a request comes in with a valid token, or not at all.
//!
//! 1. `poll_ready` forwards.
//! 2. The token is judged before the inner service is called; the request's body is not touched.
//! 3. One [`Admission`] goes into the request's extensions, in place of any that came from outside.
//! 4. A refusal is an answer, never an error: `Error = S::Error`.

mod admission;
mod door;
mod erased;
mod future;
mod layer;
mod recheck;
mod service;
mod strip;

pub(crate) use admission::{Admission, Proof};
pub use future::ResponseFuture;
pub use layer::RequireTokenLayer;
pub(crate) use recheck::{Judged, Recheck};
pub use service::RequireToken;
