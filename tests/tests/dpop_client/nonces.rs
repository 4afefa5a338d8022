//! Servers that want a nonce in the proof (RFC 9449 §9).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_oauth::{InjectTokenLayer, Replayed, RetryInvalidTokenLayer, TokenEvent, TokenVerdict};

use crate::rig::{API, First, Log, Net, Res, World, challenge, get, net, status};

/// Wants another nonce each time.
fn never_content(log: &Log) -> Net {
    let number = Arc::new(AtomicU64::new(0));
    net(log, move |_| {
        challenge("use_dpop_nonce", Some(&format!("n{}", number.fetch_add(1, SeqCst))))
    })
}

#[tokio::test(start_paused = true)]
async fn r11_a_nonce_is_answered_with_the_same_token_and_another_proof() {
    let world = World::new().await;
    let tokens = world.tokens();
    let mut events = tokens.subscribe();
    let service = RetryInvalidTokenLayer::new(tokens)
        .layer(world.resource(world.with_nonces(), First::Token));
    let request = Request::post(API).body(Full::from("the body")).unwrap();
    let answer = service.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.extensions().get::<Replayed>().is_none(), "no token was replaced");
    let seen = world.seen.take();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].authorization, seen[1].authorization);
    assert_ne!(seen[0].said("jti"), seen[1].said("jti"));
    assert_eq!(seen[0].said("nonce"), None);
    assert!(seen[1].said("nonce").is_some());

    // From here on it is known.
    for _ in 0..3 {
        assert_eq!(status(&service, get(API)).await, 200);
    }
    let later = world.seen.take();
    assert_eq!(later.len(), 3);
    assert!(later.iter().all(|came| came.said("nonce") == seen[1].said("nonce")));
    assert_eq!(world.exchanges.take().len(), 1);
    let mut told = Vec::new();
    while let Some(event) = at_hand(events.next()) {
        told.push(event);
    }
    assert!(matches!(told[..], [TokenEvent::Issued { .. }]), "{told:?}");
}

/// What is there without waiting.
fn at_hand<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => None,
    }
}

/// The server door names the next nonce in good time, beside a 200.
#[tokio::test(start_paused = true)]
async fn r11_a_nonce_that_comes_with_a_200_is_used_from_then_on() {
    let world = World::new().await;
    let inject = InjectTokenLayer::new(world.tokens())
        .layer(world.resource(world.with_nonces(), First::Token));
    let retry = RetryInvalidTokenLayer::new(world.tokens())
        .layer(world.resource(world.with_nonces(), First::Token));
    assert_eq!(status(&inject, get(API)).await, 401, "nothing is sent again by this one");
    assert_eq!(status(&retry, get(API)).await, 200);
    world.seen.take();
    for _ in 0..100 {
        assert_eq!(status(&inject, get(API)).await, 200);
        assert_eq!(status(&retry, get(API)).await, 200);
        world.clock.advance(Duration::from_secs(20));
    }
    let seen = world.seen.take();
    assert_eq!(seen.len(), 200, "no request was sent twice");
    let nonces: std::collections::HashSet<_> = seen.iter().map(|came| came.said("nonce")).collect();
    assert!(nonces.len() > 10, "{} nonces in half an hour", nonces.len());
}

#[tokio::test(start_paused = true)]
async fn r11_a_loop_of_new_nonces_ends_after_one_replay_and_costs_the_token_nothing() {
    let world = World::new().await;
    let tokens = world.tokens();
    // Even where the policy takes every 401 for the token's end.
    let any_401 = |head: &http::response::Parts| match head.status.as_u16() {
        401 => TokenVerdict::Rejected,
        _ => TokenVerdict::Accepted,
    };
    let retry = || RetryInvalidTokenLayer::new(tokens.clone()).with_policy(any_401);
    let retry = || retry().with_clock(world.clock.clone());
    let once = retry().layer(never_content(&world.seen));
    let answer = once.clone().oneshot(get(API)).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.extensions().get::<TokenVerdict>(), Some(&TokenVerdict::Silent));
    let seen = world.seen.take();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].said("nonce"), seen[1].said("nonce")), (None, Some("n0")));
    assert_eq!(seen[0].authorization, seen[1].authorization);

    let stacked = ServiceBuilder::new()
        .layer(retry())
        .layer(InjectTokenLayer::new(tokens.clone()))
        .layer(retry())
        .service(never_content(&world.seen));
    assert_eq!(status(&stacked, get("https://other.example/")).await, 401);
    assert_eq!(world.seen.take().len(), 2, "also of two layers in a row");

    for _ in 0..1000 {
        assert_eq!(status(&once, get(API)).await, 401);
        world.clock.advance(Duration::from_millis(5));
    }
    let calls = world.seen.take().len();
    assert!(calls <= 1020, "{calls} calls upstream for 1,000");
    assert_eq!(world.exchanges.take().len(), 1);
}

