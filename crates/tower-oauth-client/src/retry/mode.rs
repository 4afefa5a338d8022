use crate::CaptureBody;
use crate::capture::Captured;

/// The default mode of [`RetryInvalidToken`](crate::RetryInvalidToken): requests are sent again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replay;

/// The mode of
/// [`RetryInvalidTokenLayer::without_replay`](crate::RetryInvalidTokenLayer::without_replay): any
/// body, and no request is sent again.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReplay;

/// How a mode treats the body `B`. Sealed by being unreachable.
pub trait Mode<B> {
    #[doc(hidden)]
    fn capture(body: B, cap: usize) -> (B, Captured<B>);
}

impl<B: CaptureBody> Mode<B> for Replay {
    fn capture(body: B, cap: usize) -> (B, Captured<B>) {
        body.capture(cap)
    }
}

impl<B> Mode<B> for NoReplay {
    fn capture(body: B, _cap: usize) -> (B, Captured<B>) {
        (body, Captured::nothing())
    }
}
