//! Refusals in the application's own form.

use axum::Router;
use axum::routing::get as on_get;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_oauth_server::{
    Authenticated, Rejection, RequireClaimsLayer, RequireScopeLayer, RequireTokenLayer,
};

use crate::support::*;

/// Does everything that it may not, too.
fn problem(rejection: &Rejection, head: &Parts) -> Response<Bytes> {
    let problem = json!({ "title": rejection.code(), "instance": head.uri.path() });
    Response::builder()
        .status(200)
        .header("content-type", "application/problem+json")
        .header("www-authenticate", "Basic")
        .header("retry-after", "999")
        .header("cache-control", "public")
        .header("content-length", "7")
        .header("transfer-encoding", "chunked")
        .header("x-own", "kept")
        .body(Bytes::from(problem.to_string()))
        .unwrap()
}

fn door() -> RequireTokenLayer {
    table().realm("shop").unwrap().allow_anonymous().render_with(problem)
}

#[tokio::test]
async fn body_and_headers_are_the_applications_and_what_makes_it_a_refusal_is_ours() {
    let claims =
        RequireClaimsLayer::new(|caller: &Authenticated<Claims>| caller.subject() != Some("bob"));
    let service = ServiceBuilder::new()
        .layer(door())
        .layer(claims)
        .layer(RequireScopeLayer::all(["stock.write"]))
        .service(service_fn(greet));
    let cases = [
        (with_token(EXPIRED), "expired"),
        (with_token(EXPIRED_LATER), "expired"),
        (get("/", &[b"Bearer a, Bearer b"]), "several_credentials"),
        (get("/", &[]), "missing"),
        (with_token(CAROL), "insufficient_scope"),
        (with_token(BOB), "forbidden"),
        (with_token(OUTAGE), "unavailable"),
    ];
    for (request, code) in cases {
        let own = seen(service.clone(), request.clone()).await;
        let plain_door = table().realm("shop").unwrap().allow_anonymous();
        let plain = ServiceBuilder::new()
            .layer(plain_door)
            .layer(RequireClaimsLayer::new(|caller: &Authenticated<Claims>| {
                caller.subject() != Some("bob")
            }))
            .layer(RequireScopeLayer::all(["stock.write"]))
            .service(service_fn(greet));
        let plain = seen(plain, request.clone()).await;
        assert_eq!(own.status, plain.status, "{code}");
        for ours in ["www-authenticate", "retry-after", "cache-control"] {
            assert_eq!(own.header(ours), plain.header(ours), "{code} {ours}");
        }
        assert_eq!(own.rejection, plain.rejection);
        assert_eq!(own.header("content-type"), Some("application/problem+json"));
        assert_eq!(own.header("x-own"), Some("kept"));
        assert_eq!(own.header("transfer-encoding"), None);
        assert_eq!(own.header("content-length"), Some(own.body.len().to_string().as_str()));
        let body: Value = serde_json::from_str(&own.body).unwrap();
        assert_eq!(body, json!({ "title": code, "instance": "/" }));

        // Over gRPC there is no body to write.
        let called = seen(service.clone(), grpc(request)).await;
        assert_eq!((called.status.as_u16(), called.header("x-own")), (200, None));
        assert!(called.header("grpc-status").is_some());
    }
}

#[tokio::test]
async fn the_answer_to_a_head_stays_without_a_body() {
    let mut request = with_token(EXPIRED);
    *request.method_mut() = Method::HEAD;
    let head = ask(&door(), request).await;
    let get = ask(&door(), with_token(EXPIRED)).await;
    assert_eq!((head.body.as_str(), head.size), ("", (Some(0), true)));
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
}

#[tokio::test]
async fn the_extractor_follows_the_door() {
    async fn stock(_: Authenticated<Claims>) {}
    let app = Router::new()
        .route("/stock", on_get(stock))
        .layer(door())
        .map_request(|request: Request<()>| request.map(|()| axum::body::Body::empty()));
    let mut request = get("/", &[]);
    *request.uri_mut() = "/stock".parse().unwrap();
    let answer = seen(app, request).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"shop\""));
    assert_eq!(answer.body, r#"{"instance":"/stock","title":"missing"}"#);
}

#[tokio::test]
async fn an_empty_form_is_an_answer_without_a_body() {
    let silent = table().render_with(|_: &Rejection, _: &Parts| Response::new(Bytes::new()));
    let answer = ask(&silent, with_token(EXPIRED)).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (401, ""));
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(answer.headers["cache-control"], HeaderValue::from_static("no-store"));
}
