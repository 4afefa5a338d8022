//! The authorization server restarts, with a thousand requests in flight: one exchange, no failure.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_oauth_client::{
    BareForbidden, BareUnauthorized, RejectionPolicy, RetryInvalidTokenLayer, StandardPolicy,
};
use tower_oauth_test::{Endpoint, Fault, ManualClock, Refusal};

use crate::rig::{Mint, Rig, authorization, invalid_token, ms, ok, request, sleep_ms, slow};

/// Sends so many requests at once; how many answers are not 200.
fn crowd<S, R>(service: &S, callers: usize) -> JoinSet<bool>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::fmt::Debug,
    R: Send,
{
    let mut crowd = JoinSet::new();
    for _ in 0..callers {
        let call = service.clone().oneshot(request());
        crowd.spawn(async move { call.await.unwrap().status() != StatusCode::OK });
    }
    crowd
}

async fn failed(crowd: JoinSet<bool>) -> usize {
    crowd.join_all().await.into_iter().filter(|failed| *failed).count()
}

/// Delays that are spread evenly from one to the other, over and over.
fn spread(from: u64, to: u64) -> impl Fn() -> Duration + Clone + Send + Sync + 'static {
    let count = Arc::new(AtomicUsize::new(0));
    move || ms(from + count.fetch_add(7, SeqCst) as u64 * 13 % (to - from))
}

async fn survives(refusal: Refusal, policy: impl RejectionPolicy, from: u64, to: u64) {
    let rig = Rig::new();
    rig.issuer.fault(Endpoint::Token, Fault::Delay(ms(50)));
    let resource = slow(rig.issuer.resource().refuse_with(refusal), spread(from, to));
    let service = RetryInvalidTokenLayer::new(rig.tokens()).with_policy(policy).layer(resource);

    assert_eq!(failed(crowd(&service, 1000)).await, 0);
    assert_eq!(rig.exchanges(), 1, "a cold start");
    for restart in 1..=3 {
        let in_flight = crowd(&service, 1000);
        sleep_ms(1).await;
        rig.issuer.restart();
        let before = rig.exchanges();
        assert_eq!(failed(in_flight).await, 0, "restart {restart}");
        assert_eq!(rig.exchanges() - before, 1, "restart {restart}");
        sleep_ms(2000).await;
    }
    assert_eq!(failed(crowd(&service, 1000)).await, 0);
    assert_eq!(rig.exchanges(), 4, "nothing is left over");
}

#[tokio::test(start_paused = true)]
async fn elsewhere_a_r03_a_thousand_in_flight_at_each_restart_make_one_exchange_and_no_failure() {
    survives(Refusal::InvalidToken, StandardPolicy, 5, 20).await;
}

#[tokio::test(start_paused = true)]
async fn r03_answers_spread_over_a_second_and_a_half_do_not_kill_the_new_token() {
    survives(Refusal::InvalidToken, StandardPolicy, 5, 1500).await;
}

#[tokio::test(start_paused = true)]
async fn r03_grpc_survives_too() {
    survives(Refusal::Grpc, StandardPolicy, 5, 1500).await;
}

#[tokio::test(start_paused = true)]
async fn r03_bare_refusals_survive_where_they_are_opted_in() {
    survives(Refusal::Bare, StandardPolicy.or(BareUnauthorized), 5, 1500).await;
    survives(Refusal::Forbidden, StandardPolicy.or(BareForbidden), 5, 1500).await;
}

/// A server that keeps one active token: each exchange kills the token before.
#[tokio::test(start_paused = true)]
async fn r03_one_active_token_and_answers_spread_over_a_second_and_a_half() {
    let mint = Mint::new().takes(ms(50));
    let dead = Arc::new(AtomicUsize::new(0));
    let (newest, killed, delay) = (mint.clone(), Arc::clone(&dead), spread(5, 1500));
    let resource = service_fn(move |request: Request<Full<Bytes>>| {
        let (newest, killed, delay) = (newest.clone(), Arc::clone(&killed), delay());
        async move {
            tokio::time::sleep(delay).await;
            let alive = newest.exchanges() > killed.load(SeqCst)
                && authorization(request.headers())
                    == Some(format!("Bearer t{}", newest.exchanges()).as_str());
            io::Result::Ok(if alive { ok() } else { invalid_token() })
        }
    });
    let service = RetryInvalidTokenLayer::new(mint.cache()).layer(resource);
    assert_eq!(failed(crowd(&service, 1)).await, 0);
    let in_flight = crowd(&service, 1000);
    sleep_ms(1).await;
    dead.store(1, SeqCst);
    assert_eq!(failed(in_flight).await, 0);
    assert_eq!(mint.exchanges(), 2);
}

/// Two threads: whatever interleaving comes, one exchange for each restart. By the clock of the cache a
/// restart takes a second, as one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r03_restarts_under_real_concurrency() {
    let rig = Rig::new();
    let clock = ManualClock::new();
    let tokens = rig.builder().clock(clock.clone()).build().unwrap();
    let service = RetryInvalidTokenLayer::new(tokens).layer(rig.issuer.resource());
    assert_eq!(failed(crowd(&service, 100)).await, 0);
    for restart in 1..=6 {
        rig.issuer.restart();
        clock.advance(Duration::from_secs(1));
        assert_eq!(failed(crowd(&service, 300)).await, 0, "restart {restart}");
        assert_eq!(rig.exchanges(), restart + 1, "restart {restart}");
    }
}

/// The server is away for a while, past the moment of the refresh; when it is back it has forgotten all.
#[tokio::test(start_paused = true)]
async fn t01_away_and_back_without_a_memory_is_not_noticed() {
    for seed in 0..10 {
        fastrand::seed(seed);
        let rig = Rig::with(|issuer| issuer.token_life(Duration::from_secs(1000)));
        let resource = slow(rig.issuer.resource(), || ms(5));
        let service = RetryInvalidTokenLayer::new(rig.tokens()).layer(resource);
        let mut failures = 0;
        while rig.clock.ms() < 1_500_000 {
            match rig.clock.ms() / 10_000 {
                60 => rig.issuer.go_dark(),
                95 => {
                    rig.issuer.restart();
                    rig.issuer.light_up().unwrap();
                }
                _ => {}
            }
            failures += failed(crowd(&service, 1)).await;
            sleep_ms(995).await;
        }
        assert_eq!(failures, 0, "seed {seed}");
    }
}

/// Whoever sends the token on to somebody else's service hears nothing of it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_the_token_is_renewed_leaves_it_to_the_next() {
    let mint = Mint::new().takes(ms(50));
    let resource = service_fn(|request: Request<Full<Bytes>>| {
        let alive = authorization(request.headers()) == Some("Bearer t2");
        ready(io::Result::Ok(if alive { ok() } else { invalid_token() }))
    });
    let service = RetryInvalidTokenLayer::new(mint.cache()).layer(resource);
    let first = tokio::time::timeout(ms(60), service.clone().oneshot(request())).await;
    assert!(first.is_err(), "given up 10 ms into the second exchange");
    sleep_ms(50).await;
    let second = tokio::time::timeout(ms(1), service.oneshot(request())).await;
    assert_eq!(second.unwrap().unwrap().status(), 200);
    assert_eq!(mint.exchanges(), 2);
}
