//! Readiness from the health of key sets, in axum and on a bare hyper server.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Method, Request};
use tower::ServiceExt;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::KeySet;
use tower_oauth_server::{Jwks, JwksHealth, Readiness};
use tower_oauth_test::{Endpoint, ManualClock, ScriptedIssuer};

use crate::support::{get, seen};

struct House {
    issuer: ScriptedIssuer,
    clock: ManualClock,
    jwks: Jwks,
}

fn house() -> House {
    let clock = ManualClock::new();
    let issuer = ScriptedIssuer::builder().clock(clock.clone()).build().unwrap();
    let jwks = Jwks::issuer(issuer.issuer())
        .http_client(HttpClient::new(issuer.service()))
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    House { issuer, clock, jwks }
}

#[tokio::test]
async fn a_probe_tells_fresh_stale_and_unavailable_and_nothing_else() {
    let House { issuer, clock, jwks } = house();
    let probe = Readiness::new(jwks.clone());
    issuer.go_dark();
    let dark = seen(probe.clone(), get("/anything", &[])).await;
    assert_eq!((dark.status.as_u16(), dark.body.as_str()), (503, r#"{"status":"unavailable"}"#));
    assert_eq!(dark.header("cache-control"), Some("no-store"));
    assert!(matches!(jwks.health(), JwksHealth::Unavailable { cause: Some(_) }));

    // No request has come, and none will before it is ready: the probe itself fetches.
    issuer.light_up().unwrap();
    clock.advance(Duration::from_secs(2));
    let fresh = seen(probe.clone(), get("/", &[])).await;
    assert_eq!((fresh.status.as_u16(), fresh.body.as_str()), (200, r#"{"status":"fresh"}"#));
    assert_eq!(issuer.calls(Endpoint::Jwks), 1);
    seen(probe.clone(), get("/", &[])).await;
    assert_eq!(issuer.calls(Endpoint::Jwks), 1);

    issuer.go_dark();
    clock.advance(Duration::from_secs(3 * 3600));
    let stale = seen(probe.clone(), get("/", &[])).await;
    let JwksHealth::Stale { left } = jwks.health() else { panic!("{:?}", jwks.health()) };
    assert_eq!(stale.status, 200);
    assert_eq!(stale.body, format!(r#"{{"status":"stale","seconds_left":{}}}"#, left.as_secs()));

    clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(seen(probe, get("/", &[])).await.status, 503);
}

#[tokio::test]
async fn of_several_sets_the_worst_one_counts() {
    let keys = KeySet::from_jwks(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let fixed = Jwks::fixed(keys.unwrap()).unwrap();
    let House { issuer, jwks, .. } = house();
    let both = Readiness::new(fixed.clone()).and(jwks.clone());
    issuer.go_dark();
    assert_eq!(seen(both, get("/", &[])).await.status, 503);
    assert_eq!(seen(Readiness::new(jwks).and(fixed.clone()), get("/", &[])).await.status, 503);
    assert_eq!(seen(Readiness::new(fixed.clone()).and(fixed), get("/", &[])).await.status, 200);
}

#[tokio::test]
async fn it_is_a_route_of_axum_and_a_head_has_no_body() {
    let House { jwks, .. } = house();
    let app = Router::new()
        .route_service("/ready", Readiness::new(jwks))
        .map_request(|request: Request<()>| request.map(|()| axum::body::Body::empty()));
    let mut request = get("/ready", &[]);
    let full = seen(app.clone(), request.clone()).await;
    *request.method_mut() = Method::HEAD;
    let head = seen(app, request).await;
    assert_eq!((full.status.as_u16(), head.status.as_u16()), (200, 200));
    assert_eq!((full.body.as_str(), head.body.as_str()), (r#"{"status":"fresh"}"#, ""));
    assert_eq!(head.header("content-length"), full.header("content-length"));
}
