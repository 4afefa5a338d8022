use http::Request;
use tower::{Layer, ServiceBuilder, service_fn};
use tower_oauth_core::Scopes;
use tower_oauth_server::{Rejection, RequireScopeLayer, RequireTokenLayer};

use crate::support::*;

async fn through(
    door: &RequireTokenLayer,
    scope: &RequireScopeLayer,
    request: Request<()>,
) -> Seen {
    let service = ServiceBuilder::new().layer(door).layer(scope).service(service_fn(greet));
    seen(service, request).await
}

#[tokio::test]
async fn scope_is_matched_by_whole_tokens() {
    let all = |scopes: &[&str]| RequireScopeLayer::all(scopes.to_vec());
    let any = |scopes: &[&str]| RequireScopeLayer::any(scopes.to_vec());
    // Alice has `stock.read stock.write`, Bob `stock.reader`, Carol `stock.read`.
    let cases = [
        (all(&["stock.read"]), ALICE, 200),
        (all(&["stock.read", "stock.write"]), ALICE, 200),
        (all(&["stock.read", "stock.admin"]), ALICE, 403),
        (all(&["stock"]), ALICE, 403),
        (all(&["Stock.Read"]), ALICE, 403),
        (all(&["stock.read"]), BOB, 403),
        (all(&["stock.read"]), CAROL, 200),
        (all(&["stock.write"]), CAROL, 403),
        (any(&["stock.admin", "stock.write"]), ALICE, 200),
        (any(&["stock.admin", "stock.write"]), CAROL, 403),
        (any(&["stock.admin"]), ALICE, 403),
    ];
    for (layer, token, status) in cases {
        let answer = through(&table(), &layer, with_token(token)).await;
        assert_eq!(answer.status, status, "{layer:?} {token}");
    }
}

#[tokio::test]
async fn not_enough_scope_is_403_with_what_is_needed_and_the_realm_of_the_door() {
    let door = table().realm("shop").unwrap();
    let scope = RequireScopeLayer::all(["stock.write", "stock.read"]);
    let challenge = "Bearer realm=\"shop\", error=\"insufficient_scope\", \
                     error_description=\"the token has not enough scope\", scope=\"stock.read stock.write\"";
    let answer = through(&door, &scope, with_token(BOB)).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
    let required = Scopes::parse("stock.read stock.write");
    assert_eq!(answer.rejection, Some(Rejection::InsufficientScope { required }));

    let answer = through(&door, &scope, grpc(with_token(BOB))).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("7")));
    assert_eq!(answer.header("grpc-message"), Some("the token has not enough scope"));
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
}

#[tokio::test]
async fn without_the_door_outside_every_request_is_a_clear_500() {
    let service = RequireScopeLayer::all(["stock.read"]).layer(service_fn(greet));
    let answer = seen(service.clone(), with_token(ALICE)).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("no RequireTokenLayer is above this route"), "{}", answer.body);
    assert_eq!(answer.header("www-authenticate"), None);
    assert!(matches!(answer.rejection, Some(Rejection::Misconfigured(_))));
    let answer = seen(service, grpc(with_token(ALICE))).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("13")));
}

#[tokio::test]
async fn layers_in_the_wrong_order_fail_closed() {
    let service = ServiceBuilder::new()
        .layer(RequireScopeLayer::all(["stock.read"]))
        .layer(table())
        .service(service_fn(greet));
    assert_eq!(seen(service, with_token(ALICE)).await.status, 500);
}

#[tokio::test]
async fn a_scope_that_no_token_can_have_refuses_everybody_and_is_told_at_the_start() {
    for bad in [vec![], vec![""], vec!["stock read"], vec!["stock.read", "a\"b"], vec!["ä"]] {
        for layer in [RequireScopeLayer::all(bad.clone()), RequireScopeLayer::any(bad.clone())] {
            let answer = through(&table(), &layer, with_token(ALICE)).await;
            assert_eq!(answer.status, 500, "{bad:?}");
            assert!(layer.checked().is_err(), "{bad:?}");
        }
    }
    let layer = RequireScopeLayer::all(["stock.read"]).checked().unwrap();
    assert_eq!(through(&table(), &layer, with_token(ALICE)).await.status, 200);
    let error = RequireScopeLayer::any(["stock read"]).checked().unwrap_err();
    assert!(error.to_string().contains("stock read"), "{error}");
}

#[tokio::test]
async fn the_anonymous_have_no_scope_and_are_asked_for_a_token() {
    let door = table().allow_anonymous().realm("shop").unwrap();
    let answer = through(&door, &RequireScopeLayer::all(["stock.read"]), get("/", &[])).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"shop\""));
}

#[tokio::test]
async fn a_preflight_that_the_door_let_in_passes() {
    let door = table().allow_cors_preflight();
    let mut request = Request::options("/").body(()).unwrap();
    request.headers_mut().insert("access-control-request-method", "PUT".parse().unwrap());
    let answer = through(&door, &RequireScopeLayer::all(["stock.read"]), request).await;
    assert_eq!(answer.status, 200);
}
