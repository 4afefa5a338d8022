//! Answers that outlive the token they were asked for with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{Authenticated, DoorBody, Rejection, RequireTokenLayer};
use tower_oauth_test::TokenSpec;

use crate::issued::*;
use crate::support::{grpc, with_token};

/// Says something every minute, for ever.
struct Ticker {
    tick: tokio::time::Interval,
    size: Option<u64>,
    dropped: Arc<AtomicBool>,
}

impl Body for Ticker {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.tick.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"tick")))))
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

/// What a stream came to.
#[derive(Debug, PartialEq)]
enum End {
    /// Nothing within a day.
    None,
    Error(Rejection),
    Trailers(HeaderMap),
}

/// Asks for a stream, and listens for a day: how many ticks came, how it ended, whether the producer was told.
async fn listen(
    door: &RequireTokenLayer,
    request: Request<()>,
    content_type: &'static str,
    size: Option<u64>,
) -> (usize, End, bool) {
    let dropped = Arc::new(AtomicBool::new(false));
    let producer = Arc::clone(&dropped);
    let service = door.layer(service_fn(move |_: Request<()>| {
        let tick = tokio::time::interval(Duration::from_secs(60));
        let body = Ticker { tick, size, dropped: Arc::clone(&producer) };
        let response = Response::builder().header("content-type", content_type).body(body);
        async { Ok::<_, Infallible>(response.unwrap()) }
    }));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body: DoorBody<Ticker> = response.into_body();
    let mut ticks = 0;
    let day = tokio::time::sleep(Duration::from_secs(24 * 3600));
    tokio::pin!(day);
    let end = loop {
        let frame = tokio::select! {
            frame = body.frame() => frame.unwrap(),
            () = &mut day => break End::None,
        };
        match frame.map(Frame::into_data) {
            Ok(Ok(_)) => ticks += 1,
            Ok(Err(frame)) => break End::Trailers(frame.into_trailers().unwrap()),
            Err(error) => break End::Error(error.downcast_ref::<Rejection>().unwrap().clone()),
        }
    };
    if end != End::None {
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
    (ticks, end, dropped.load(Ordering::SeqCst))
}

fn unauthenticated() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "16".parse().unwrap());
    trailers.insert("grpc-message", "the token has expired".parse().unwrap());
    trailers
}

#[tokio::test(start_paused = true)]
async fn h09_a_stream_ends_with_its_token_and_is_never_taken_for_a_whole_one() {
    let issued = Issued::new();
    let cutting = issued.door().cut_streams_at_expiry();
    let token = issued.token(TokenSpec::new());
    let error = || End::Error(Rejection::Invalid(InvalidToken::Expired));
    let long = Some(64 * 1024 + 1);
    // One tick at once and one a minute, until 30 s of leeway after the ten minutes.
    let cases = [
        ("text/event-stream", None, (11, error(), true)),
        ("application/octet-stream", long, (11, error(), true)),
        ("application/grpc", None, (11, End::Trailers(unauthenticated()), true)),
        ("application/grpc+proto", None, (11, End::Trailers(unauthenticated()), true)),
        ("application/grpc-web+proto", None, (11, error(), true)),
        ("application/grpc-web-text", None, (11, error(), true)),
        // An answer of a known, small size is no stream.
        ("application/json", Some(64 * 1024), (1440, End::None, false)),
    ];
    for (kind, size, expected) in cases {
        let mut request = with_token(&token);
        if kind.starts_with("application/grpc") {
            request = grpc(request);
        }
        let seen = listen(&cutting, request, kind, size).await;
        assert!(seen.0.abs_diff(expected.0) <= 1, "{kind}: {} ticks", seen.0);
        assert_eq!((seen.1, seen.2), (expected.1, expected.2), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn h09_by_default_an_answer_that_has_begun_is_let_run() {
    let issued = Issued::new();
    let request = with_token(&issued.token(TokenSpec::new()));
    let seen = listen(&issued.door(), request, "text/event-stream", None).await;
    assert!(matches!(seen, (1440 | 1441, End::None, false)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn h09_a_token_that_was_let_in_by_leeway_has_the_rest_of_it() {
    let issued = Issued::new();
    let token = issued.token(TokenSpec::new());
    issued.clock.advance(LIFE + LEEWAY - Duration::from_secs(5));
    let began = paused_now();
    let door = issued.door().cut_streams_at_expiry();
    let (ticks, end, _) = listen(&door, with_token(&token), "text/event-stream", None).await;
    assert_eq!((ticks, end), (1, End::Error(Rejection::Invalid(InvalidToken::Expired))));
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn h09_a_clock_that_is_past_the_end_cuts_even_if_the_timer_is_late() {
    let issued = Issued::new();
    let clock = issued.clock.clone();
    let door = issued.door().cut_streams_at_expiry();
    let service = door.layer(service_fn(|_: Request<()>| async {
        let tick = tokio::time::interval(Duration::from_secs(60));
        let body = Ticker { tick, size: None, dropped: Arc::default() };
        Ok::<_, Infallible>(Response::new(body))
    }));
    let response = service.oneshot(with_token(&issued.token(TokenSpec::new()))).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    // The machine slept, or its clock was set.
    clock.step_wall(3600);
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn h09_a_handler_can_wait_for_the_end_of_the_token_by_itself() {
    let issued = Issued::new();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = issued.door().layer(service_fn(move |request: Request<()>| {
        let caller = Authenticated::<Roles>::from_extensions(request.extensions()).unwrap();
        *keep.lock().unwrap() = Some(caller);
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    }));
    service.oneshot(with_token(&issued.token(TokenSpec::new()))).await.unwrap();
    let caller = kept.lock().unwrap().take().unwrap();
    let clock = Arc::new(issued.clock.clone());
    let began = paused_now();
    caller.until_expiry().with_clock(clock.clone()).await;
    assert_eq!(began.elapsed().as_secs(), (LIFE + LEEWAY).as_secs());
    // It has ended, and stays so.
    issued.clock.advance(LIFE + LEEWAY);
    let began = paused_now();
    caller.until_expiry().with_clock(clock).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Tokio's paused time, which only a test moves: no clock.
#[allow(clippy::disallowed_methods)]
fn paused_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
