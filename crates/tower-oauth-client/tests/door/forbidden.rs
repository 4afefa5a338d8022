//! A 403: of a dead token, or of a lack of rights.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    BareForbidden, BareUnauthorized, ConfirmWithIntrospection, Error, ErrorKind, HttpClient, Need,
    RejectionPolicy, RetryInvalidTokenLayer, Secret, StandardPolicy, TokenSource, TokenVerdict,
};
use tower_oauth_core::codec::IntrospectionResponse;
use tower_oauth_test::{Endpoint, Fault, Refusal, ScriptedResource};

use crate::rig::{Mint, Rig, SECRET, authorization, ms, sleep_ms, slow};

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://a.example{path}")).body(Full::default()).unwrap()
}

fn delete(path: &str) -> Request<Full<Bytes>> {
    let mut request = get(path);
    *request.method_mut() = Method::DELETE;
    request
}

/// A backend that says 403 to a dead token, and 403 to whoever wants to delete.
fn backend(rig: &Rig) -> ScriptedResource {
    let deletes = |head: &http::request::Parts| head.method == Method::DELETE;
    rig.issuer.resource().refuse_with(Refusal::Forbidden).forbid(deletes)
}

fn confirm(rig: &Rig) -> ConfirmWithIntrospection {
    let uri = rig.issuer.url(Endpoint::Introspection);
    let http = HttpClient::new(rig.issuer.service());
    ConfirmWithIntrospection::endpoint(&uri, "orders", SECRET, http).unwrap().with_clock(rig.clock)
}

fn questions(rig: &Rig) -> u64 {
    rig.issuer.calls(Endpoint::Introspection)
}

async fn status<S, R>(service: &S, request: Request<Full<Bytes>>) -> u16
where
    S: tower::Service<Request<Full<Bytes>>, Response = http::Response<R>> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.unwrap().status().as_u16()
}

async fn statuses<R: 'static, E: std::fmt::Debug + 'static>(
    calls: JoinSet<Result<http::Response<R>, E>>,
) -> Vec<u16> {
    calls.join_all().await.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect()
}

// === by guessing ===

#[tokio::test(start_paused = true)]
async fn r09_a_403_about_rights_costs_one_exchange_and_not_one_for_every_call() {
    let rig = Rig::new();
    let backend = backend(&rig);
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .with_policy(StandardPolicy.or(BareForbidden))
        .with_clock(rig.clock)
        .layer(backend.clone());
    for _ in 0..1000 {
        assert_eq!(status(&service, get("/stock")).await, 200);
        assert_eq!(status(&service, delete("/stock")).await, 403);
        sleep_ms(10).await;
    }
    assert_eq!(rig.exchanges(), 2, "the first, and one to learn");
    assert_eq!(backend.calls(), 2001);
}

