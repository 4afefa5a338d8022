//! F: a resource in trouble is never called much more often than the callers call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth_client::{
    BareForbidden, BareUnauthorized, ClientError, InjectTokenLayer, RejectionPolicy,
    RetryInvalidTokenLayer, StandardPolicy, Statuses,
};
use tower_oauth_test::{Endpoint, Fault, Refusal};

use crate::rig::{Rig, ms, request, sleep_ms, slow};

const CALLS: u64 = 5_000;

/// Calls once a millisecond; how many calls ended well.
async fn load<S, R>(service: &S) -> u64
where
    S: Service<Request<Full<Bytes>>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(service.clone().oneshot(request()));
        sleep_ms(1).await;
    }
    let answers = calls.join_all().await;
    answers.iter().flatten().filter(|answer| answer.status() == 200).count() as u64
}

#[tokio::test(start_paused = true)]
async fn f_a_resource_that_is_down_is_called_as_often_as_the_callers_call() {
    let rig = Rig::new();
    let upstream = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&upstream);
    let down = service_fn(move |_: Request<Full<Bytes>>| {
        count.fetch_add(1, SeqCst);
        async {
            sleep_ms(20).await;
            Err::<http::Response<()>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        }
    });
    let service = RetryInvalidTokenLayer::new(rig.tokens()).layer(down);
    let error = service.clone().oneshot(request()).await.unwrap_err();
    assert!(matches!(error, ClientError::Inner(_)), "{error:?}");
    assert_eq!(load(&service).await, 0);
    assert_eq!((upstream.load(SeqCst), rig.exchanges()), (CALLS + 1, 1));
}

#[tokio::test(start_paused = true)]
async fn f_a_resource_that_is_slow_is_called_as_often_as_the_callers_call() {
    let rig = Rig::new();
    let resource = rig.issuer.resource();
    let patient =
        RetryInvalidTokenLayer::new(rig.tokens()).layer(slow(resource.clone(), || ms(30_000)));
    // Most callers do not wait so long; what they give up is given up upstream too.
    let hurried = ServiceBuilder::new().timeout(ms(100)).service(patient.clone());
    assert_eq!(load(&hurried).await, 0);
    assert_eq!(load(&patient).await, CALLS);
    assert_eq!((resource.calls(), rig.exchanges()), (CALLS, 1));
}

#[tokio::test(start_paused = true)]
async fn f_a_resource_that_refuses_everything_is_called_a_tenth_more_often_at_most() {
    type Configure = fn(RetryInvalidTokenLayer) -> RetryInvalidTokenLayer;
    let policies: [(Refusal, Configure); 5] = [
        (Refusal::InvalidToken, |layer| layer),
        (Refusal::Grpc, |layer| layer),
        (Refusal::Bare, |layer| layer.with_policy(StandardPolicy.or(BareUnauthorized))),
        (Refusal::Bare, |layer| layer.with_policy(Statuses::new([401]))),
        (Refusal::Forbidden, |layer| layer.with_policy(StandardPolicy.or(BareForbidden))),
    ];
    for (refusal, configure) in policies {
        for worked_before in [false, true] {
            let rig = Rig::new();
            rig.issuer.fault(Endpoint::Token, Fault::Delay(ms(50)));
            let tokens = rig.tokens();
            if worked_before {
                let well = RetryInvalidTokenLayer::new(tokens.clone()).layer(rig.issuer.resource());
                assert_eq!(well.oneshot(request()).await.unwrap().status(), 200);
            }
            let resource = rig.issuer.resource().refuse_with(refusal.clone()).refuse_all();
            let layer = configure(RetryInvalidTokenLayer::new(tokens)).with_clock(rig.clock);
            let service = layer.layer(slow(resource.clone(), || ms(20)));
            load(&service).await;
            let (calls, exchanges) = (resource.calls(), rig.exchanges());
            assert!(calls <= CALLS * 11 / 10, "{calls} calls for {CALLS}, {refusal:?}");
            assert!(exchanges <= 7, "{exchanges} exchanges in 5 s, {refusal:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f_two_doors_in_a_row_are_no_more_than_one() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let resource = rig.issuer.resource().refuse_all();
    let service = ServiceBuilder::new()
        .layer(RetryInvalidTokenLayer::new(tokens.clone()))
        .layer(InjectTokenLayer::new(tokens.clone()))
        .layer(RetryInvalidTokenLayer::new(tokens))
        .service(slow(resource.clone(), || ms(20)));
    load(&service).await;
    assert!(resource.calls() <= CALLS * 11 / 10, "{} calls for {CALLS}", resource.calls());
}