/// A server may want each nonce once: then every request is sent twice, and each with its own.
#[tokio::test(start_paused = true)]
async fn r11_nonces_that_are_good_once_serve_a_hundred_callers_at_a_time() {
    let world = World::new().await;
    let open = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let number = AtomicU64::new(0);
    let number = Arc::new(number);
    let resource = net(&world.seen, move |headers| {
        let said = crate::rig::claims(headers["dpop"].to_str().unwrap());
        let nonce = said["nonce"].as_str().unwrap_or_default().to_owned();
        if open.lock().unwrap().remove(&nonce) {
            return Res::default();
        }
        let fresh = format!("n{}", number.fetch_add(1, SeqCst));
        open.lock().unwrap().insert(fresh.clone());
        challenge("use_dpop_nonce", Some(&fresh))
    });
    let pause = Net::new(tower::service_fn(move |request| {
        let resource = resource.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            resource.oneshot(request).await
        }
    }));
    let service = RetryInvalidTokenLayer::new(world.tokens()).layer(pause);
    let service = Net::new(service.map_err(Into::into));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn({
                let service = service.clone();
                async move { status(&service, get(API)).await }
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(world.seen.take().len(), 200);
}

/// The resource has restarted, and so has the issuer: its nonces are strange and its tokens dead.
#[tokio::test(start_paused = true)]
async fn r11_a_stale_nonce_and_a_dead_token_together_are_healed_whichever_is_looked_at_first() {
    for first in [First::Token, First::Proof] {
        let world = World::new().await;
        let tokens = world.tokens();
        let service = RetryInvalidTokenLayer::new(tokens.clone())
            .layer(world.resource(world.with_nonces(), first));
        assert_eq!(status(&service, get(API)).await, 200);
        let before = world.seen.take();
        world.kill(before.last().unwrap());
        world.clock.advance(Duration::from_secs(3600));
        let request = Request::post(API).body(Full::from("the body")).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{first:?}");
        assert!(answer.extensions().get::<Replayed>().is_some());
        let seen = world.seen.take();
        assert_eq!(seen.len(), 3, "{first:?}: once for the nonce, once for the token");
        assert_eq!(world.exchanges.take().len(), 2);
        let jti: std::collections::HashSet<_> = seen.iter().map(|came| came.said("jti")).collect();
        assert_eq!(jti.len(), 3);
        assert_eq!(status(&service, get(API)).await, 200);
        assert_eq!(world.seen.take().len(), 1);
    }
}

/// What the whole costs at most: the token is dead, its successor too, and a nonce is wanted each time.
#[tokio::test(start_paused = true)]
async fn r11_at_most_three_attempts_whatever_the_answers() {
    for order in [["invalid_token", "use_dpop_nonce"], ["use_dpop_nonce", "invalid_token"]] {
        let world = World::new().await;
        let number = Arc::new(AtomicU64::new(0));
        let resource = net(&world.seen, move |_| {
            let number = number.fetch_add(1, SeqCst);
            challenge(order[usize::try_from(number % 2).unwrap()], Some(&format!("n{number}")))
        });
        let service = RetryInvalidTokenLayer::new(world.tokens()).layer(resource);
        assert_eq!(status(&service, get(API)).await, 401);
        assert_eq!(world.seen.take().len(), 3, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn d04_nonces_are_each_servers_own_and_the_issuers_go_to_no_resource() {
    let world = World::new().await;
    *world.nonce.lock().unwrap() = Some("of-the-issuer".into());
    let service = RetryInvalidTokenLayer::new(world.tokens()).layer(net(&world.seen, |_| {
        Response::builder().header("dpop-nonce", "n").body(Full::default()).unwrap()
    }));
    let issuer = world.issuer.issuer();
    for (uri, nonce) in [
        ("https://a.example/", None),
        ("https://A.example:443/x", Some("n")),
        ("https://b.example/", None),
        ("https://a.example:8443/", None),
        (&*issuer, None),
        (&*issuer, Some("n")),
    ] {
        assert_eq!(status(&service, get(uri)).await, 200);
        assert_eq!(world.seen.take()[0].said("nonce"), nonce, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn r11_without_replay_the_challenge_goes_back_and_the_next_request_has_the_nonce() {
    let world = World::new().await;
    let service = RetryInvalidTokenLayer::new(world.tokens())
        .without_replay()
        .layer(world.resource(world.with_nonces(), First::Token));
    assert_eq!(status(&service, get(API)).await, 401);
    assert_eq!(status(&service, get(API)).await, 200);
    assert_eq!(world.seen.take().len(), 2);
    assert_eq!(world.exchanges.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn r11_a_challenge_without_a_nonce_or_with_two_is_not_answered() {
    let world = World::new().await;
    for fields in [&[][..], &["a", "b"], &["a b"]] {
        let service =
            RetryInvalidTokenLayer::new(world.tokens()).layer(net(&world.seen, move |_| {
                let mut answer = challenge("use_dpop_nonce", None);
                for field in fields {
                    answer.headers_mut().append("dpop-nonce", field.parse().unwrap());
                }
                answer
            }));
        assert_eq!(status(&service, get(API)).await, 401);
        assert_eq!(world.seen.take().len(), 1, "{fields:?}");
    }
}
