//! What an answer says about the token that was sent.

mod compose;
mod named;
mod wso2;

pub use compose::{Ambiguous, And, Or};
pub(crate) use named::is_bare_forbidden;
pub use named::{BareForbidden, BareUnauthorized, GrpcUnauthenticated, StandardPolicy, Statuses};
pub use wso2::Wso2Faults;

use http::response::Parts;
use tower_oauth_core::Flush;

/// What an answer says about the token that was sent.
///
/// The verdict on the answer that a caller gets stands in its extensions, unless it is `Accepted` at the
/// first try, or `Silent` beside a 2xx: those cost nothing. [`Replayed`](crate::Replayed) stands beside it
/// where the request was sent twice, so `Accepted` and `Replayed` together are a request that was healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenVerdict {
    /// The resource took it.
    Accepted,
    /// The resource says that it is dead.
    Rejected,
    /// It is dead, and so are others: [`Flush`] says how far it reaches, and the source is told.
    Flush(Flush),
    /// Nothing: the answer is about something else.
    Silent,
    /// It may be dead or not enough. Silent, unless
    /// [`confirm_with_introspection`](crate::RetryInvalidTokenLayer::confirm_with_introspection) is set.
    Ambiguous,
    /// The head does not tell; the first KiB of the body may
    /// ([`reading_bodies`](crate::RetryInvalidTokenLayer::reading_bodies)). Without that it is judged
    /// as an answer without a body.
    NeedsBody,
}

impl TokenVerdict {
    /// Whether the token is dead: `Rejected` or `Flush`.
    #[must_use]
    pub fn is_rejection(self) -> bool {
        matches!(self, Self::Rejected | Self::Flush(_))
    }
}

/// Judges answers: one decision, one place.
///
/// Only the head is seen, and on demand the first KiB of the body. A refusal in gRPC trailers, behind
/// messages, is the caller's to see. A closure `Fn(&http::response::Parts) -> TokenVerdict` is a policy;
/// [`or`](Self::or), [`and`](Self::and) and [`ambiguous`](Self::ambiguous) compose.
///
/// ```
/// use tower_oauth_client::{BareForbidden, StandardPolicy, RejectionPolicy, TokenVerdict};
///
/// // A gateway that says 403 to a token it does not know any more.
/// let policy = StandardPolicy.or(BareForbidden);
/// let (head, ()) = http::Response::builder().status(403).body(())?.into_parts();
/// assert_eq!(policy.judge(&head), TokenVerdict::Rejected);
/// # Ok::<_, http::Error>(())
/// ```
///
/// Whatever a policy says, a 407 is a proxy's and never the token's end (RFC 9110 §15.5.8).
pub trait RejectionPolicy: Send + Sync + 'static {
    /// Judges the head of an answer.
    fn judge(&self, head: &Parts) -> TokenVerdict;

    /// Judges an answer whose head was [`NeedsBody`](TokenVerdict::NeedsBody): `start` is at most the first
    /// KiB of its body, less where the body ends, breaks or pauses before, empty where it is not read.
    ///
    /// By default the head decides.
    fn judge_start(&self, head: &Parts, start: &[u8]) -> TokenVerdict {
        let _ = start;
        self.judge(head)
    }

    /// Rejected where either says so; then what one of them wants to look into; else the first that is
    /// not silent.
    fn or<P: RejectionPolicy>(self, other: P) -> Or<Self, P>
    where
        Self: Sized,
    {
        Or(self, other)
    }

    /// Rejected where both say so; else the first that says something else than rejected.
    fn and<P: RejectionPolicy>(self, other: P) -> And<Self, P>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Where this one says rejected: only perhaps, and somebody has to be asked.
    fn ambiguous(self) -> Ambiguous<Self>
    where
        Self: Sized,
    {
        Ambiguous(self)
    }
}

impl<F> RejectionPolicy for F
where
    F: Fn(&Parts) -> TokenVerdict + Send + Sync + 'static,
{
    fn judge(&self, head: &Parts) -> TokenVerdict {
        self(head)
    }
}
