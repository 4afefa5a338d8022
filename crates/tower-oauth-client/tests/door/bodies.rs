//! R05, R06: every kind of body, and how much of it may have been sent before the refusal.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth_client::{CaptureBody, RetryInvalidTokenLayer};

use crate::rig::{Mint, authorization, invalid_token, ok};

pub(crate) type Frames = VecDeque<io::Result<Frame<Bytes>>>;

/// A body of these frames, as long as it says.
pub(crate) struct Framed {
    frames: Frames,
    announced: Option<u64>,
}

impl Body for Framed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = self.frames.pop_front();
        if let (Some(announced), Some(Ok(frame))) = (&mut self.announced, &frame) {
            *announced -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body of these parts, without a length.
pub(crate) fn frames(parts: impl IntoIterator<Item = io::Result<Bytes>>) -> Framed {
    let frames = parts.into_iter().map(|part| part.map(Frame::data)).collect();
    Framed { frames, announced: None }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-checksum".parse().unwrap(), HeaderValue::from_static("7"))])
}

/// `one two three`, in three frames; with trailers, with a length.
fn three(with_trailers: bool, with_length: bool) -> Framed {
    let mut frames: Frames = ["one ", "two ", "three"].map(|text| Ok(data(text))).into();
    if with_trailers {
        frames.push_back(Ok(Frame::trailers(trailers())));
    }
    Framed { frames, announced: with_length.then_some(13) }
}

fn long(frames: usize, len: usize) -> Framed {
    let frame = Bytes::from(vec![b'x'; len]);
    Framed {
        frames: (0..frames).map(|_| Ok(Frame::data(frame.clone()))).collect(),
        announced: Some((frames * len) as u64),
    }
}

pub(crate) fn unsync<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    body.map_err(BoxError::from).boxed_unsync()
}

fn sync(body: Framed) -> BoxBody<Bytes, BoxError> {
    body.map_err(BoxError::from).boxed()
}

/// What the resource saw of one attempt.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    exact: Option<u64>,
    ends_at_once: bool,
    frames: usize,
    text: Bytes,
    trailers: Option<HeaderMap>,
}

/// Sends a body; the resource pulls so many frames of the first attempt, refuses, and reads the second
/// one to its end. What it saw, the status at the end, and the exchanges.
async fn send<B>(body: B, pull: usize, cap: Option<usize>) -> (Vec<Seen>, u16, usize)
where
    B: CaptureBody + Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Debug,
{
    let mint = Mint::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let resource = service_fn(move |request: Request<B>| {
        let log = Arc::clone(&log);
        async move {
            let first = authorization(request.headers()) == Some("Bearer t1");
            let mut body = request.into_body();
            let mut saw = Seen {
                exact: body.size_hint().exact(),
                ends_at_once: body.is_end_stream(),
                ..Seen::default()
            };
            let mut text = Vec::new();
            for _ in 0..if first { pull } else { usize::MAX } {
                let Some(frame) = body.frame().await else { break };
                saw.frames += 1;
                match frame.unwrap().into_data() {
                    Ok(data) => text.extend_from_slice(&data),
                    Err(frame) => saw.trailers = frame.into_trailers().ok(),
                }
            }
            saw.text = text.into();
            log.lock().unwrap().push(saw);
            io::Result::Ok(if first { invalid_token() } else { ok() })
        }
    });
    let mut layer = RetryInvalidTokenLayer::new(mint.cache());
    if let Some(cap) = cap {
        layer = layer.with_max_recorded(cap);
    }
    let request = Request::post("https://a.example/").body(body).unwrap();
    let status = layer.layer(resource).oneshot(request).await.unwrap().status().as_u16();
    tokio::task::yield_now().await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, status, mint.exchanges())
}

