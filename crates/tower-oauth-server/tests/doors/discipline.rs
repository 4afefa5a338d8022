//! What Tower asks of a service: readiness, clones, constructors, futures.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth_server::{
    Authenticated, RequireAuthenticationLayer, RequireClaimsLayer, RequireScopeLayer, RequireToken,
    RequireTokenLayer, ResourceMetadata,
};

use crate::support::*;

/// Panics unless it is made ready before each call, and counts the places that are taken in it.
struct Strict {
    ready: bool,
    taken: Arc<AtomicUsize>,
}

impl Strict {
    fn new() -> Self {
        Self { ready: false, taken: Arc::default() }
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.ready) {
            self.taken.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, taken: Arc::clone(&self.taken) }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !std::mem::replace(&mut self.ready, true) {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(self.ready, "called without being ready");
        self.give_back();
        ready(Ok(Response::new(Full::default())))
    }
}

/// Fails for good, or is not ready yet.
#[derive(Clone)]
struct Readiness(Poll<Result<(), &'static str>>);

impl<B> Service<Request<B>> for Readiness {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = Ready<Result<Self::Response, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.0
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Err("the call failed"))
    }
}

#[tokio::test]
async fn the_inner_service_is_ready_at_each_call() {
    let mut token = RequireToken::new(Strict::new(), Table::default());
    for request in [
        with_token(ALICE),
        with_token(EXPIRED),
        with_token(CAROL),
        with_token(EXPIRED_LATER),
        with_token(BOB),
    ] {
        token.ready().await.unwrap().call(request).await.unwrap();
    }
    let mut both = table().layer(RequireScopeLayer::all(["stock.read"]).layer(Strict::new()));
    for request in
        [with_token(ALICE), with_token(BOB), with_token(CAROL), with_token(CAROL), with_token(BOB)]
    {
        both.ready().await.unwrap().call(request).await.unwrap();
    }
}

/// Lets in Alice and nobody else.
fn alice_only() -> RequireClaimsLayer {
    RequireClaimsLayer::new(|caller: &Authenticated<Claims>| caller.subject() == Some(ALICE))
}

fn metadata() -> ResourceMetadata {
    ResourceMetadata::builder("https://api.example").build().unwrap()
}

