//! Whatever a resource says, the number of exchanges and of requests upstream is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    BareForbidden, RejectionPolicy, RetryInvalidTokenLayer, StandardPolicy, TokenSource,
};
use tower_oauth_test::{Endpoint, Fault, Refusal};

use crate::rig::{Rig, ms, request, sleep_ms, slow};

/// Sends a request each millisecond for so long, by `make`; counts the answers that are 200.
async fn load<S, R>(
    service: &S,
    milliseconds: u64,
    make: impl Fn(u64) -> Request<Full<Bytes>>,
) -> u64
where
    S: tower::Service<Request<Full<Bytes>>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::fmt::Debug,
    R: Send,
{
    let fine = Arc::new(AtomicU64::new(0));
    let mut sent = tokio::task::JoinSet::new();
    for count in 0..milliseconds {
        let (call, fine) = (service.clone().oneshot(make(count)), Arc::clone(&fine));
        sent.spawn(async move {
            fine.fetch_add(u64::from(call.await.unwrap().status() == 200), SeqCst);
        });
        sleep_ms(1).await;
    }
    sent.join_all().await;
    fine.load(SeqCst)
}

#[tokio::test(start_paused = true)]
async fn r02_all_refused_at_a_thousand_a_second_with_fresh_tokens() {
    for seed in 0..5 {
        fastrand::seed(seed);
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Token, Fault::Delay(ms(50)));
        let resource = rig.issuer.resource().refuse_all();
        let tokens = rig.tokens();
        let service =
            RetryInvalidTokenLayer::new(tokens.clone()).layer(slow(resource.clone(), || ms(20)));
        assert_eq!(load(&service, 5000, |_| request()).await, 0);
        assert!(rig.exchanges() <= 6, "{} exchanges in 5 s", rig.exchanges());
        assert!(resource.calls() <= 5500, "{} calls for 5000 requests", resource.calls());

        // The first good answer works at once: the token that there is was never the trouble.
        let exchanges = rig.exchanges();
        let service = RetryInvalidTokenLayer::new(tokens).layer(rig.issuer.resource());
        assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
        assert_eq!(rig.exchanges(), exchanges);
    }
}

/// Two hundred calls a second for five seconds, from a cold start, and from tokens that were good for an hour.
#[tokio::test(start_paused = true)]
async fn elsewhere_f_r02_everything_rejected_for_five_seconds_costs_five_exchanges_and_no_more_upstream()
 {
    for (seed, was_good) in (0..20).zip([false, true].into_iter().cycle()) {
        fastrand::seed(seed);
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Token, Fault::Delay(ms(50)));
        let tokens = rig.tokens();
        let good = RetryInvalidTokenLayer::new(tokens.clone()).layer(rig.issuer.resource());
        if was_good {
            assert_eq!(good.clone().oneshot(request()).await.unwrap().status(), 200);
            sleep_ms(2000).await;
        }
        let before = rig.exchanges();
        let resource = rig.issuer.resource().refuse_all();
        let bad = RetryInvalidTokenLayer::new(tokens).layer(slow(resource.clone(), || ms(20)));
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            sent.spawn(bad.clone().oneshot(request()));
            sleep_ms(5).await;
        }
        let got = sent.join_all().await;
        assert!(got.into_iter().all(|answer| answer.unwrap().status() == 401));
        let exchanges = rig.exchanges() - before;
        assert!(exchanges <= 5, "{exchanges} exchanges, seed {seed}");
        assert!(resource.calls() <= 1100, "{} calls for 1000 requests", resource.calls());
        // The first good answer works at once.
        assert_eq!(good.oneshot(request()).await.unwrap().status(), 200);
        assert_eq!(rig.exchanges() - before, exchanges);
    }
}

/// A resource that is down or slow costs no exchange and no call more than were made.
#[tokio::test(start_paused = true)]
async fn a_resource_that_is_down_or_slow_costs_no_call_more() {
    for (status, takes) in [(503, 5), (500, 5), (200, 5000), (429, 5)] {
        let rig = Rig::new();
        let upstream = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&upstream);
        let resource = service_fn(move |_: Request<Full<Bytes>>| {
            count.fetch_add(1, SeqCst);
            async move {
                sleep_ms(takes).await;
                let answer = http::Response::builder().status(status);
                Ok::<_, std::io::Error>(answer.body(Full::<Bytes>::default()).unwrap())
            }
        });
        let service = RetryInvalidTokenLayer::new(rig.tokens()).layer(resource);
        let served = load(&service, 1000, |_| request()).await;
        assert_eq!(served, if status == 200 { 1000 } else { 0 });
        assert_eq!((upstream.load(SeqCst), rig.exchanges()), (1000, 1), "{status}");
    }
}

/// An API that answers 403 to some calls, which has nothing to do with the token; a policy that takes it for dead.
#[tokio::test(start_paused = true)]
async fn a_403_about_rights_costs_a_bounded_number_of_exchanges() {
    let rig = Rig::new();
    rig.issuer.fault(Endpoint::Token, Fault::Delay(ms(50)));
    let resource = rig.issuer.resource();
    let upstream = Arc::new(AtomicUsize::new(0));
    let (api, count) = (resource.clone(), Arc::clone(&upstream));
    let api = service_fn(move |request: Request<Full<Bytes>>| {
        count.fetch_add(1, SeqCst);
        let forbidden = request.method() == Method::DELETE;
        let refusal = if forbidden { Refusal::Forbidden } else { Refusal::InvalidToken };
        let api = api.clone().refuse_with(refusal);
        let api = if forbidden { api.refuse_all() } else { api };
        async move {
            sleep_ms(5).await;
            api.oneshot(request).await
        }
    });
    let policy = StandardPolicy.or(BareForbidden);
    let service = RetryInvalidTokenLayer::new(rig.tokens()).with_policy(policy).layer(api);
    let every_other = |count| {
        let mut request = request();
        if count % 2 == 0 {
            *request.method_mut() = Method::DELETE;
        }
        request
    };
    assert_eq!(load(&service, 10_000, every_other).await, 5000, "the others go on");
    // The first, one at its first sight, and one to learn.
    assert!(rig.exchanges() <= 3, "{} exchanges in 10 s", rig.exchanges());
    assert!(upstream.load(SeqCst) <= 10_100, "{} calls", upstream.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn r03_late_refusals_of_an_old_token_never_reach_the_server() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let resource = rig.issuer.resource();
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(resource.clone());
    assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), 200);
    let old = tokens.peek().unwrap();
    rig.issuer.restart();
    assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), 200);
    for _ in 0..100 {
        // Stamped by somebody before the restart, sent after it.
        let mut late = request();
        late.headers_mut().insert(http::header::AUTHORIZATION, old.header().clone());
        assert_eq!(service.clone().oneshot(late).await.unwrap().status(), 200);
    }
    assert_eq!((rig.exchanges(), resource.refused()), (2, 101));
}
