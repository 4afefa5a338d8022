use bytes::Bytes;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};

use super::sealed::Sealed;
use super::{CaptureBody, Captured, Kept, Tape};
use crate::error::BoxError;

impl Sealed for Empty<Bytes> {}

impl CaptureBody for Empty<Bytes> {
    fn capture(self, _cap: usize) -> (Self, Captured<Self>) {
        (self, Captured(Kept::Copy(Self::new())))
    }
}

impl Sealed for Full<Bytes> {}

/// A copy shares the bytes, so no cap applies.
impl CaptureBody for Full<Bytes> {
    fn capture(self, _cap: usize) -> (Self, Captured<Self>) {
        let copy = self.clone();
        (self, Captured(Kept::Copy(copy)))
    }
}

/// The bodies that are boxes: recorded inside, boxed again into the caller's type.
macro_rules! capture_boxed {
    ($body:ty, empty: $empty:expr, dress: $dress:expr) => {
        impl Sealed for $body {}

        impl CaptureBody for $body {
            fn capture(self, cap: usize) -> (Self, Captured<Self>) {
                if http_body::Body::is_end_stream(&self) {
                    return (self, Captured(Kept::Copy($empty)));
                }
                let tape = Tape::record(self, cap);
                let dress: fn(super::tape::Playback) -> Self = $dress;
                (dress(tape.first()), Captured(Kept::Tape(tape, |tape| $dress(tape.second()))))
            }
        }
    };
}

fn nothing() -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + Sync {
    Empty::new().map_err(|never: std::convert::Infallible| match never {})
}

capture_boxed!(UnsyncBoxBody<Bytes, BoxError>, empty: nothing().boxed_unsync(), dress: BodyExt::boxed_unsync);
capture_boxed!(BoxBody<Bytes, BoxError>, empty: nothing().boxed(), dress: BodyExt::boxed);

#[cfg(feature = "axum")]
capture_boxed!(axum_core::body::Body, empty: axum_core::body::Body::empty(), dress: axum_core::body::Body::new);

#[cfg(feature = "tonic")]
capture_boxed!(tonic::body::Body, empty: tonic::body::Body::empty(), dress: tonic::body::Body::new);
