//! Both layers: constructors, Tower's contract, whose header wins.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth_client::{
    BareUnauthorized, ClientError, Error, ErrorKind, InjectToken, InjectTokenLayer, Need,
    RejectionPolicy, RetryInvalidToken, RetryInvalidTokenLayer, StandardPolicy, Token, TokenSource,
};

use crate::rig::{Mint, Strict, invalid_token, ms, readied, request};

fn fixed() -> Token {
    Token::bearer("fixed").unwrap()
}

/// Calls each service that a constructor makes; it has to stamp.
macro_rules! stamps {
    ($($service:expr),+ $(,)?) => {$({
        let service = $service;
        let strict: &Strict = service.get_ref();
        let strict = strict.clone();
        assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
        assert_eq!(strict.seen(), ["Bearer fixed"], stringify!($service));
    })+};
}

#[tokio::test]
async fn every_constructor_makes_a_layer_that_stamps() {
    let strict = || Strict::that_likes(|token| token == "Bearer fixed");
    let shared: Arc<dyn TokenSource> = Arc::new(fixed());
    let retry = || RetryInvalidTokenLayer::new(fixed());
    stamps![
        InjectTokenLayer::new(fixed()).layer(strict()),
        InjectTokenLayer::new(Arc::clone(&shared)).clone().layer(strict()),
        InjectToken::new(strict(), fixed()),
        ServiceBuilder::new().layer(InjectTokenLayer::new(fixed())).service(strict()),
        retry().layer(strict()),
        RetryInvalidTokenLayer::new(shared).clone().layer(strict()),
        RetryInvalidToken::new(strict(), fixed()),
        retry().with_max_recorded(0).layer(strict()),
        retry().with_policy(StandardPolicy.or(BareUnauthorized)).layer(strict()),
        retry().without_replay().layer(strict()),
        retry().reading_bodies().layer(strict()),
        retry().without_replay().reading_bodies().with_policy(StandardPolicy).layer(strict()),
        retry().with_origins(["https://inventory.example"]).unwrap().layer(strict()),
        retry().insecure_allow_http().refuse_own_authorization().layer(strict()),
        RetryInvalidTokenLayer::select(|_: &Parts| Ok::<_, Error>(fixed())).layer(strict()),
        InjectTokenLayer::select(|_: &Parts| Ok::<_, Error>(fixed())).layer(strict()),
        InjectTokenLayer::new(fixed())
            .with_origins(["https://inventory.example"])
            .unwrap()
            .layer(strict()),
        retry().without_replay().with_policy(StandardPolicy).clone().layer(strict()),
        ServiceBuilder::new().layer(retry()).service(strict()),
    ];
}

#[test]
fn the_inner_service_is_within_reach() {
    let mut inject = InjectToken::new(1, fixed());
    *inject.get_mut() += 1;
    assert_eq!((*inject.get_ref(), inject.into_inner()), (2, 2));
    let mut retry = RetryInvalidToken::new(1, fixed());
    *retry.get_mut() += 1;
    assert_eq!((*retry.get_ref(), retry.clone().into_inner()), (2, 2));
}

#[tokio::test]
async fn the_token_is_marked_sensitive_and_replaces_nothing_else() {
    let echo = service_fn(|request: Request<Full<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(request.headers().clone())))
    });
    let mut request = request();
    request.headers_mut().insert("x-trace", HeaderValue::from_static("7"));
    let seen = InjectToken::new(echo, fixed()).oneshot(request).await.unwrap().into_body();
    assert!(seen[AUTHORIZATION].is_sensitive());
    assert_eq!((seen.len(), &seen["x-trace"]), (2, &HeaderValue::from_static("7")));
}

// === readiness ===

