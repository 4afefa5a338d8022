//! What holds for every call to an authorization server: one deadline, one cap, no redirects, no
//! secrets in the clear.

// What clippy allows in tests it takes for production code in their helpers. Paused time is tokio's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::error::Error as _;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::{Service, ServiceExt, service_fn};
use tower_oauth_core::codec::Codec;
use tower_oauth_core::{Error, ErrorKind};
use tower_oauth_endpoint::Endpoint;

/// A codec that was written elsewhere: it checks nothing.
#[derive(Clone)]
struct Plain;

impl Codec for Plain {
    type Request = &'static str;
    type Response = (StatusCode, Bytes);
    const MAX_BODY: usize = 1000;

    fn encode(&self, uri: &&'static str) -> Result<Request<Bytes>, Error> {
        let request = Request::builder().uri(*uri).body(Bytes::from_static(b"ask"));
        request.map_err(|_| ErrorKind::Configuration("not a URI").into())
    }

    fn decode(&self, _: &&'static str, answer: Response<Bytes>) -> Result<Self::Response, Error> {
        Ok((answer.status(), answer.into_body()))
    }
}

const HERE: &str = "https://idp.example/x";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A body that comes in pieces and announces what it likes.
struct Pieces<I> {
    pieces: I,
    announced: Option<u64>,
}

impl<I> Pieces<I> {
    fn unannounced(pieces: I) -> Self {
        Self { pieces, announced: None }
    }
}

impl<I: Iterator<Item = io::Result<Bytes>> + Unpin> Body for Pieces<I> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.pieces.next().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Asks a service whose every answer has this body.
async fn read<B>(body: impl Fn() -> B + Clone + Send + 'static) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    let http =
        service_fn(move |_: Request<Full<Bytes>>| ready(io::Result::Ok(Response::new(body()))));
    Endpoint::new(Plain, http).oneshot(HERE).await.map(|(_, body)| body)
}

// === T01: trouble on the way ===

/// A body that comes late, whole.
struct Late(Pin<Box<tokio::time::Sleep>>, bool);

impl Body for Late {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        std::task::ready!(self.0.as_mut().poll(cx));
        let first = !std::mem::replace(&mut self.1, true);
        Poll::Ready(first.then(|| Ok(Frame::data(Bytes::from_static(b"late")))))
    }
}

#[tokio::test(start_paused = true)]
async fn t01_one_deadline_covers_the_head_and_the_body() {
    let never = seconds(1_000_000);
    let cases = [
        // (deadline, until the head comes, until the body comes, in time?)
        (None, never, never, false),
        (None, seconds(0), never, false),
        (None, seconds(3), seconds(3), false),
        (None, seconds(2), seconds(2), true),
        (Some(seconds(1)), seconds(2), seconds(0), false),
        (Some(seconds(60)), seconds(29), seconds(30), true),
    ];
    for (deadline, head, body, in_time) in cases {
        let http = service_fn(move |_: Request<Full<Bytes>>| async move {
            tokio::time::sleep(head).await;
            io::Result::Ok(Response::new(Late(Box::pin(tokio::time::sleep(body)), false)))
        });
        let mut endpoint = Endpoint::new(Plain, http);
        if let Some(deadline) = deadline {
            endpoint = endpoint.with_deadline(deadline);
        }
        let started = tokio::time::Instant::now();
        let answer = endpoint.oneshot(HERE).await;
        let took = started.elapsed();
        let case = format!("{deadline:?}, head {head:?}, body {body:?}: {took:?}");
        if in_time {
            assert_eq!(answer.unwrap().1, "late", "{case}");
        } else {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout, "{case}");
            let deadline = deadline.unwrap_or(seconds(5));
            assert!(took >= deadline && took < deadline + seconds(1), "{case}");
        }
    }
}

#[tokio::test]
async fn t01_what_breaks_is_a_transport_error_and_its_cause_is_the_source() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Breaks {
        Readiness,
        Call,
        Body,
    }

    #[derive(Clone)]
    struct Broken(Breaks);

    fn reset() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer")
    }

    type Cut = Pieces<std::vec::IntoIter<io::Result<Bytes>>>;

    impl Service<Request<Full<Bytes>>> for Broken {
        type Response = Response<Cut>;
        type Error = io::Error;
        type Future = Ready<io::Result<Response<Cut>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(if self.0 == Breaks::Readiness { Err(reset()) } else { Ok(()) })
        }

        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            ready(if self.0 == Breaks::Call {
                Err(reset())
            } else {
                let pieces = vec![Ok(Bytes::from_static(b"{\"ac")), Err(reset())];
                Ok(Response::new(Pieces::unannounced(pieces.into_iter())))
            })
        }
    }

    for breaks in [Breaks::Readiness, Breaks::Call, Breaks::Body] {
        let error = Endpoint::new(Plain, Broken(breaks)).oneshot(HERE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{breaks:?}");
        assert!(error.is_transient(), "{breaks:?}");
        assert_eq!(error.to_string(), "connection failed", "{breaks:?}");
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionReset, "{breaks:?}");
    }
}

// === T04: too much ===

#[tokio::test]
async fn t04_the_body_is_counted_while_it_arrives() {
    let many = |count: usize, len: usize| {
        let piece = Bytes::from(vec![b'x'; len]);
        move || Pieces::unannounced(std::iter::repeat_n(piece.clone(), count).map(Ok))
    };
    let cases = [
        // (pieces, of this many bytes, fits into the 1000)
        (0, 0, true),
        (1, 1000, true),
        (1000, 1, true),
        (3, 333, true),
        (1, 1001, false),
        (1001, 1, false),
        (2, 999, false),
        (10 * 1024, 1024, false),
        (usize::MAX, 1, false),
    ];
    for (count, len, fits) in cases {
        let answer = read(many(count, len)).await;
        match answer {
            Ok(body) => assert!(fits && body.len() == count * len, "{count} * {len}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{count} * {len}");
                assert!(!fits, "{count} * {len}");
            }
        }
    }
}

