//! Reads the start of an answer's body and hands the whole on.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::deadline::Timer;

/// So much of a body is judged.
const START: usize = 1024;
/// A longer answer is no fault message.
const LONGEST: u64 = 64 * 1024;
/// So many frames at most: empty ones would not count.
const FRAMES: usize = 64;
/// So long a judgement waits for the body.
const PATIENCE: Duration = Duration::from_millis(500);

pin_project! {
    /// The body of an answer, of which the door may have read the start: the caller gets the same frames,
    /// trailers and errors as without.
    pub struct PeekedBody<R>
    where
        R: Body,
    {
        frames: VecDeque<Frame<R::Data>>,
        broken: Option<R::Error>,
        ended: bool,
        #[pin]
        rest: Rest<R>,
    }
}

pin_project! {
    #[project = RestProj]
    enum Rest<R> {
        // Nobody has touched it: no allocation.
        Whole { #[pin] body: R },
        Begun { body: Pin<Box<R>> },
    }
}

/// An answer and the start of its body.
pub(super) type Start<B> = (Vec<u8>, Response<B>);

/// Becomes the answer when enough of its body is there.
#[doc(hidden)]
pub struct ReadStart<R: Body> {
    held: Option<Held<R>>,
    timer: Timer,
}

struct Held<R: Body> {
    answer: Response<()>,
    body: Pin<Box<R>>,
    frames: VecDeque<Frame<R::Data>>,
    broken: Option<R::Error>,
    ended: bool,
    bytes: usize,
}

// === impl ReadStart ===

impl<R: Body<Data = Bytes>> ReadStart<R> {
    /// A stream is not for reading: it may have no end, and no pause either.
    pub(super) fn new(response: Response<R>) -> Result<Self, Response<R>> {
        let kind = response.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let streams = kind.is_some_and(|kind| {
            [b"application/grpc".as_slice(), b"text/event-stream", b"multipart/"].iter().any(
                |stream| kind.get(..stream.len()).is_some_and(|k| k.eq_ignore_ascii_case(stream)),
            )
        });
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if streams || switches || response.body().size_hint().lower() > LONGEST {
            return Err(response);
        }
        let (head, body) = response.into_parts();
        let held = Held {
            answer: Response::from_parts(head, ()),
            body: Box::pin(body),
            frames: VecDeque::new(),
            broken: None,
            ended: false,
            bytes: 0,
        };
        Ok(Self { held: Some(held), timer: Timer::after(PATIENCE) })
    }
}

impl<R: Body<Data = Bytes>> Held<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.bytes < START && self.frames.len() < FRAMES {
            if self.body.is_end_stream() {
                break;
            }
            match std::task::ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.bytes += frame.data_ref().map_or(0, Bytes::len);
                    self.frames.push_back(frame);
                }
                Some(Err(error)) => {
                    self.broken = Some(error);
                    break;
                }
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    fn finish(self) -> Start<PeekedBody<R>> {
        let mut start = Vec::with_capacity(self.bytes.min(START));
        for data in self.frames.iter().filter_map(Frame::data_ref) {
            let room = START.saturating_sub(start.len());
            start.extend(data.iter().take(room));
        }
        let Self { answer, body, frames, broken, ended, .. } = self;
        let rest = Rest::Begun { body };
        (start, answer.map(|()| PeekedBody { frames, broken, ended, rest }))
    }
}

impl<R: Body<Data = Bytes>> Future for ReadStart<R> {
    type Output = Start<PeekedBody<R>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let enough = match &mut this.held {
            Some(held) => held.poll(cx).is_ready() || this.timer.poll(cx).is_ready(),
            None => false,
        };
        // Held until here by construction; a poll after the end has nothing to do.
        match this.held.take_if(|_| enough) {
            Some(held) => Poll::Ready(held.finish()),
            None => Poll::Pending,
        }
    }
}

// The body is boxed, so nothing in here is pinned in place.
impl<R: Body> Unpin for ReadStart<R> {}

// === impl PeekedBody ===

impl<R: Body> PeekedBody<R> {
    pub(super) fn untouched(body: R) -> Self {
        Self { frames: VecDeque::new(), broken: None, ended: false, rest: Rest::Whole { body } }
    }
}

impl<R> Rest<R> {
    fn get(&self) -> &R {
        match self {
            Self::Whole { body } => body,
            Self::Begun { body } => body,
        }
    }
}

impl<R: Body<Data = Bytes>> Body for PeekedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        if let Some(frame) = this.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = this.broken.take() {
            *this.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        if *this.ended {
            return Poll::Ready(None);
        }
        match this.rest.project() {
            RestProj::Whole { body } => body.poll_frame(cx),
            RestProj::Begun { body } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
            && self.broken.is_none()
            && (self.ended || self.rest.get().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held: usize = self.frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let held = held as u64;
        let rest = if self.ended { SizeHint::with_exact(0) } else { self.rest.get().size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

impl<R: Body> fmt::Debug for PeekedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekedBody").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

impl<R: Body> fmt::Debug for ReadStart<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadStart").finish_non_exhaustive()
    }
}
