//! Stamps a token, judges the answer, replaces a dead token, sends once more.

mod future;
mod layer;
mod mode;
mod service;

pub use future::RetryInvalidTokenFuture;
pub use layer::RetryInvalidTokenLayer;
pub use mode::{NoReplay, Replay};
pub use service::RetryInvalidToken;

use std::sync::Arc;

use tower_oauth_core::TokenSource;

use crate::RejectionPolicy;

/// What a layer, its services and their futures share.
#[derive(Clone)]
struct Shared {
    source: Arc<dyn TokenSource>,
    policy: Arc<dyn RejectionPolicy>,
    max_recorded: usize,
}

/// Marks a request that is a replay, for a second retry layer inside: one replay at most.
///
/// It is put on the replay only, and losing it on the way costs a further replay, not correctness.
#[derive(Clone, Copy)]
struct IsReplay;
