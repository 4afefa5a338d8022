//! How a service behind the door is tested: against a scripted issuer, in process, without a socket.

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;
use tower_oauth::HttpClient;
use tower_oauth_test::{Endpoint, Rotation, ScriptedIssuer, TokenSpec};

use super::*;

fn issuer_and_app() -> (ScriptedIssuer, Router) {
    let issuer = ScriptedIssuer::builder().audience("inventory").build().unwrap();
    let jwt = Jwt::issuer(issuer.issuer())
        .audience("inventory")
        .claims::<Caller>()
        .http_client(HttpClient::new(issuer.service()))
        .build()
        .unwrap();
    (issuer, app(jwt))
}

async fn status(app: &Router, method: &str, token: Option<&str>) -> u16 {
    let mut request = Request::builder()
        .method(method)
        .uri("/stock/bolt-m8")
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if method == "PUT" { Body::from("7") } else { Body::empty() };
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn a_token_lets_in_and_its_scope_decides_how_far() {
    let (issuer, app) = issuer_and_app();
    let reader = issuer.mint(TokenSpec::new().scope("inventory.read"));
    let writer = issuer.mint(TokenSpec::new().scope("inventory.read inventory.write"));
    assert_eq!(status(&app, "GET", None).await, 401);
    assert_eq!(status(&app, "GET", Some("rubbish")).await, 401);
    assert_eq!(status(&app, "GET", Some(&reader)).await, 200);
    assert_eq!(status(&app, "PUT", Some(&reader)).await, 403);
    assert_eq!(status(&app, "PUT", Some(&writer)).await, 200);
    assert_eq!(issuer.calls(Endpoint::Jwks), 1);
}

#[tokio::test]
async fn a_key_rotation_refuses_nobody() {
    let (issuer, app) = issuer_and_app();
    let before = issuer.mint(TokenSpec::new().scope("inventory.read"));
    assert_eq!(status(&app, "GET", Some(&before)).await, 200);
    issuer.rotate(Rotation::Add);
    let after = issuer.mint(TokenSpec::new().scope("inventory.read"));
    assert_eq!(status(&app, "GET", Some(&after)).await, 200);
    assert_eq!(status(&app, "GET", Some(&before)).await, 200);
}