#[tokio::test(start_paused = true)]
async fn inject_calls_the_instance_that_was_ready_also_after_a_wait() {
    let mint = Mint::new().takes(ms(50));
    let strict = Strict::that_likes(|_| true);
    let mut service = InjectToken::new(strict.clone(), mint.cache());
    for _ in 0..3 {
        let answer = readied(&mut service).await.call(request()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(strict.seen(), ["Bearer t1"; 3]);
}

#[tokio::test(start_paused = true)]
async fn r17_retry_readies_what_it_calls_first_after_a_wait_and_on_replay() {
    let mint = Mint::new().takes(ms(50));
    let strict = Strict::that_likes(|token| token == "Bearer t2");
    let mut service = RetryInvalidToken::new(strict.clone(), mint.cache());
    for _ in 0..2 {
        let answer = readied(&mut service).await.call(request()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(strict.seen(), ["Bearer t1", "Bearer t2", "Bearer t2"]);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_do_not_need_the_service_any_more() {
    let mint = Mint::new().takes(ms(50));
    let strict = Strict::that_likes(|token| token == "Bearer t2");
    let mut inject = InjectToken::new(strict.clone(), mint.cache());
    let mut retry = RetryInvalidToken::new(strict.clone(), mint.cache());
    let one = readied(&mut inject).await.call(request());
    let two = readied(&mut retry).await.call(request());
    let three = readied(&mut retry).await.call(request());
    drop((inject, retry));
    assert_eq!(one.await.unwrap().status(), 401, "inject does not look at answers");
    assert_eq!(two.await.unwrap().status(), 200);
    assert_eq!(three.await.unwrap().status(), 200);
}

#[tokio::test]
async fn r17_a_clone_does_not_inherit_readiness() {
    let strict = Strict::that_likes(|_| true);
    let mut inject = InjectToken::new(strict.clone(), fixed());
    readied(&mut inject).await;
    inject.clone().oneshot(request()).await.unwrap();
    inject.call(request()).await.unwrap();

    let mut retry = RetryInvalidToken::new(strict.clone(), fixed());
    readied(&mut retry).await;
    retry.clone().oneshot(request()).await.unwrap();
    retry.call(request()).await.unwrap();
    assert_eq!(strict.seen().len(), 4);
}

/// Is ready `good` times, then broken.
#[derive(Clone)]
struct Breaks {
    good: Arc<std::sync::atomic::AtomicI32>,
    answers: fn() -> Response<Full<Bytes>>,
}

impl Service<Request<Full<Bytes>>> for Breaks {
    type Response = Response<Full<Bytes>>;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let left = self.good.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        Poll::Ready(if left > 0 { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) })
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok((self.answers)()))
    }
}

#[tokio::test]
async fn an_inner_service_that_breaks_is_an_inner_error_whenever_it_does() {
    let breaks = |good: i32| Breaks { good: Arc::new(good.into()), answers: invalid_token };
    let is_inner = |error: ClientError| match error {
        ClientError::Inner(inner) => inner.downcast_ref::<std::io::Error>().is_some(),
        _ => false,
    };
    let inject = InjectToken::new(breaks(0), fixed());
    assert!(is_inner(inject.oneshot(request()).await.unwrap_err()));
    let retry = RetryInvalidToken::new(breaks(0), fixed());
    assert!(is_inner(retry.oneshot(request()).await.unwrap_err()));
    // Ready for the first attempt, broken before the second.
    let retry = RetryInvalidToken::new(breaks(1), Mint::new().cache());
    assert!(is_inner(retry.oneshot(request()).await.unwrap_err()));
}

// === without a token ===

#[tokio::test(start_paused = true)]
async fn without_a_token_nothing_is_sent() {
    let mint = Mint::new();
    mint.then(Err(ErrorKind::NarrowScope.into()));
    let tokens = mint.cache();
    let strict = Strict::that_likes(|_| true);
    let inject = InjectToken::new(strict.clone(), tokens.clone()).oneshot(request());
    let retry = RetryInvalidToken::new(strict.clone(), tokens).oneshot(request());
    for error in [inject.await.unwrap_err(), retry.await.unwrap_err()] {
        let ClientError::Token(error) = error else { panic!("{error:?}") };
        assert_eq!(error.error().kind(), ErrorKind::NarrowScope);
    }
    assert_eq!(strict.seen().len(), 0);
}

// === whose header ===

#[tokio::test(start_paused = true)]
async fn r13_the_callers_own_authorization_wins_and_is_not_judged() {
    for own in ["Bearer own", "Basic dXNlcjpwYXNz", "bearer t1", "Bearer  t1", ""] {
        let mint = Mint::new();
        let tokens = mint.cache();
        tokens.fetch(Need::Any).await.unwrap();
        let strict = Strict::that_likes(|_| false);
        let mut first = request();
        first.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(own));
        let mut second = request();
        second.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(own));

        let retry = RetryInvalidToken::new(strict.clone(), tokens.clone());
        let answer = retry.oneshot(first).await.unwrap();
        assert_eq!(answer.status(), 401, "{own}: not even an invalid_token is ours to judge");
        let inject = InjectToken::new(strict.clone(), tokens.clone());
        inject.oneshot(second).await.unwrap();
        assert_eq!(strict.seen(), [own, own]);
        assert_eq!(mint.exchanges(), 1, "{own}");
        assert_eq!(tokens.peek().unwrap().header(), "Bearer t1", "{own}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_authorization_waits_for_nobody() {
    let mint = Mint::new().takes(ms(1_000_000));
    let strict = Strict::that_likes(|_| true);
    let mut request = request();
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer own"));
    let answer = RetryInvalidToken::new(strict, mint.cache()).oneshot(request);
    assert_eq!(tokio::time::timeout(ms(1), answer).await.unwrap().unwrap().status(), 200);
    assert_eq!(mint.exchanges(), 0);
}

#[tokio::test]
async fn r10_a_tunnel_is_the_proxys_and_gets_no_token() {
    let connect = |uri: &str| {
        Request::builder().method(Method::CONNECT).uri(uri).body(Full::default()).unwrap()
    };
    let strict = Strict::that_likes(|_| true);
    let inject = InjectToken::new(strict.clone(), fixed());
    let retry = RetryInvalidToken::new(strict.clone(), fixed());
    inject.oneshot(connect("inventory.example:443")).await.unwrap();
    retry.clone().oneshot(connect("inventory.example:443")).await.unwrap();
    // RFC 8441: this one goes to the origin, and has a path.
    retry.oneshot(connect("https://inventory.example/socket")).await.unwrap();
    assert_eq!(strict.seen(), ["", "", "Bearer fixed"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_can_still_be_read_where_it_is_handed_on() {
    let strict = Strict::that_likes(|_| false);
    let answer = RetryInvalidToken::new(strict, fixed()).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "the first answer");
}
