//! R15: a deadline that the request carries includes the wait for a token and both attempts.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth_client::{
    ClientError, ErrorKind, InjectTokenLayer, Need, RetryInvalidTokenLayer, TokenSource,
};

use crate::rig::{Mint, Strict, TokioClock, authorization, invalid_token, ms, ok, sleep_ms};

fn within(timeout: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post("https://a.example/svc/Method");
    request.header("grpc-timeout", timeout).body(Full::default()).unwrap()
}

/// The `grpc-timeout` of each attempt.
type Timeouts = Arc<Mutex<Vec<String>>>;

/// Refuses `t1` after so many milliseconds, and writes down what it is told of time.
fn resource(
    takes: u64,
) -> (
    Timeouts,
    impl tower::Service<
        Request<Full<Bytes>>,
        Response = http::Response<Full<Bytes>>,
        Error = io::Error,
        Future: Send,
    > + Clone,
) {
    let timeouts = Timeouts::default();
    let seen = Arc::clone(&timeouts);
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        let timeout = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
        seen.lock().unwrap().push(timeout);
        let dead = authorization(request.headers()) == Some("Bearer t1");
        async move {
            sleep_ms(takes).await;
            Ok(if dead { invalid_token() } else { ok() })
        }
    });
    (timeouts, service)
}

#[tokio::test(start_paused = true)]
async fn r15_each_attempt_is_told_what_is_left() {
    let clock = TokioClock::new();
    let (timeouts, resource) = resource(100);
    let mint = Mint::new().takes(ms(50));
    let layer = RetryInvalidTokenLayer::new(mint.cache()).with_clock(clock);
    let answer = layer.layer(resource).oneshot(within("1S")).await.unwrap();
    assert_eq!((answer.status().as_u16(), clock.ms()), (200, 300));
    // 50 ms for the first token; 100 ms for the refusal and 50 ms for the second one.
    assert_eq!(*timeouts.lock().unwrap(), ["950000u", "800000u"]);
}

#[tokio::test(start_paused = true)]
async fn r15_with_a_token_at_hand_the_first_attempt_is_sent_as_it_is() {
    let (timeouts, resource) = resource(0);
    let tokens = Mint::new().cache();
    tokens.fetch(Need::Any).await.unwrap();
    let layer = RetryInvalidTokenLayer::new(tokens).with_clock(TokioClock::new());
    layer.layer(resource).oneshot(within("7M")).await.unwrap();
    assert_eq!(*timeouts.lock().unwrap(), ["7M", "420000m"]);
}

#[tokio::test(start_paused = true)]
async fn r15_a_deadline_ends_the_wait_for_a_first_token() {
    for layer in ["inject", "retry"] {
        let clock = TokioClock::new();
        let mint = Mint::new().takes(ms(1_000));
        let (tokens, strict) = (mint.cache(), Strict::that_likes(|_| true));
        let error = if layer == "inject" {
            let layer = InjectTokenLayer::new(tokens.clone()).with_clock(clock);
            layer.layer(strict.clone()).oneshot(within("200m")).await.unwrap_err()
        } else {
            let layer = RetryInvalidTokenLayer::new(tokens.clone()).with_clock(clock);
            layer.layer(strict.clone()).oneshot(within("200m")).await.unwrap_err()
        };
        assert_eq!((clock.ms(), strict.seen().len()), (200, 0), "{layer}");
        let ClientError::Token(error) = error else { panic!("{error:?}") };
        assert_eq!(error.error().kind(), ErrorKind::Timeout);
        #[cfg(feature = "tonic")]
        {
            let status = tonic::Status::from_error(Box::new(ClientError::Token(error)));
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        }
        // It lost its own wait only.
        sleep_ms(801).await;
        assert_eq!(tokens.peek().unwrap().header(), "Bearer t1");
        assert_eq!(mint.exchanges(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn r15_a_deadline_that_ends_while_the_token_is_renewed_gives_the_first_answer_back() {
    let clock = TokioClock::new();
    let (timeouts, resource) = resource(100);
    let mint = Mint::new().takes(ms(500));
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    let layer = RetryInvalidTokenLayer::new(tokens.clone()).with_clock(clock);
    let start = clock.ms();
    let answer = layer.layer(resource.clone()).oneshot(within("400m")).await.unwrap();
    assert_eq!((answer.status().as_u16(), clock.ms() - start), (401, 400));
    let content = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "the first answer");
    assert_eq!(timeouts.lock().unwrap().len(), 1);
    sleep_ms(200).await;
    let answer = layer.layer(resource).oneshot(within("400m")).await.unwrap();
    assert_eq!(answer.status(), 200, "the exchange went on, and the next call has its token");
}

#[tokio::test(start_paused = true)]
async fn r15_nothing_is_sent_again_when_no_time_is_left() {
    let (timeouts, resource) = resource(300);
    let tokens = Mint::new().cache();
    tokens.fetch(Need::Any).await.unwrap();
    let layer = RetryInvalidTokenLayer::new(tokens).with_clock(TokioClock::new());
    // The resource has taken longer than it was given; the new token is there at once.
    let answer = layer.layer(resource).oneshot(within("300m")).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(timeouts.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn r15_a_deadline_that_nobody_can_read_is_none() {
    for odd in ["", "soon", "1s", "1000000000S"] {
        let (timeouts, resource) = resource(10);
        let mint = Mint::new().takes(ms(50));
        let layer = RetryInvalidTokenLayer::new(mint.cache()).with_clock(TokioClock::new());
        let answer = layer.layer(resource).oneshot(within(odd)).await.unwrap();
        assert_eq!(answer.status(), 200, "{odd}");
        assert_eq!(*timeouts.lock().unwrap(), [odd, odd]);
    }
}

#[tokio::test(start_paused = true)]
async fn r15_a_timeout_outside_the_door_includes_the_exchange_and_ends_only_the_callers_wait() {
    let clock = TokioClock::new();
    let mint = Mint::new().takes(ms(500));
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    let strict = Strict::that_likes(|token| token != "Bearer t1");
    let service = ServiceBuilder::new()
        .timeout(ms(100))
        .layer(RetryInvalidTokenLayer::new(tokens.clone()))
        .service(strict);
    let start = clock.ms();
    let request = || Request::get("https://a.example/").body(Full::<Bytes>::default()).unwrap();
    let error = service.clone().oneshot(request()).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>(), "{error}");
    assert_eq!(clock.ms() - start, 100);
    sleep_ms(400).await;
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_the_door_is_one_attempts() {
    let slow_once = Arc::new(Mutex::new(true));
    let resource = service_fn(move |request: Request<Full<Bytes>>| {
        let dead = authorization(request.headers()) == Some("Bearer t1");
        let hangs = !dead && std::mem::take(&mut *slow_once.lock().unwrap());
        async move {
            sleep_ms(80).await;
            if hangs {
                pending::<()>().await;
            }
            io::Result::Ok(if dead { invalid_token() } else { ok() })
        }
    });
    let service = ServiceBuilder::new()
        .layer(RetryInvalidTokenLayer::new(Mint::new().cache()))
        .timeout(ms(100))
        .service(resource);
    let request = || Request::get("https://a.example/").body(Full::<Bytes>::default()).unwrap();
    // 80 ms and then a hanging second attempt: an error after 100 ms more, and no third one.
    assert!(matches!(service.clone().oneshot(request()).await, Err(ClientError::Inner(_))));
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
}
