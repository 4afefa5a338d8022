use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// What an endless body sends at once.
const CHUNK: Bytes = Bytes::from_static(&[b' '; 4096]);

/// An endless body lets others run after so many chunks, or no deadline could ever end it.
const CHUNKS_IN_A_ROW: u32 = 16;

/// The body of a scripted answer: whole, cut, endless or dripping.
pub struct ScriptedBody(Kind);

enum Kind {
    Whole {
        content: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// Promises all, delivers half, breaks.
    Cut {
        content: Bytes,
        promised: u64,
    },
    Endless {
        in_a_row: u32,
    },
    Drip {
        interval: Duration,
        next: Pin<Box<Sleep>>,
    },
}

impl ScriptedBody {
    pub(crate) fn whole(content: impl Into<Bytes>) -> Self {
        Self(Kind::Whole { content: content.into(), trailers: None })
    }

    /// The body of a gRPC answer that went well.
    pub(crate) fn with_grpc_ok(content: Bytes) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Self(Kind::Whole { content, trailers: Some(trailers) })
    }

    pub(crate) fn endless() -> Self {
        Self(Kind::Endless { in_a_row: 0 })
    }

    pub(crate) fn drip(interval: Duration) -> Self {
        Self(Kind::Drip { interval, next: Box::pin(sleep(interval)) })
    }

    /// This body, broken in the middle.
    pub(crate) fn cut(self) -> Self {
        match self.0 {
            Kind::Whole { content, .. } => {
                let promised = content.len() as u64;
                Self(Kind::Cut { content: content.slice(..content.len() / 2), promised })
            }
            other => Self(other),
        }
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.get_mut().0 {
            Kind::Whole { content, trailers } => Poll::Ready(if content.is_empty() {
                trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))
            } else {
                Some(Ok(Frame::data(std::mem::take(content))))
            }),
            Kind::Cut { content, .. } => Poll::Ready(Some(if content.is_empty() {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the script cuts the body"))
            } else {
                Ok(Frame::data(std::mem::take(content)))
            })),
            Kind::Endless { in_a_row } => {
                *in_a_row += 1;
                if *in_a_row > CHUNKS_IN_A_ROW {
                    *in_a_row = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(Frame::data(CHUNK))))
            }
            Kind::Drip { interval, next } => {
                ready!(next.as_mut().poll(cx));
                next.set(sleep(*interval));
                Poll::Ready(Some(Ok(Frame::data(CHUNK.slice(..1)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole { content, trailers: None } if content.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { content, trailers: None } => SizeHint::with_exact(content.len() as u64),
            Kind::Cut { promised, .. } => SizeHint::with_exact(*promised),
            Kind::Whole { .. } | Kind::Endless { .. } | Kind::Drip { .. } => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ScriptedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Whole { .. } => "whole",
            Kind::Cut { .. } => "cut",
            Kind::Endless { .. } => "endless",
            Kind::Drip { .. } => "drip",
        };
        f.debug_tuple("ScriptedBody").field(&kind).finish()
    }
}
