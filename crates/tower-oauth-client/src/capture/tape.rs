use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// One recorded body: both the record and the source of what has not been pulled yet.
///
/// The sender's [`Playback`] and the replay's share it; only the newer one may pull.
#[derive(Clone)]
pub(crate) struct Tape(Arc<Mutex<Reel>>);

struct Reel {
    source: Box<dyn Source>,
    frames: VecDeque<Recorded>,
    recorded: usize,
    cap: usize,
    stage: Stage,
    /// The source told its exact length at the start.
    announced: bool,
    /// The source has said that there is no more. Some bodies panic when they are asked again.
    ended: bool,
    /// Who waits for the source on behalf of the first playback.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first playback pulls, and every frame is kept.
    Recording,
    /// More was pulled than is kept, or the source failed: no way back.
    Spoiled,
    /// The second playback pulls; the first is superseded.
    Replaying,
}

enum Recorded {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// A body of any type whose error can be boxed.
trait Source: Send {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
    fn is_end_stream(&self) -> bool;
    fn size_hint(&self) -> SizeHint;
}

impl<B> Source for B
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(self).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(self)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(self)
    }
}

/// The body that the inner service sees, before it is boxed into the caller's type.
pub(crate) struct Playback {
    tape: Tape,
    replay: bool,
}

// === impl Tape ===

impl Tape {
    pub(crate) fn record<B>(source: B, cap: usize) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let announced = source.size_hint().exact().is_some();
        Self(Arc::new(Mutex::new(Reel {
            source: Box::new(source),
            announced,
            frames: VecDeque::new(),
            recorded: 0,
            cap,
            stage: Stage::Recording,
            ended: false,
            waker: None,
        })))
    }

    pub(crate) fn first(&self) -> Playback {
        Playback { tape: self.clone(), replay: false }
    }

    pub(crate) fn second(self) -> Playback {
        Playback { tape: self, replay: true }
    }

    pub(crate) fn can_rewind(&self) -> bool {
        self.reel().stage == Stage::Recording
    }

    /// Hands the source over to the second playback; `false` if there is no way back.
    pub(crate) fn rewind(&self) -> bool {
        let mut reel = self.reel();
        if reel.stage != Stage::Recording {
            return false;
        }
        reel.stage = Stage::Replaying;
        let superseded = reel.waker.take();
        drop(reel);
        // The first playback may sleep on the source; it has to wake up to learn that it is over.
        if let Some(waker) = superseded {
            waker.wake();
        }
        true
    }

    fn reel(&self) -> MutexGuard<'_, Reel> {
        // A panic under this lock is a panic of the user's body; the reel is then as the body left it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reel ===

impl Reel {
    /// The source, which is not asked again after its end.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.source.poll_frame(cx);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    /// A replay announces a length where the first playback did, and only there: one that was sent
    /// in chunks may have trailers, which a length would cut off.
    fn rest(&self) -> SizeHint {
        match self.ended {
            false => self.source.size_hint(),
            true if self.announced => SizeHint::with_exact(0),
            true => SizeHint::default(),
        }
    }

    fn is_at_end(&self) -> bool {
        self.ended || self.source.is_end_stream()
    }

    fn poll_recording(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.poll_source(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.keep(frame),
            Poll::Ready(Some(Err(_))) => self.spoil(),
            Poll::Ready(None) => {}
            Poll::Pending => self.waker = Some(cx.waker().clone()),
        }
        polled
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.stage != Stage::Recording {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.recorded = self.recorded.saturating_add(data.len());
            if self.recorded > self.cap {
                self.spoil();
            } else if !data.is_empty() {
                // An empty frame says nothing, and the cap would not count it.
                self.frames.push_back(Recorded::Data(data.clone()));
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.frames.push_back(Recorded::Trailers(trailers.clone()));
        }
    }

    fn spoil(&mut self) {
        self.stage = Stage::Spoiled;
        self.frames = VecDeque::new();
    }
}

// === impl Playback ===

impl Playback {
    fn is_superseded(&self, reel: &Reel) -> bool {
        !self.replay && reel.stage == Stage::Replaying
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut reel = self.tape.reel();
        if self.is_superseded(&reel) {
            // An end here would make a cut body look whole.
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        if !self.replay {
            return reel.poll_recording(cx);
        }
        match reel.frames.pop_front() {
            Some(Recorded::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Recorded::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => reel.poll_source(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        let reel = self.tape.reel();
        if self.is_superseded(&reel) {
            return false;
        }
        (!self.replay || reel.frames.is_empty()) && reel.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let reel = self.tape.reel();
        let mut hint = reel.rest();
        if !self.replay {
            return hint;
        }
        let on_tape: u64 = reel
            .frames
            .iter()
            .map(|frame| match frame {
                Recorded::Data(data) => data.len() as u64,
                Recorded::Trailers(_) => 0,
            })
            .sum();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(on_tape));
        }
        hint.set_lower(hint.lower().saturating_add(on_tape));
        hint
    }
}

/// What the first body says when the replay has taken over.
#[derive(Debug)]
struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is being sent again")
    }
}

impl std::error::Error for Superseded {}
