//! Stamps a token, judges the answer, replaces a dead token, sends once more.

mod attempt;
mod future;
mod judge;
mod layer;
mod mode;
mod nonce;
mod read;
mod rights;
mod service;

pub use future::RetryInvalidTokenFuture;
pub use layer::RetryInvalidTokenLayer;
pub use mode::{NoReplay, ReadBodies, Replay};
pub use read::PeekedBody;
pub(crate) use rights::Resource;
pub use service::RetryInvalidToken;

use std::sync::Arc;

use http::Request;
use rights::Rights;
use tower_oauth_core::{Clock, TokenId, TokenSource};

use crate::deadline::Deadline;
use crate::origin::Guard;
use crate::select::{Selected, Sources};
use crate::{ConfirmWithIntrospection, RejectionPolicy};

/// What a layer, its services and their futures share.
#[derive(Clone)]
struct Shared {
    sources: Sources,
    guard: Guard,
    policy: Arc<dyn RejectionPolicy>,
    confirm: Option<ConfirmWithIntrospection>,
    rights: Rights,
    clock: Arc<dyn Clock>,
    max_recorded: usize,
}

/// What belongs to one request.
struct Call {
    shared: Arc<Shared>,
    selected: Selected,
    deadline: Option<Deadline>,
    /// It was sent again with the nonce that the server had asked for.
    is_reproof: bool,
}

impl Call {
    fn source(&self) -> &dyn TokenSource {
        self.shared.sources.get(&self.selected)
    }

    /// Tells the next attempt how much time is left; `false` if none is.
    fn is_in_time<B>(&self, request: &mut Request<B>) -> bool {
        self.deadline
            .is_none_or(|deadline| deadline.pass_on(request.headers_mut(), &*self.shared.clock))
    }
}

/// Stands in the extensions of an answer to a request that was sent twice, beside the
/// [`TokenVerdict`](crate::TokenVerdict) on the second answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Replayed;

/// Marks a request that is a replay, for a second retry layer inside: one replay at most.
///
/// It is put on the replay only, and losing it on the way costs a further replay, not correctness.
#[derive(Clone, Copy)]
struct IsReplay;

/// Marks a request that is sent again with the nonce that its server has asked for, and an answer that asks for another one all the
/// same: for a second retry layer inside or outside.
#[derive(Clone, Copy)]
struct IsReproof;

/// Marks an answer to a request that a layer inside has sent again because this token was rejected,
/// for a second retry layer outside: one replay at most. Losing it costs a further replay, no more.
#[derive(Clone, Copy)]
struct DealtWith(TokenId);
