//! Protected resource metadata, and its address in the challenges.

use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use http::{Method, Request};
use serde_json::{Value, json};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth_server::{Authenticated, RequireScopeLayer, ResourceMetadata};

use crate::support::*;

const RESOURCE: &str = "https://api.example.com/inventory";

fn metadata() -> ResourceMetadata {
    ResourceMetadata::builder(RESOURCE)
        .authorization_server("https://idp.example.com/realms/shop")
        .authorization_server("https://login.example.com")
        .scopes_supported(["stock.read", "stock.write"])
        .resource_name("Stock \"and\" more")
        .resource_documentation("https://docs.example.com")
        .resource_policy_uri("https://docs.example.com/policy")
        .dpop_bound_access_tokens_required(false)
        .dpop_signing_alg_values_supported(["ES256"])
        .tls_client_certificate_bound_access_tokens(true)
        .build()
        .unwrap()
}

#[test]
fn the_document_says_what_it_was_told_and_that_tokens_go_in_the_header() {
    let document: Value = serde_json::from_slice(metadata().json()).unwrap();
    assert_eq!(
        document,
        json!({
            "resource": RESOURCE,
            "authorization_servers": [
                "https://idp.example.com/realms/shop", "https://login.example.com"
            ],
            "scopes_supported": ["stock.read", "stock.write"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Stock \"and\" more",
            "resource_documentation": "https://docs.example.com",
            "resource_policy_uri": "https://docs.example.com/policy",
            "dpop_bound_access_tokens_required": false,
            "dpop_signing_alg_values_supported": ["ES256"],
            "tls_client_certificate_bound_access_tokens": true,
        })
    );
    let least = ResourceMetadata::builder("https://a.example").build().unwrap();
    let document: Value = serde_json::from_slice(least.json()).unwrap();
    // RFC 9728 §3.2: members with nothing in them are left out.
    let expected =
        json!({ "resource": "https://a.example", "bearer_methods_supported": ["header"] });
    assert_eq!(document, expected);
}

#[test]
fn what_is_no_url_or_no_scope_is_refused_by_the_builder_by_its_name() {
    let good = || ResourceMetadata::builder(RESOURCE);
    let cases = [
        ("resource", ResourceMetadata::builder("inventory")),
        ("resource", ResourceMetadata::builder("http://api.example.com")),
        ("resource", ResourceMetadata::builder("https://api.example.com/#a")),
        ("resource", ResourceMetadata::builder("https://api.example.com/?a=b")),
        ("resource", ResourceMetadata::builder("https://api.example.com/\"")),
        ("authorization_server", good().authorization_server("idp.example.com")),
        ("authorization_server", good().authorization_server("http://idp.example.com")),
        ("scopes_supported", good().scopes_supported(["a b"])),
        ("scopes_supported", good().scopes_supported([""])),
        ("resource_documentation", good().resource_documentation("javascript:alert(1)")),
        ("resource_policy_uri", good().resource_policy_uri("")),
    ];
    for (option, builder) in cases {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{option} `")), "{error}");
    }
}

#[tokio::test]
async fn it_is_served_without_a_token_as_a_route_and_as_a_layer() {
    async fn stock(_: Authenticated<Claims>) -> &'static str {
        "stock"
    }
    let metadata = metadata();
    let door = table().resource_metadata(&metadata);
    let app = Router::new()
        .route("/", on_get(stock))
        .layer(door.clone())
        .route_service(metadata.path(), metadata.clone())
        .map_request(|request: Request<()>| request.map(|()| axum::body::Body::empty()));
    let stack =
        ServiceBuilder::new().layer(metadata.clone()).layer(door).service(service_fn(greet));
    let ask =
        |method: &Method| Request::builder().method(method).uri(metadata.uri()).body(()).unwrap();
    for method in [Method::GET, Method::HEAD, Method::POST] {
        for answer in
            [seen(app.clone(), ask(&method)).await, seen(stack.clone(), ask(&method)).await]
        {
            if method == Method::POST {
                assert_eq!(
                    (answer.status.as_u16(), answer.header("allow")),
                    (405, Some("GET, HEAD"))
                );
                continue;
            }
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
            let length = metadata.json().len().to_string();
            assert_eq!(answer.header("content-length"), Some(length.as_str()));
            let body = if method == Method::GET { metadata.json() } else { b"" };
            assert_eq!(answer.body.as_bytes(), body);
        }
    }
    // Everything else is behind the door.
    for answer in [seen(app.clone(), get("/", &[])).await, seen(stack.clone(), get("/", &[])).await]
    {
        assert_eq!(answer.status, 401);
    }
    assert_eq!(seen(app, with_token(ALICE)).await.body, "stock");
    assert_eq!(seen(stack, with_token(ALICE)).await.body, "alice");
}

#[tokio::test]
async fn how_long_it_may_be_cached_can_be_said() {
    let metadata = ResourceMetadata::builder(RESOURCE).max_age(Duration::from_secs(60));
    let answer = metadata.build().unwrap().oneshot(get("/", &[])).await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "public, max-age=60");
}

#[tokio::test]
async fn h05_the_challenge_names_the_metadata_if_that_is_configured() {
    let uri = "https://api.example.com/.well-known/oauth-protected-resource/inventory";
    let named = format!("resource_metadata=\"{uri}\"");
    let door = table().realm("shop").unwrap().resource_metadata(&metadata());
    let scope = RequireScopeLayer::all(["stock.write"]);
    let service = ServiceBuilder::new().layer(door).layer(scope).service(service_fn(greet));
    let cases = [
        (get("/", &[]), Some(format!("Bearer realm=\"shop\", {named}"))),
        (
            with_token(EXPIRED),
            Some(format!(
                "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"the token has expired\", {named}"
            )),
        ),
        (
            with_token(CAROL),
            Some(format!(
                "Bearer realm=\"shop\", error=\"insufficient_scope\", error_description=\"the token has not enough scope\", scope=\"stock.write\", {named}"
            )),
        ),
        (with_token(OUTAGE), None),
    ];
    for (request, challenge) in cases {
        for request in [request.clone(), grpc(request)] {
            let answer = seen(service.clone(), request).await;
            assert_eq!(answer.header("www-authenticate"), challenge.as_deref());
        }
    }
    // Not configured: not named.
    let plain = ask(&table(), get("/", &[])).await;
    assert_eq!(plain.header("www-authenticate"), Some("Bearer"));
    let layered = metadata().layer(3);
    assert_eq!(*layered.get_ref(), 3);
}
