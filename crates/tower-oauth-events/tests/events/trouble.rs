//! When keys cannot be had, or more comes than can be served.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use serde_json::json;
use tower_oauth_core::{Clock as _, Secret};
use tower_oauth_events::Webhook;
use tower_oauth_test::{Endpoint, Fault, Rotation};

use crate::house::{FORM, House, SET, form, logout_token, post, send};

/// A body of which nothing ever comes.
pub(crate) struct Stuck;

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

/// A body without an end, which counts what was taken of it.
struct Endless(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.fetch_add(1024, std::sync::atomic::Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'a'; 1024])))))
    }
}

#[tokio::test]
async fn e09_without_keys_it_is_503_and_the_provider_comes_again() {
    let house = House::new();
    let logout = house.logout();
    let token = house.token("alice", "s-1");
    assert!(house.accepts(&token).await);
    house.issuer.go_dark();
    let told = form(&logout_token(&house, json!({ "sid": "s-1" })));
    let answer = post(&logout, FORM, told.clone()).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    let after: u64 = answer.retry_after.unwrap().parse().unwrap();
    assert!((1..=300).contains(&after));
    assert!(house.accepts(&token).await);
    house.issuer.light_up().unwrap();
    house.pass(after);
    assert_eq!(post(&logout, FORM, told).await.status, 200);
    assert!(!house.accepts(&token).await);
    assert_eq!(house.heard.count(), 1);
}

#[tokio::test]
async fn a_logout_token_of_a_new_key_is_looked_up_and_if_that_fails_not_refused() {
    let house = House::new();
    let logout = house.logout();
    logout.jwks().warm().await.unwrap();
    house.issuer.rotate(Rotation::Replace);
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500)).times(1);
    let told = form(&logout_token(&house, json!({})));
    let answer = post(&logout, FORM, told.clone()).await;
    assert_eq!((answer.status, house.heard.count()), (503, 0));
    house.pass(answer.retry_after.unwrap().parse().unwrap());
    assert_eq!(post(&logout, FORM, told).await.status, 200);
    assert_eq!(house.heard.count(), 1);
}

#[tokio::test]
async fn e08_forged_tokens_cost_the_provider_a_few_fetches_and_its_real_ones_nothing() {
    let house = House::new();
    let logout = house.logout();
    logout.jwks().warm().await.unwrap();
    house.issuer.reset_calls();
    for n in 0..500 {
        let spec = crate::house::logout_spec(&house, json!({})).header("kid", format!("k{n}"));
        assert_eq!(post(&logout, FORM, form(&house.issuer.mint(spec))).await.status, 400);
    }
    assert!(house.issuer.calls(Endpoint::Jwks) <= 6);
    assert_eq!(post(&logout, FORM, form(&logout_token(&house, json!({})))).await.status, 200);
    assert_eq!(house.heard.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn e08_a_body_that_does_not_come_holds_its_place_for_five_seconds() {
    let house = House::new();
    let logout = house.logout_builder().max_concurrency(1).build().unwrap();
    let told = form(&logout_token(&house, json!({})));
    let mut stuck = {
        let logout = logout.clone();
        tokio::spawn(async move { post(&logout, FORM, Body::new(Stuck)).await })
    };
    tokio::task::yield_now().await;
    let answer = post(&logout, FORM, told.clone()).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")));
    let just_before = Duration::from_millis(4_999);
    assert!(tokio::time::timeout(just_before, &mut stuck).await.is_err(), "it had time left");
    let just_after = Duration::from_millis(2);
    assert_eq!(tokio::time::timeout(just_after, stuck).await.unwrap().unwrap().status, 400);
    assert_eq!(post(&logout, FORM, told).await.status, 200);
}

#[tokio::test]
async fn e08_no_more_is_read_than_a_logout_token_can_have() {
    let house = House::new();
    let taken = std::sync::Arc::default();
    let body = Body::new(Endless(std::sync::Arc::clone(&taken)));
    let answer = post(&house.logout(), FORM, body).await;
    assert_eq!(answer.member("error_description"), "the body is too large");
    let taken = taken.load(std::sync::atomic::Ordering::SeqCst);
    assert!(taken <= 18 * 1024, "{taken}");
    let answer = post(&house.logout(), FORM, vec![b'a'; 10_000_000]).await;
    assert_eq!((answer.status, house.heard.count()), (400, 0));
}

/// While two senders hold the two places, a thousand more come.
#[allow(clippy::disallowed_methods)] // Tokio's time, which is paused.
async fn flood<S>(name: &str, service: S, content_type: &'static str)
where
    S: tower::Service<
            http::Request<Body>,
            Response = http::Response<http_body_util::Full<Bytes>>,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let taken = std::sync::Arc::default();
    // A webhook says who it is before its body is read; the others ignore that.
    let request = |body| {
        http::Request::post("/events")
            .header("content-type", content_type)
            .header("webhook-id", "m")
            .header("webhook-timestamp", tower_oauth_test::ManualClock::new().unix_seconds())
            .header("webhook-signature", "v1,x")
            .body(body)
            .unwrap()
    };
    let stuck: Vec<_> = (0..2)
        .map(|_| {
            let (service, request) = (service.clone(), request(Body::new(Stuck)));
            tokio::spawn(async move { send(&service, request).await.status })
        })
        .collect();
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();
    for _ in 0..1_000 {
        let endless = Endless(std::sync::Arc::clone(&taken));
        let answer = send(&service, request(Body::new(endless))).await;
        assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")), "{name}");
    }
    assert_eq!(taken.load(std::sync::atomic::Ordering::SeqCst), 0, "{name}: not a byte is read");
    assert_eq!(began.elapsed(), Duration::ZERO, "{name}: nobody waits");
    for stuck in stuck {
        assert_eq!(stuck.await.unwrap(), 400, "{name}");
    }
    let endless = Endless(std::sync::Arc::clone(&taken));
    let answer = send(&service, request(Body::new(endless))).await;
    assert!([400, 413].contains(&answer.status), "{name}: there is room again: {answer:?}");
    let taken = taken.load(std::sync::atomic::Ordering::SeqCst);
    assert!((1..=66 * 1024).contains(&taken), "{name}: {taken}");
}

#[tokio::test(start_paused = true)]
async fn e08_a_flood_gets_503_at_once_and_costs_no_memory_at_any_receiver() {
    let house = House::new();
    flood("logout", house.logout_builder().max_concurrency(2).build().unwrap(), FORM).await;
    flood("push", house.push_builder().max_concurrency(2).build().unwrap(), SET).await;
    let webhook = Webhook::issuer(house.issuer.issuer())
        .secret(Secret::new("a-secret-of-24-bytes-or-more"))
        .sink(house.heard.clone())
        .clock(house.clock.clone())
        .max_concurrency(2)
        .build()
        .unwrap();
    flood("webhook", webhook, "application/json").await;
    assert_eq!(house.heard.count(), 0);
}

#[tokio::test]
async fn l01_nothing_of_a_token_is_in_an_answer_or_a_debug() {
    let house = House::new();
    let logout = house.logout();
    let told = logout_token(
        &house,
        json!({ "sub": "canary-sub", "sid": "canary-sid", "nonce": "canary" }),
    );
    let answer = post(&logout, FORM, form(&told)).await;
    let shown = format!("{answer:?} {logout:?} {:?}", house.logout_builder());
    assert!(!shown.contains("canary") && !shown.contains(&told[..20]), "{shown}");
}
