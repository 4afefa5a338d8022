//! The rules, the refusals and what stands outside the door.

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;
use tower_oauth::HttpClient;
use tower_oauth_test::{ScriptedIssuer, TokenSpec};

use super::*;

fn issuer_and_app() -> (ScriptedIssuer, Router) {
    let issuer = ScriptedIssuer::builder().audience("inventory").build().unwrap();
    let jwt = Jwt::issuer(issuer.issuer())
        .audience("inventory")
        .claims::<Caller>()
        .http_client(HttpClient::new(issuer.service()))
        .build()
        .unwrap();
    let app = app(jwt, &issuer.issuer()).unwrap();
    (issuer, app)
}

async fn status(app: &Router, method: &str, token: Option<&str>) -> u16 {
    ask(app, method, "/stock/bolt-m8", token).await.status().as_u16()
}

async fn ask(app: &Router, method: &str, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_rule_of_one_route_looks_at_the_claims() {
    let (issuer, app) = issuer_and_app();
    let reader = issuer.mint(TokenSpec::new().scope("inventory.read inventory.write"));
    let keeper = issuer.mint(TokenSpec::new().claim("roles", vec!["storekeeper"]));
    assert_eq!(status(&app, "DELETE", Some(&reader)).await, 403);
    assert_eq!(status(&app, "DELETE", Some(&keeper)).await, 204);
    // The other routes do not know the rule, nor does the rule know them.
    assert_eq!(status(&app, "GET", Some(&keeper)).await, 403);
}

#[tokio::test]
async fn a_refusal_is_a_problem_and_names_the_metadata_which_is_open_to_all() {
    let (issuer, app) = issuer_and_app();
    let refused = ask(&app, "GET", "/stock/bolt-m8", None).await;
    let metadata = "/.well-known/oauth-protected-resource";
    let challenge = format!("Bearer resource_metadata=\"http://127.0.0.1:3000{metadata}\"");
    assert_eq!(refused.headers()["www-authenticate"], challenge);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let problem = axum::body::to_bytes(refused.into_body(), 1 << 16).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
    assert_eq!(problem["type"], "https://inventory.example/problems/missing");
    assert_eq!(problem["instance"], "/stock/bolt-m8");

    let document = ask(&app, "GET", metadata, None).await;
    assert_eq!(document.status(), 200);
    let document = axum::body::to_bytes(document.into_body(), 1 << 16).await.unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["authorization_servers"][0], issuer.issuer());

    assert_eq!(ask(&app, "GET", "/ready", None).await.status(), 200);
}
