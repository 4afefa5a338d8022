use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body;

use super::read::{ReadStart, Start};
use crate::capture::Captured;
use crate::{CaptureBody, PeekedBody};

/// The default mode of [`RetryInvalidToken`](crate::RetryInvalidToken): requests are sent again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replay;

/// The mode of
/// [`RetryInvalidTokenLayer::without_replay`](crate::RetryInvalidTokenLayer::without_replay): any
/// body, and no request is sent again.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReplay;

/// The mode of
/// [`RetryInvalidTokenLayer::reading_bodies`](crate::RetryInvalidTokenLayer::reading_bodies), on top of
/// another: the start of an answer's body is read where the policy wants it, and handed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadBodies<M>(PhantomData<fn() -> M>);

/// How a mode treats the request body `B`. Sealed by being unreachable.
pub trait Mode<B> {
    #[doc(hidden)]
    fn capture(body: B, cap: usize) -> (B, Captured<B>);
}

/// How a mode treats the answer body `R`. Sealed by being unreachable.
pub trait Answers<R> {
    #[doc(hidden)]
    type Body;
    #[doc(hidden)]
    type Read: Future<Output = Start<Self::Body>>;

    /// The answer as the caller gets it, with nothing read.
    #[doc(hidden)]
    fn leave(response: Response<R>) -> Response<Self::Body>;

    /// Reads the start of the body; `Err` gives back what is not to be read.
    #[doc(hidden)]
    fn read(response: Response<R>) -> Result<Self::Read, Response<R>>;
}

/// What is never read.
#[doc(hidden)]
#[derive(Debug)]
pub struct Never<R>(Infallible, PhantomData<fn() -> R>);

impl<R> Future for Never<R> {
    type Output = Start<R>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Start<R>> {
        match self.0 {}
    }
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

impl<B, M: Mode<B>> Mode<B> for ReadBodies<M> {
    fn capture(body: B, cap: usize) -> (B, Captured<B>) {
        M::capture(body, cap)
    }
}

macro_rules! judge_heads {
    ($mode:ty) => {
        impl<R> Answers<R> for $mode {
            type Body = R;
            type Read = Never<R>;

            fn leave(response: Response<R>) -> Response<R> {
                response
            }

            fn read(response: Response<R>) -> Result<Never<R>, Response<R>> {
                Err(response)
            }
        }
    };
}

judge_heads!(Replay);
judge_heads!(NoReplay);

impl<M, R> Answers<R> for ReadBodies<M>
where
    R: Body<Data = Bytes>,
{
    type Body = PeekedBody<R>;
    type Read = ReadStart<R>;

    fn leave(response: Response<R>) -> Response<PeekedBody<R>> {
        response.map(PeekedBody::untouched)
    }

    fn read(response: Response<R>) -> Result<ReadStart<R>, Response<R>> {
        ReadStart::new(response)
    }
}
