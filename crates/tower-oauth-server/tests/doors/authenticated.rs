use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_server::{Authenticated, Rejection, RequireTokenLayer};

use crate::support::*;

/// The extensions with which a request came in.
async fn let_in(layer: &RequireTokenLayer, request: Request<()>) -> Extensions {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = layer.layer(service_fn(move |request: Request<()>| {
        *keep.lock().unwrap() = Some(request.into_parts().0.extensions);
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    }));
    service.oneshot(request).await.unwrap();
    let extensions = kept.lock().unwrap().take();
    extensions.expect("the request was refused")
}

#[tokio::test]
async fn the_proof_tells_who_called() {
    for token in [ALICE, CAROL] {
        let extensions = let_in(&table(), with_token(token)).await;
        let caller = Authenticated::<Claims>::from_extensions(&extensions).unwrap();
        assert_eq!(caller.subject(), Some(token));
        assert_eq!(caller.client_id(), Some("orders"));
        assert_eq!(caller.issuer(), "https://idp.example");
        assert_eq!(caller.token_id(), Some("jti-1"));
        assert_eq!(caller.session_id(), Some("sid-1"));
        assert_eq!(caller.issued_at(), Some(Duration::from_secs(1_700_000_000)));
        assert_eq!(caller.expires_at(), Duration::from_secs(4_000_000_000));
        assert_eq!((caller.valid_until(), caller.confirmation()), (caller.expires_at(), None));
        assert!(caller.scopes().contains("stock.read"));
        assert_eq!(caller.claims(), &Claims { tenant: "acme" });
        assert_eq!(caller.clone().subject(), caller.subject());
    }
}

#[tokio::test]
async fn the_layer_leaves_one_thing_in_the_extensions() {
    assert_eq!(let_in(&table(), with_token(ALICE)).await.len(), 1);
}

#[tokio::test]
async fn a_proof_that_came_from_outside_is_replaced() {
    let smuggled = let_in(&table(), with_token(ALICE)).await;
    let smuggle = |mut request: Request<()>| {
        request.extensions_mut().extend(smuggled.clone());
        request
    };
    // The smuggled proof is a good one: without a door it would be taken for what it says.
    let open = seen(service_fn(greet), smuggle(get("/", &[]))).await;
    assert_eq!(open.body, "alice");

    for (layer, request, expected) in [
        (table(), with_token(BOB), "bob"),
        (table(), with_token(CAROL), "carol-later"),
        (table().allow_anonymous(), get("/", &[]), "anonymous"),
    ] {
        assert_eq!(ask(&layer, smuggle(request)).await.body, expected);
    }
    assert_eq!(ask(&table(), smuggle(get("/", &[]))).await.status, 401);
    assert_eq!(ask(&table(), smuggle(with_token(EXPIRED_LATER))).await.status, 401);
}

#[tokio::test]
async fn of_two_doors_the_inner_one_counts() {
    let service = table().layer(table().layer(service_fn(greet)));
    assert_eq!(seen(service, with_token(ALICE)).await.body, "alice");
    let service = table().allow_anonymous().layer(table().layer(service_fn(greet)));
    assert_eq!(seen(service, get("/", &[])).await.status, 401);
}

#[tokio::test]
async fn claims_of_another_type_are_a_clear_misconfiguration() {
    let extensions = let_in(&table(), with_token(ALICE)).await;
    let rejection = Authenticated::<String>::from_extensions(&extensions).unwrap_err();
    assert!(matches!(rejection, Rejection::Misconfigured(how) if how.contains("another type")));
    assert_eq!((rejection.status().as_u16(), rejection.grpc_code()), (500, 13));
}

#[test]
fn without_the_layer_there_is_no_proof() {
    let rejection = Authenticated::<Claims>::from_extensions(&Extensions::new()).unwrap_err();
    assert!(
        matches!(rejection, Rejection::Misconfigured(how) if how.contains("RequireTokenLayer"))
    );
}

#[tokio::test]
async fn the_anonymous_are_missing_and_not_a_misconfiguration() {
    let extensions = let_in(&table().allow_anonymous(), get("/", &[])).await;
    let rejection = Authenticated::<Claims>::from_extensions(&extensions).unwrap_err();
    assert_eq!(rejection, Rejection::Missing);
}

#[tokio::test]
async fn debug_shows_neither_claims_nor_subject() {
    let extensions = let_in(&table(), with_token(ALICE)).await;
    let caller = Authenticated::<Claims>::from_extensions(&extensions).unwrap();
    let shown = format!("{caller:?} {extensions:?}");
    assert!(shown.contains("https://idp.example"));
    assert!(!shown.contains("acme") && !shown.contains(ALICE), "{shown}");
}
