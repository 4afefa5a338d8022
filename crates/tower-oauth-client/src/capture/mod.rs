//! Bodies that can be sent twice.

mod bodies;
mod tape;

use bytes::Bytes;
use http_body::Body;

pub(crate) use tape::Tape;

/// A request body that [`RetryInvalidToken`](crate::RetryInvalidToken) can send again.
///
/// The inner service sees the caller's own body type. What it pulls is recorded, up to the cap; a
/// replay plays the record and goes on with the unsent rest, so a body of which nothing was pulled
/// yet (`Expect: 100-continue`, an early refusal) can be replayed whatever its length.
///
/// Sealed: the named types are `http_body_util::{Empty, Full, BoxBody, UnsyncBoxBody}` (the boxed ones
/// with a boxed error), `axum::body::Body` (feature `axum`) and `tonic::body::Body` (feature `tonic`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a body that can be recorded and replayed",
    label = "this body cannot be replayed",
    note = "box it: `http_body_util::BodyExt::boxed_unsync(body.map_err(Into::into))`",
    note = "`axum::body::Body` needs the feature `axum`, `tonic::body::Body` the feature `tonic`",
    note = "or give the replay up: `RetryInvalidTokenLayer::new(source).without_replay()`"
)]
pub trait CaptureBody: Body<Data = Bytes> + Sized + sealed::Sealed {
    #[doc(hidden)]
    fn capture(self, cap: usize) -> (Self, Captured<Self>);
}

/// The way back to a body that was sent.
#[doc(hidden)]
pub struct Captured<B>(Kept<B>);

enum Kept<B> {
    /// Nothing was kept.
    Nothing,
    /// The body is cheap to copy.
    Copy(B),
    /// What was pulled is on tape.
    Tape(Tape, fn(Tape) -> B),
}

impl<B> Captured<B> {
    pub(crate) const fn nothing() -> Self {
        Self(Kept::Nothing)
    }

    /// Whether [`Self::rewind`] would give a body now.
    pub(crate) fn can_rewind(&self) -> bool {
        match &self.0 {
            Kept::Nothing => false,
            Kept::Copy(_) => true,
            Kept::Tape(tape, _) => tape.can_rewind(),
        }
    }

    /// The body once more; the one that was sent fails from here on.
    pub(crate) fn rewind(self) -> Option<B> {
        match self.0 {
            Kept::Nothing => None,
            Kept::Copy(body) => Some(body),
            Kept::Tape(tape, dress) => tape.rewind().then(|| dress(tape)),
        }
    }
}

impl<B> std::fmt::Debug for Captured<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captured").field("can_rewind", &self.can_rewind()).finish()
    }
}

mod sealed {
    #[allow(unreachable_pub)]
    pub trait Sealed {}
}