#[tokio::test]
async fn t04_a_length_that_is_announced_is_refused_before_a_byte_is_read() {
    let polled = Arc::new(AtomicUsize::new(0));
    for (announced, fits) in [(1000, true), (1001, false), (10_000_000, false), (u64::MAX, false)] {
        polled.store(0, SeqCst);
        let counter = Arc::clone(&polled);
        let answer = read(move || {
            let counter = Arc::clone(&counter);
            let pieces = std::iter::from_fn(move || {
                counter.fetch_add(1, SeqCst);
                None
            });
            Pieces { pieces, announced: Some(announced) }
        })
        .await;
        assert_eq!(answer.is_ok(), fits, "{announced}");
        assert_eq!(polled.load(SeqCst) > 0, fits, "{announced}");
    }
}

// === T12: elsewhere ===

#[tokio::test]
async fn t12_a_redirect_is_an_error_and_nothing_is_sent_to_the_second_address() {
    for status in [300, 301, 302, 303, 307, 308] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            counter.fetch_add(1, SeqCst);
            let answer =
                Response::builder().status(status).header(LOCATION, "https://evil.example/");
            ready(io::Result::Ok(answer.body(Full::new(Bytes::new())).unwrap()))
        });
        let error = Endpoint::new(Plain, http).oneshot(HERE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{status}");
        assert!(!error.is_transient(), "{status}: asking again would lead there again");
        assert_eq!(calls.load(SeqCst), 1, "{status}");
    }
}

#[tokio::test]
async fn what_is_no_redirect_reaches_the_codec() {
    for status in [200, 204, 304, 400, 401, 404, 429, 500, 503] {
        let http = service_fn(move |_: Request<Full<Bytes>>| {
            let answer = Response::builder().status(status).body(Full::new(Bytes::from("said")));
            ready(io::Result::Ok(answer.unwrap()))
        });
        let answer = Endpoint::new(Plain, http).oneshot(HERE).await.unwrap();
        assert_eq!((answer.0.as_u16(), answer.1), (status, Bytes::from("said")));
    }
}

// === in the clear ===

#[tokio::test]
async fn no_codec_can_send_a_secret_in_the_clear() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let http = service_fn(move |_: Request<Full<Bytes>>| {
        counter.fetch_add(1, SeqCst);
        ready(io::Result::Ok(Response::new(Full::new(Bytes::new()))))
    });
    let endpoint = Endpoint::new(Plain, http);
    let cases = [
        ("https://idp.example/x", true),
        ("https://idp.example/x?tenant=a&token_type=b", true),
        ("http://127.0.0.1:1/x", true),
        ("http://[::1]:1/x", true),
        ("http://localhost/x", true),
        ("http://idp.example/x", false),
        ("http://10.0.0.1/x", false),
        ("ftp://idp.example/x", false),
        ("/x", false),
        ("idp.example:443", false),
        ("https://CANARY@idp.example/x", false),
        ("https://idp.example/x?access_token=CANARY", false),
        ("https://idp.example/x?tenant=a&client_secret=CANARY", false),
        ("https://idp.example/x?client_assertion=CANARY", false),
        ("https://idp.example/x?refresh_token=CANARY", false),
        ("https://idp.example/x?token=CANARY", false),
        ("https://idp.example/x?Client_Secret=CANARY", false),
        ("https://idp.example/x?client%5Fsecret=CANARY", false),
        ("http://idp.example/x?client_secret=CANARY", false),
    ];
    for (uri, good) in cases {
        let before = calls.load(SeqCst);
        let answer = endpoint.clone().oneshot(uri).await;
        assert_eq!(calls.load(SeqCst) - before, usize::from(good), "{uri}");
        let Err(error) = answer else {
            assert!(good, "{uri}");
            continue;
        };
        assert!(!good && matches!(error.kind(), ErrorKind::Configuration(_)), "{uri}: {error}");
        let chain = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
        assert!(!chain.contains("CANARY"), "an error must not show a secret: {chain}");
    }
}

// === Tower's contract ===

/// Panics unless this very clone was polled ready, once for each call.
#[derive(Default)]
struct Strict {
    ready: bool,
    polls: u32,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<Full<Bytes>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.polls = 0;
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"ok")))))
    }
}

#[tokio::test]
async fn the_instance_that_is_ready_is_the_one_that_is_called() {
    let mut endpoint = Endpoint::new(Plain, Strict::default());
    for _ in 0..3 {
        assert_eq!(endpoint.ready().await.unwrap().call(HERE).await.unwrap().1, "ok");
    }
    // The call future owns its service: the endpoint may be used again before it runs.
    let first = endpoint.ready().await.unwrap().call(HERE);
    let second = endpoint.ready().await.unwrap().call(HERE);
    assert_eq!((first.await.unwrap().1, second.await.unwrap().1), ("ok".into(), "ok".into()));
}

#[tokio::test]
async fn a_clone_does_not_inherit_readiness() {
    let mut endpoint = Endpoint::new(Plain, Strict::default());
    endpoint.ready().await.unwrap();
    let mut clone = endpoint.clone();
    assert_eq!(clone.ready().await.unwrap().call(HERE).await.unwrap().1, "ok");
    assert_eq!(endpoint.call(HERE).await.unwrap().1, "ok");
}
