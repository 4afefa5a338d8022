//! Stamps a token on each request.

mod future;
mod layer;
mod service;

pub use future::InjectTokenFuture;
pub use layer::InjectTokenLayer;
pub use service::InjectToken;

use std::sync::Arc;

use tower_oauth_core::Clock;

use crate::origin::Guard;
use crate::select::Sources;

/// What a service and its clones share.
#[derive(Clone)]
struct Shared {
    sources: Sources,
    guard: Guard,
    clock: Arc<dyn Clock>,
}
