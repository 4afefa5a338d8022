//! The authenticator without its claims type, so that the layer's type is short.

use tower_oauth_core::BoxFuture;

use super::admission::Proof;
use crate::{Authenticate, Presented, Rejection, Verdict};

pub(super) trait ErasedAuthenticate: Send + Sync {
    fn authenticate(&self, presented: Presented<'_>) -> ErasedVerdict;
    fn max_token_bytes(&self) -> usize;
}

pub(super) enum ErasedVerdict {
    Now(Result<Proof, Rejection>),
    Later(BoxFuture<Result<Proof, Rejection>>),
}

/// A wrapper and not a blanket impl, or every authenticator would have two methods of one name.
pub(super) struct Erased<A>(pub(super) A);

impl<A: Authenticate> ErasedAuthenticate for Erased<A> {
    fn max_token_bytes(&self) -> usize {
        self.0.max_token_bytes()
    }

    fn authenticate(&self, presented: Presented<'_>) -> ErasedVerdict {
        match self.0.authenticate(presented) {
            Verdict::Now(verdict) => ErasedVerdict::Now(verdict.map(Proof::new)),
            // A second box, on the path that goes to the network anyway.
            Verdict::Later(verdict) => {
                ErasedVerdict::Later(Box::pin(async move { verdict.await.map(Proof::new) }))
            }
        }
    }
}