#[tokio::test]
async fn rules_and_metadata_call_a_ready_service_give_places_back_and_can_be_cloned() {
    let strict = Strict::new();
    let taken = Arc::clone(&strict.taken);
    let service = metadata().layer(table().layer(alice_only().layer(strict)));
    let mut clone = service.clone();
    drop(service);
    for (request, status) in [
        (with_token(ALICE), 200),
        (with_token(BOB), 403),
        (with_token(CAROL), 403),
        (get(metadata().path(), &[]), 200),
        (with_token(ALICE), 200),
    ] {
        let call = clone.ready().await.unwrap().call(request);
        assert_eq!(call.await.unwrap().status(), status);
        assert_eq!(taken.load(Ordering::SeqCst), 0);
    }
    let old = RequireAuthenticationLayer::within(std::time::Duration::ZERO).layer(Strict::new());
    let mut stepped = table().layer(old).clone();
    for _ in 0..2 {
        let call = stepped.ready().await.unwrap().call(with_token(ALICE));
        assert_eq!(call.await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn calls_that_overlap_do_not_share_a_readiness() {
    let mut service = table().layer(Strict::new());
    let first = service.ready().await.unwrap().call(with_token(CAROL));
    let second = service.ready().await.unwrap().call(with_token(CAROL));
    let third = service.ready().await.unwrap().call(with_token(ALICE));
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!(
        (
            first.unwrap().status().as_u16(),
            second.unwrap().status().as_u16(),
            third.unwrap().status().as_u16()
        ),
        (200, 200, 200)
    );
}

#[tokio::test]
async fn a_refused_request_gives_its_place_back() {
    let strict = Strict::new();
    let taken = Arc::clone(&strict.taken);
    let mut service = table().layer(RequireScopeLayer::all(["stock.read"]).layer(strict));
    for request in [get("/", &[]), with_token(EXPIRED), with_token(EXPIRED_LATER), with_token(BOB)]
    {
        let call = service.ready().await.unwrap().call(request);
        assert!(!call.await.unwrap().status().is_success());
        assert_eq!(taken.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_call_that_waits_has_no_place_and_leaves_none_behind_when_it_is_dropped() {
    let strict = Strict::new();
    let taken = Arc::clone(&strict.taken);
    let mut service = table().layer(strict);
    let mut call = by_hand(service.ready().await.unwrap().call(with_token(CAROL)));
    assert_eq!(taken.load(Ordering::SeqCst), 0);
    assert!(call.poll_once().is_pending());
    assert_eq!(taken.load(Ordering::SeqCst), 0);
    drop(call);
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn poll_ready_forwards() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    for state in [Poll::Pending, Poll::Ready(Ok(())), Poll::Ready(Err("gone"))] {
        let mut token = table().layer(Readiness(state));
        assert_eq!(Service::<Request<()>>::poll_ready(&mut token, &mut cx), state);
        let mut scope = RequireScopeLayer::all(["a"]).layer(Readiness(state));
        assert_eq!(Service::<Request<()>>::poll_ready(&mut scope, &mut cx), state);
        let mut rule = alice_only().layer(Readiness(state));
        assert_eq!(Service::<Request<()>>::poll_ready(&mut rule, &mut cx), state);
        let mut metadata = metadata().layer(Readiness(state));
        assert_eq!(Service::<Request<()>>::poll_ready(&mut metadata, &mut cx), state);
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_stays_what_it_is() {
    let service =
        table().layer(RequireScopeLayer::all(["stock.read"]).layer(Readiness(Poll::Ready(Ok(())))));
    for token in [ALICE, CAROL] {
        let error: &'static str = service.clone().oneshot(with_token(token)).await.unwrap_err();
        assert_eq!(error, "the call failed");
    }
    assert_eq!(service.oneshot(with_token(EXPIRED)).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_clone_is_a_door_too() {
    let service = table().layer(Strict::new());
    let mut clone = service.clone();
    drop(service);
    assert_eq!(clone.ready().await.unwrap().call(with_token(ALICE)).await.unwrap().status(), 200);
    let mut clone = clone.clone();
    assert_eq!(clone.ready().await.unwrap().call(with_token(EXPIRED)).await.unwrap().status(), 401);
}

#[tokio::test]
async fn each_constructor_makes_a_door() {
    let shared = Arc::new(Table::default());
    let doors = [
        RequireTokenLayer::new(Table::default()).layer(Strict::new()),
        RequireTokenLayer::new(Arc::clone(&shared)).layer(Strict::new()),
        RequireTokenLayer::new(Arc::clone(&shared)).clone().layer(Strict::new()),
        RequireToken::new(Strict::new(), Arc::clone(&shared)),
    ];
    for door in doors {
        assert_eq!(door.clone().oneshot(with_token(ALICE)).await.unwrap().status(), 200);
        assert_eq!(door.oneshot(with_token(EXPIRED)).await.unwrap().status(), 401);
    }
    assert_eq!(shared.asked(), 6);
}

#[tokio::test]
async fn the_inner_service_can_be_reached() {
    let mut token = RequireToken::new(3, Table::default());
    *token.get_mut() += 1;
    assert_eq!((*token.get_ref(), token.into_inner()), (4, 4));
    let mut scope = RequireScopeLayer::all(["a"]).layer(3);
    *scope.get_mut() += 1;
    assert_eq!((*scope.get_ref(), scope.into_inner()), (4, 4));
    let mut rule = alice_only().layer(3);
    *rule.get_mut() += 1;
    assert_eq!((*rule.get_ref(), rule.into_inner()), (4, 4));
    let mut metadata = metadata().layer(3);
    *metadata.get_mut() += 1;
    assert_eq!((*metadata.get_ref(), metadata.into_inner()), (4, 4));
}

#[tokio::test]
async fn any_request_body_will_do() {
    struct NotEvenABody;
    let service = table().layer(service_fn(greet));
    for token in [ALICE, CAROL] {
        let request = with_token(token).map(|()| NotEvenABody);
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
    }
}

#[test]
fn the_services_and_their_futures_can_be_sent_and_the_services_shared() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    fn shared<T: Clone + Send + Sync + 'static>(value: T) -> T {
        value
    }
    let mut service = shared(table().layer(RequireScopeLayer::all(["a"]).layer(Strict::new())));
    drop(send(service.call(get("/", &[]))));
    let cutting = table().cut_streams_at_expiry();
    let mut rules = shared(metadata().layer(cutting.layer(alice_only().layer(Strict::new()))));
    drop(send(rules.call(get("/", &[]))));
}

/// A future that is polled by hand.
struct ByHand<F>(std::pin::Pin<Box<F>>);

fn by_hand<F: Future>(future: F) -> ByHand<F> {
    ByHand(Box::pin(future))
}

impl<F: Future> ByHand<F> {
    fn poll_once(&mut self) -> Poll<F::Output> {
        self.0.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
