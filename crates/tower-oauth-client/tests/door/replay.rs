//! R05: the moment of the refusal, with bodies that are still on their way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth_client::{Need, RetryInvalidTokenLayer, TokenSource};

use crate::bodies::unsync;
use crate::rig::{Mint, authorization, invalid_token, ms, ok, sleep_ms};

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is written while it is sent.
struct Feed(UnboundedReceiver<io::Result<Bytes>>);

impl Body for Feed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|item| item.map(|data| data.map(Frame::data)))
    }
}

fn feed() -> (UnboundedSender<io::Result<Bytes>>, AnyBody) {
    let (sender, receiver) = unbounded_channel();
    (sender, unsync(Feed(receiver)))
}

async fn text(body: &mut AnyBody) -> Result<String, BoxError> {
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().map_err(|_| "trailers")?;
        text.push_str(std::str::from_utf8(&data)?);
    }
    Ok(text)
}

fn post(body: AnyBody) -> Request<AnyBody> {
    Request::post("https://a.example/").body(body).unwrap()
}

fn is_first(request: &Request<AnyBody>) -> bool {
    authorization(request.headers()) == Some("Bearer t1")
}

#[tokio::test(start_paused = true)]
async fn r05_half_sent_is_replayed_and_goes_on_with_the_unsent_rest() {
    let (sender, body) = feed();
    let resource = service_fn(|request: Request<AnyBody>| async move {
        let first = is_first(&request);
        let mut body = request.into_body();
        if first {
            body.frame().await.unwrap().unwrap();
            return Ok(invalid_token());
        }
        assert_eq!(text(&mut body).await.unwrap(), "one two three");
        io::Result::Ok(ok())
    });
    let mint = Mint::new().takes(ms(50));
    let layer = RetryInvalidTokenLayer::new(mint.cache());
    let call = tokio::spawn(layer.layer(resource).oneshot(post(body)));
    sender.send(Ok("one ".into())).unwrap();
    sleep_ms(60).await;
    // Written while the token is renewed, and after it.
    sender.send(Ok("two ".into())).unwrap();
    sleep_ms(100).await;
    sender.send(Ok("three".into())).unwrap();
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn r05_the_superseded_body_fails_and_never_looks_whole() {
    let (sender, body) = feed();
    let superseded = Arc::new(Mutex::new(None));
    let told = Arc::clone(&superseded);
    let resource = service_fn(move |request: Request<AnyBody>| {
        let told = Arc::clone(&told);
        async move {
            let first = is_first(&request);
            let mut body = request.into_body();
            if first {
                // A transport goes on sending after the answer's head has come.
                tokio::spawn(async move {
                    let error = text(&mut body).await.unwrap_err().to_string();
                    let again = body.frame().await.is_some_and(|frame| frame.is_err());
                    *told.lock().unwrap() = Some((error, again, body.is_end_stream()));
                });
                sleep_ms(10).await;
                return Ok(invalid_token());
            }
            assert_eq!(text(&mut body).await.unwrap(), "one two");
            io::Result::Ok(ok())
        }
    });
    let service = RetryInvalidTokenLayer::new(Mint::new().cache()).layer(resource);
    let call = tokio::spawn(service.oneshot(post(body)));
    sender.send(Ok("one ".into())).unwrap();
    sleep_ms(20).await;
    // The first body sleeps on the source; it was woken to learn that it is over.
    let told = superseded.lock().unwrap().take();
    assert_eq!(told, Some(("the request is being sent again".to_owned(), true, false)));
    sender.send(Ok("two".into())).unwrap();
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn r05_what_outgrows_the_cap_while_the_token_is_renewed_is_not_replayed() {
    let (sender, body) = feed();
    let resource = service_fn(|request: Request<AnyBody>| {
        assert!(is_first(&request), "replayed, although a part is missing");
        tokio::spawn(async move { text(&mut request.into_body()).await });
        async { io::Result::Ok(invalid_token()) }
    });
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    let layer = RetryInvalidTokenLayer::new(tokens.clone()).with_max_recorded(4);
    let call = tokio::spawn(layer.layer(resource).oneshot(post(body)));
    sender.send(Ok("1234".into())).unwrap();
    sleep_ms(10).await;
    sender.send(Ok("5".into())).unwrap();
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), 401);
    let content = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "the first answer");
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn elsewhere_i_r05_what_cannot_be_replayed_is_answered_at_once_and_the_next_call_has_the_new_token()
 {
    let resource = service_fn(|request: Request<AnyBody>| async move {
        let first = is_first(&request);
        text(&mut request.into_body()).await.unwrap();
        io::Result::Ok(if first { invalid_token() } else { ok() })
    });
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    let layer = RetryInvalidTokenLayer::new(tokens.clone()).with_max_recorded(4);
    let service = layer.layer(resource);
    let long = || {
        let (sender, body) = feed();
        sender.send(Ok("12345".into())).unwrap();
        post(body)
    };
    let answer = tokio::time::timeout(ms(1), service.clone().oneshot(long()));
    let answer = answer.await.expect("it waits for the exchange").unwrap();
    assert_eq!(answer.status(), 401);
    let content = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "the first answer");
    sleep_ms(51).await;
    assert_eq!(service.oneshot(long()).await.unwrap().status(), 200);
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn r05_a_body_that_breaks_is_not_replayed() {
    let (sender, body) = feed();
    sender.send(Ok("one".into())).unwrap();
    sender.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
    let resource = service_fn(|request: Request<AnyBody>| async move {
        assert!(is_first(&request), "replayed");
        let error = text(&mut request.into_body()).await.unwrap_err();
        assert_eq!(error.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
        io::Result::Ok(invalid_token())
    });
    let layer = RetryInvalidTokenLayer::new(Mint::new().cache());
    assert_eq!(layer.layer(resource).oneshot(post(body)).await.unwrap().status(), 401);
}

#[tokio::test(start_paused = true)]
async fn r05_a_rest_that_breaks_breaks_the_replay() {
    let (sender, body) = feed();
    sender.send(Ok("one".into())).unwrap();
    sender.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
    let resource = service_fn(|request: Request<AnyBody>| async move {
        let first = is_first(&request);
        let mut body = request.into_body();
        if first {
            body.frame().await.unwrap().unwrap();
            return Ok(invalid_token());
        }
        text(&mut body).await.map(|_| ok())
    });
    let layer = RetryInvalidTokenLayer::new(Mint::new().cache());
    layer.layer(resource).oneshot(post(body)).await.unwrap_err();
}

/// A body that nobody can record, and that is not even `Send`.
struct Opaque(std::rc::Rc<u32>);

#[tokio::test(start_paused = true)]
async fn without_replay_takes_any_body_and_replaces_the_token_for_the_next_call() {
    let resource = service_fn(|request: Request<Opaque>| async move {
        assert_eq!(*request.body().0, 7);
        let first = authorization(request.headers()) == Some("Bearer t1");
        io::Result::Ok(if first { invalid_token() } else { ok() })
    });
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    let service = RetryInvalidTokenLayer::new(tokens).without_replay().layer(resource);
    let opaque = || Request::new(Opaque(7.into()));
    let answer = tokio::time::timeout(ms(1), service.clone().oneshot(opaque()));
    assert_eq!(answer.await.expect("it waits").unwrap().status(), 401);
    sleep_ms(51).await;
    assert_eq!(service.oneshot(opaque()).await.unwrap().status(), 200);
    assert_eq!(mint.exchanges(), 2);
}