#[tokio::test(start_paused = true)]
async fn r09_what_was_learnt_of_one_resource_does_not_hide_the_death_of_a_token() {
    let rig = Rig::new();
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .with_policy(StandardPolicy.or(BareForbidden))
        .with_clock(rig.clock)
        .layer(backend(&rig));
    for (request, expected) in [(get("/stock"), 200), (delete("/stock"), 403), (get("/stock"), 200)]
    {
        assert_eq!(status(&service, request).await, expected);
    }
    assert_eq!(rig.exchanges(), 2);
    for restart in 1..=10 {
        rig.issuer.restart();
        assert_eq!(status(&service, delete("/stock")).await, 403);
        assert_eq!(status(&service, get("/stock")).await, 200, "restart {restart}");
        assert_eq!(rig.exchanges(), 2 + restart);
        sleep_ms(2_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn r09_ten_thousand_resources_without_rights_cost_a_handful_of_exchanges() {
    let rig = Rig::new();
    let backend = backend(&rig);
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .with_policy(StandardPolicy.or(BareForbidden))
        .with_clock(rig.clock)
        .layer(backend.clone());
    for n in 0..10_000 {
        assert_eq!(status(&service, delete(&format!("/stock/{n}"))).await, 403);
        assert_eq!(status(&service, get("/stock")).await, 200);
        sleep_ms(1).await;
    }
    assert!(rig.exchanges() <= 8, "{} exchanges in 10 s", rig.exchanges());
    assert!(backend.calls() <= 20_010, "{} calls", backend.calls());
}

#[tokio::test(start_paused = true)]
async fn a_second_restart_while_a_request_is_sent_again_is_no_lack_of_rights() {
    let mint = Mint::new();
    let strict = service_fn(|request: Request<Full<Bytes>>| async move {
        let dead = ["Bearer t1", "Bearer t2"].map(Some).contains(&authorization(request.headers()));
        let status = if dead { 403 } else { 200 };
        Ok::<_, std::io::Error>(http::Response::builder().status(status).body(()).unwrap())
    });
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap().mark_accepted();
    let policy = StandardPolicy.or(BareForbidden);
    let service = RetryInvalidTokenLayer::new(tokens).with_policy(policy).layer(strict);
    assert_eq!(status(&service, get("/stock")).await, 403, "the second one died on its way");
    assert_eq!(status(&service, get("/stock")).await, 200);
    assert_eq!(mint.exchanges(), 3);
}

// === by asking ===

#[tokio::test(start_paused = true)]
async fn a_403_of_a_dead_token_costs_a_thousand_callers_one_question_and_one_exchange() {
    let rig = Rig::new();
    rig.issuer.fault(Endpoint::Token, Fault::Delay(ms(50)));
    rig.issuer.fault(Endpoint::Introspection, Fault::Delay(ms(20)));
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .confirm_with_introspection(confirm(&rig))
        .layer(slow(backend(&rig), || ms(fastrand::u64(5..20))));
    assert_eq!(status(&service, get("/stock")).await, 200);
    for restart in 1..=2 {
        rig.issuer.restart();
        let mut calls = JoinSet::new();
        for _ in 0..1000 {
            calls.spawn(service.clone().oneshot(get("/stock")));
        }
        assert_eq!(statuses(calls).await, [200; 1000], "restart {restart}");
        assert_eq!((questions(&rig), rig.exchanges()), (restart, 1 + restart));
        sleep_ms(2_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn r09_a_403_about_rights_costs_one_question_and_no_exchange() {
    let rig = Rig::new();
    let backend = backend(&rig);
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .confirm_with_introspection(confirm(&rig))
        .layer(backend.clone());
    let answer = service.clone().oneshot(delete("/stock")).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.extensions().get(), Some(&TokenVerdict::Silent));
    for _ in 0..1000 {
        assert_eq!(status(&service, delete("/stock")).await, 403);
        assert_eq!(status(&service, get("/stock")).await, 200);
        sleep_ms(100).await;
    }
    assert_eq!((questions(&rig), rig.exchanges(), backend.calls()), (1, 1, 2001));
}

#[tokio::test(start_paused = true)]
async fn r09_ten_thousand_resources_without_rights_cost_a_handful_of_questions() {
    let rig = Rig::new();
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .confirm_with_introspection(confirm(&rig))
        .layer(backend(&rig));
    for n in 0..10_000 {
        assert_eq!(status(&service, delete(&format!("/stock/{n}"))).await, 403);
        sleep_ms(1).await;
    }
    assert!((2..=8).contains(&questions(&rig)), "{} questions in 10 s", questions(&rig));
    assert_eq!(rig.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn both_kinds_of_403_are_told_apart_while_they_come_mixed() {
    let rig = Rig::new();
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .confirm_with_introspection(confirm(&rig))
        .layer(backend(&rig));
    assert_eq!(status(&service, get("/stock")).await, 200);
    for restart in 1..=10 {
        assert_eq!(status(&service, delete("/stock")).await, 403);
        sleep_ms(500).await;
        rig.issuer.restart();
        assert_eq!(status(&service, get("/stock")).await, 200, "restart {restart}");
        assert_eq!(status(&service, delete("/stock")).await, 403);
        assert_eq!(rig.exchanges(), 1 + restart, "only for the dead");
        sleep_ms(500).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_server_does_not_say_the_403_is_the_answer() {
    for fault in [
        Fault::Status(500),
        Fault::Status(401),
        Fault::Reset,
        Fault::Garbage(b"<html>"[..].into()),
        Fault::Hang,
    ] {
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Introspection, fault.clone());
        let backend = backend(&rig);
        let service = RetryInvalidTokenLayer::new(rig.tokens())
            .confirm_with_introspection(confirm(&rig))
            .layer(backend.clone());
        let mut calls = JoinSet::new();
        for _ in 0..1000 {
            calls.spawn(service.clone().oneshot(delete("/stock")));
            sleep_ms(10).await;
        }
        assert_eq!(statuses(calls).await, [403; 1000], "{fault:?}");
        assert!(questions(&rig) <= 6, "{} questions in 10 s, {fault:?}", questions(&rig));
        assert_eq!((rig.exchanges(), backend.calls()), (1, 1000), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_server_calls_dead_is_never_asked_about_again() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let service = RetryInvalidTokenLayer::new(tokens.clone())
        .confirm_with_introspection(confirm(&rig))
        .layer(backend(&rig));
    let old = tokens.fetch(Need::Any).await.unwrap();
    rig.issuer.restart();
    assert_eq!(status(&service, get("/stock")).await, 200);
    for n in 0..100 {
        // Stamped by somebody before the restart, sent after it.
        let mut late = get(&format!("/stock/{n}"));
        late.headers_mut().insert(http::header::AUTHORIZATION, old.header().clone());
        assert_eq!(status(&service, late).await, 200);
    }
    assert_eq!((questions(&rig), rig.exchanges()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn any_policy_can_be_asked_about_and_those_that_are_sure_are_not() {
    let rig = Rig::new();
    let bare = rig.issuer.resource().refuse_with(Refusal::Bare);
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .with_policy(StandardPolicy.or(BareUnauthorized.ambiguous()))
        .confirm_with_introspection(confirm(&rig))
        .layer(bare.clone());
    assert_eq!(status(&service, get("/stock")).await, 200);
    rig.issuer.restart();
    assert_eq!(status(&service, get("/stock")).await, 200);
    assert_eq!((questions(&rig), rig.exchanges()), (1, 2));

    let sure = RetryInvalidTokenLayer::new(rig.tokens())
        .with_policy(StandardPolicy.or(BareUnauthorized))
        .confirm_with_introspection(confirm(&rig))
        .layer(bare.clone());
    assert_eq!(status(&sure, get("/stock")).await, 200);
    rig.issuer.restart();
    assert_eq!(status(&sure, get("/stock")).await, 200);
    assert_eq!(questions(&rig), 1);

    let nobody_to_ask = RetryInvalidTokenLayer::new(rig.tokens())
        .with_policy(StandardPolicy.or(BareUnauthorized.ambiguous()))
        .layer(bare);
    assert_eq!(status(&nobody_to_ask, get("/stock")).await, 200);
    rig.issuer.restart();
    assert_eq!(status(&nobody_to_ask, get("/stock")).await, 401);
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_is_found_by_discovery() {
    let rig = Rig::new();
    let http = HttpClient::new(rig.issuer.service());
    let issuer = rig.issuer.issuer();
    let confirm = ConfirmWithIntrospection::issuer(&issuer, "orders", SECRET, http).unwrap();
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .confirm_with_introspection(confirm)
        .layer(backend(&rig));
    assert_eq!(status(&service, get("/stock")).await, 200);
    rig.issuer.restart();
    assert_eq!(status(&service, get("/stock")).await, 200);
    assert_eq!((questions(&rig), rig.issuer.calls(Endpoint::Discovery)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_is_not_held_up_by_the_question() {
    let rig = Rig::new();
    let hangs = service_fn(|_: Secret| pending::<Result<IntrospectionResponse, Error>>());
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .with_clock(rig.clock)
        .confirm_with_introspection(ConfirmWithIntrospection::service(hangs))
        .layer(backend(&rig));
    assert_eq!(status(&service, get("/stock")).await, 200);
    let start = rig.clock.ms();
    let mut request = delete("/stock");
    request.headers_mut().insert("grpc-timeout", "100m".parse().unwrap());
    assert_eq!(status(&service, request).await, 403);
    assert_eq!(rig.clock.ms() - start, 100);
}

#[tokio::test(start_paused = true)]
async fn a_service_of_ones_own_is_asked_with_the_bare_token() {
    let rig = Rig::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, known) = (Arc::clone(&asked), rig.issuer.clone());
    let own = service_fn(move |token: Secret| {
        count.fetch_add(1, SeqCst);
        let active = known.is_active(token.expose());
        async move {
            if active {
                Err(ErrorKind::Full.into())
            } else {
                Ok::<_, Error>(IntrospectionResponse::Inactive)
            }
        }
    });
    let service = RetryInvalidTokenLayer::new(rig.tokens())
        .confirm_with_introspection(ConfirmWithIntrospection::service(own))
        .layer(backend(&rig));
    assert_eq!(status(&service, get("/stock")).await, 200);
    rig.issuer.restart();
    assert_eq!(status(&service, get("/stock")).await, 200);
    assert_eq!((asked.load(SeqCst), rig.exchanges()), (1, 2));
}

#[test]
fn an_address_that_cannot_be_meant_is_refused() {
    let http = || {
        HttpClient::new(service_fn(|_: Request<Full<Bytes>>| async {
            Ok::<_, std::io::Error>(http::Response::new(Full::<Bytes>::default()))
        }))
    };
    assert!(ConfirmWithIntrospection::endpoint("http://a.example/", "a", "b", http()).is_err());
    assert!(ConfirmWithIntrospection::issuer("a.example", "a", "b", http()).is_err());
}