/// The second attempt sees what the first one saw, or would have seen, to the byte.
async fn replays<B>(name: &str, make: impl Fn() -> B, text: &str, exact: Option<u64>, end: bool)
where
    B: CaptureBody + Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Debug,
{
    for pull in [0, 1, 2, usize::MAX] {
        let (seen, status, exchanges) = send(make(), pull, None).await;
        assert_eq!((status, exchanges, seen.len()), (200, 2, 2), "{name}, {pull} frames pulled");
        for attempt in &seen {
            assert_eq!(attempt.exact, exact, "{name}, {pull} frames pulled");
            assert_eq!(attempt.ends_at_once, end, "{name}, {pull} frames pulled");
        }
        assert_eq!(seen[1].text, text, "{name}, {pull} frames pulled");
    }
}

#[tokio::test(start_paused = true)]
async fn r05_every_kind_of_body_is_replayed_with_its_length() {
    let text = "one two three";
    replays("Empty", Empty::<Bytes>::new, "", Some(0), true).await;
    replays("Full", || Full::new(Bytes::from(text)), text, Some(13), false).await;
    replays("Unsync", || unsync(three(false, true)), text, Some(13), false).await;
    replays("Unsync, no length", || unsync(three(false, false)), text, None, false).await;
    replays("Unsync, over", || unsync(long(0, 0)), "", Some(0), true).await;
    replays("Box", || sync(three(false, true)), text, Some(13), false).await;
    replays("Box, no length", || sync(three(false, false)), text, None, false).await;
    #[cfg(feature = "axum")]
    {
        use axum_core::body::Body;
        replays("axum", || Body::new(three(false, true)), text, Some(13), false).await;
        replays("axum, text", || Body::from(text), text, Some(13), false).await;
        replays("axum, empty", Body::empty, "", Some(0), true).await;
    }
    #[cfg(feature = "tonic")]
    {
        use tonic::body::Body;
        replays("tonic", || Body::new(three(false, false)), text, None, false).await;
        replays("tonic, length", || Body::new(three(false, true)), text, Some(13), false).await;
        replays("tonic, empty", Body::empty, "", Some(0), true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn r05_trailers_are_replayed_whether_they_were_pulled_or_not() {
    for pull in [0, 2, 3, 4, usize::MAX] {
        for body in [three(true, false), three(true, true)] {
            let (seen, status, _) = send(unsync(body), pull, None).await;
            assert_eq!(status, 200);
            assert_eq!(seen[1].text, "one two three", "{pull} frames pulled");
            assert_eq!(seen[1].trailers, Some(trailers()), "{pull} frames pulled");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r05_what_was_pulled_is_replayed_up_to_the_cap() {
    let kib = 1024;
    let cases = [
        // (frames, of this many bytes, pulled, cap, replayed)
        (64, kib, usize::MAX, None, true),
        (65, kib, usize::MAX, None, false),
        (1, 64 * kib, usize::MAX, None, true),
        (1, 64 * kib + 1, usize::MAX, None, false),
        (1, 64 * kib + 1, 0, None, true),
        (10_000, kib, 64, None, true),
        (10_000, kib, 65, None, false),
        (100, kib, usize::MAX, Some(100 * kib), true),
        (100, kib, usize::MAX, Some(100 * kib - 1), false),
        (3, 1, 0, Some(0), true),
        (3, 1, 1, Some(0), false),
    ];
    for (frames, len, pull, cap, replayed) in cases {
        let case = format!("{frames} of {len}, {pull} pulled, cap {cap:?}");
        let (seen, status, exchanges) = send(unsync(long(frames, len)), pull, cap).await;
        assert_eq!(status, if replayed { 200 } else { 401 }, "{case}");
        assert_eq!(exchanges, 2, "{case}: the token is replaced in any case");
        if replayed {
            assert_eq!(seen[1].text.len(), frames * len, "{case}");
            assert_eq!(seen[1].exact, Some((frames * len) as u64), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r05_a_copy_shares_its_bytes_and_needs_no_cap() {
    let text = Bytes::from(vec![b'x'; 10 * 1024 * 1024]);
    let (seen, status, _) = send(Full::new(text.clone()), usize::MAX, Some(0)).await;
    assert_eq!(status, 200);
    assert!(seen.iter().all(|attempt| attempt.text == text));
}

#[tokio::test(start_paused = true)]
async fn r06_a_body_that_nobody_asked_for_is_replayed_whatever_its_length() {
    // `Expect: 100-continue`, answered by 401.
    let (seen, status, _) = send(unsync(long(1024, 64 * 1024)), 0, Some(0)).await;
    assert_eq!((status, seen[0].text.len()), (200, 0));
    assert_eq!(seen[1].text.len(), 64 * 1024 * 1024);
}

#[tokio::test(start_paused = true)]
async fn an_empty_frame_is_no_reason_to_grow() {
    let frames = (0..10_000).map(|_| Ok(data(""))).chain([Ok(data("end"))]).collect();
    let body = unsync(Framed { frames, announced: None });
    let (seen, status, _) = send(body, usize::MAX, Some(3)).await;
    assert_eq!((status, &seen[1].text[..]), (200, &b"end"[..]));
    assert_eq!((seen[0].frames, seen[1].frames), (10_001, 1), "the record holds what counts");
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_the_same_request() {
    #[derive(Clone, Debug, PartialEq)]
    struct Trace(u32);

    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heads);
    let resource = service_fn(move |request: Request<Full<Bytes>>| {
        let (head, _) = request.into_parts();
        let first = authorization(&head.headers) == Some("Bearer t1");
        log.lock().unwrap().push(head);
        async move { io::Result::Ok(if first { invalid_token() } else { ok() }) }
    });
    let request = Request::put("https://a.example/b?c=d")
        .version(http::Version::HTTP_2)
        .header("x-one", "1")
        .header("x-one", "2")
        .header("idempotency-key", "7")
        .extension(Trace(7))
        .body(Full::new(Bytes::from("x")))
        .unwrap();
    let layer = RetryInvalidTokenLayer::new(Mint::new().cache());
    let answer: Response<Full<Bytes>> = layer.layer(resource).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let heads = heads.lock().unwrap();
    let (first, second) = (&heads[0], &heads[1]);
    assert_eq!((&first.method, &first.uri), (&second.method, &second.uri));
    assert_eq!(first.version, second.version);
    assert_eq!(second.extensions.get::<Trace>(), Some(&Trace(7)));
    assert_eq!(second.headers.get_all("authorization").iter().count(), 1);
    let without_token = |head: &http::request::Parts| {
        let mut headers = head.headers.clone();
        headers.remove("authorization");
        headers
    };
    assert_eq!(without_token(first), without_token(second));
}

/// Some bodies panic when they are asked again after their end: streams made by `unfold`, for one.
struct OnceOnly {
    frames: Frames,
    ended: bool,
}

impl Body for OnceOnly {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        assert!(!self.ended, "polled after its end");
        let frame = self.frames.pop_front();
        self.ended = frame.is_none();
        Poll::Ready(frame)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_polled_after_its_end() {
    let mint = Mint::new();
    let resource = service_fn(|request: Request<UnsyncBoxBody<Bytes, BoxError>>| async move {
        let is_first = authorization(request.headers()) == Some("Bearer t1");
        let body = request.into_body().collect().await?.to_bytes();
        assert_eq!(body, "ab");
        Ok::<_, BoxError>(if is_first { invalid_token() } else { ok() })
    });
    let service = RetryInvalidTokenLayer::new(mint.cache()).layer(resource);
    let frames = ["a", "b"].map(|data| Ok(Frame::data(Bytes::from(data)))).into();
    let body = OnceOnly { frames, ended: false }.map_err(Into::into).boxed_unsync();
    let answer = service.oneshot(Request::new(body)).await.unwrap();
    assert_eq!(answer.status(), 200);
}
