//! axum: the layers where they belong, and the traps of its routers, which fail closed.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{any, get as on_get};
use http::Request;
use tower::{ServiceBuilder, ServiceExt};
use tower_oauth_core::Scopes;
use tower_oauth_server::{Authenticated, NotAuthenticated, Rejection, RequireScopeLayer};

use crate::support::*;

async fn takes_the_caller(caller: Authenticated<Claims>) -> String {
    format!("{} of {}", caller.subject().unwrap(), caller.claims().tenant)
}

async fn takes_nothing() -> &'static str {
    "open"
}

async fn over(app: &Router, request: Request<()>) -> Seen {
    let app =
        app.clone().map_request(|request: Request<()>| request.map(|()| axum::body::Body::empty()));
    seen(app, request).await
}

fn to(uri: &str, mut request: Request<()>) -> Request<()> {
    *request.uri_mut() = uri.parse().unwrap();
    request
}

#[tokio::test]
async fn the_example_of_the_design() {
    let app = Router::new()
        .route("/stock", on_get(takes_the_caller))
        .route_layer(RequireScopeLayer::all(["stock.read"]))
        .layer(table());
    let cases = [
        (with_token(ALICE), 200, "alice of acme"),
        (with_token(CAROL), 200, "carol-later of acme"),
        (get("/", &[]), 401, ""),
        (with_token(BOB), 403, "insufficient_scope"),
        (with_token(OUTAGE_LATER), 503, "temporarily_unavailable"),
    ];
    for (request, status, body) in cases {
        let answer = over(&app, to("/stock", request)).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains(body), "{}", answer.body);
    }
}

#[tokio::test]
async fn any_state_will_do() {
    #[derive(Clone)]
    struct State;
    let app: Router =
        Router::new().route("/", on_get(takes_the_caller)).layer(table()).with_state(State);
    assert_eq!(over(&app, with_token(ALICE)).await.status, 200);
}

#[tokio::test]
async fn trap_a_route_added_after_the_layer_is_open_unless_its_handler_takes_the_caller() {
    let app = Router::new()
        .route("/early", on_get(takes_nothing))
        .layer(table())
        .route("/late/open", on_get(takes_nothing))
        .route("/late/closed", on_get(takes_the_caller));
    assert_eq!(over(&app, to("/early", get("/", &[]))).await.status, 401);
    // This is the trap: axum puts a layer round the routes that are there already.
    assert_eq!(over(&app, to("/late/open", get("/", &[]))).await.body, "open");
    // And this closes it, even to a caller with a good token.
    for request in [get("/", &[]), with_token(ALICE)] {
        let answer = over(&app, to("/late/closed", request)).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains("no RequireTokenLayer is above this route"));
        assert!(matches!(answer.rejection, Some(Rejection::Misconfigured(_))));
    }
}

#[tokio::test]
async fn trap_layer_and_service_builder_read_in_opposite_order() {
    let scope = || RequireScopeLayer::all(["stock.read"]);
    let router = || Router::new().route("/", on_get(takes_the_caller));
    let apps = [
        ("layer: the last is the outermost", router().layer(scope()).layer(table()), 200),
        ("layer: the other way round", router().layer(table()).layer(scope()), 500),
        (
            "ServiceBuilder: the first is the outermost",
            router().layer(ServiceBuilder::new().layer(table()).layer(scope())),
            200,
        ),
        (
            "ServiceBuilder: the other way round",
            router().layer(ServiceBuilder::new().layer(scope()).layer(table())),
            500,
        ),
    ];
    for (name, app, status) in apps {
        assert_eq!(over(&app, with_token(ALICE)).await.status, status, "{name}");
        // Whatever the order, nobody comes in without a token.
        let refused = over(&app, get("/", &[])).await.status;
        assert!(refused == 401 || refused == 500, "{name}: {refused}");
    }
}

#[tokio::test]
async fn trap_layer_covers_the_fallback_and_route_layer_does_not() {
    let router = || Router::new().route("/", on_get(takes_nothing));
    let everything = router().layer(table());
    assert_eq!(over(&everything, to("/unknown", get("/", &[]))).await.status, 401);
    let routes = router().route_layer(table());
    assert_eq!(over(&routes, to("/unknown", get("/", &[]))).await.status, 404);
    assert_eq!(over(&routes, get("/", &[])).await.status, 401);
}

#[tokio::test]
async fn trap_a_router_that_is_merged_later_is_not_behind_the_layer() {
    let late = Router::new().route("/late", on_get(takes_the_caller));
    let app = Router::new().route("/", on_get(takes_the_caller)).layer(table()).merge(late);
    assert_eq!(over(&app, with_token(ALICE)).await.status, 200);
    assert_eq!(over(&app, to("/late", with_token(ALICE))).await.status, 500);
}

#[tokio::test]
async fn trap_an_allowed_preflight_runs_a_handler_for_any_method_unless_it_takes_the_caller() {
    let app = Router::new()
        .route("/open", any(takes_nothing))
        .route("/closed", any(takes_the_caller))
        .layer(table().allow_cors_preflight());
    let preflight = |uri: &str| {
        Request::options(uri).header("access-control-request-method", "PUT").body(()).unwrap()
    };
    assert_eq!(over(&app, preflight("/open")).await.status, 200);
    assert_eq!(over(&app, preflight("/closed")).await.status, 401);
}

#[tokio::test]
async fn claims_of_another_type_are_a_clear_500_over_both_protocols() {
    async fn wrong(_: Authenticated<String>) {}
    let app = Router::new().route("/", any(wrong)).layer(table());
    let answer = over(&app, with_token(ALICE)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.body,
        "{\"error\":\"server_error\",\"error_description\":\
         \"the handler asks for claims of another type than the authenticator gives\"}"
    );
    let answer = over(&app, grpc(with_token(ALICE))).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("13")));
    assert_eq!(answer.header("content-type"), Some("application/grpc+proto"));
}

#[tokio::test]
async fn an_optional_caller_is_none_only_where_the_door_lets_in_the_anonymous() {
    async fn maybe(caller: Option<Authenticated<Claims>>) -> String {
        caller.map_or("anonymous".into(), |caller| caller.subject().unwrap().into())
    }
    async fn maybe_wrong(_: Option<Authenticated<String>>) {}
    let router = || {
        Router::new()
            .route("/", on_get(maybe))
            .route("/wrong", on_get(maybe_wrong))
            .route("/must", on_get(takes_the_caller))
    };
    let app = router().layer(table().allow_anonymous().realm("shop").unwrap());
    assert_eq!(over(&app, get("/", &[])).await.body, "anonymous");
    assert_eq!(over(&app, with_token(ALICE)).await.body, "alice");
    assert_eq!(over(&app, with_token(EXPIRED)).await.status, 401);
    assert_eq!(over(&app, to("/wrong", with_token(ALICE))).await.status, 500);
    let must = over(&app, to("/must", get("/", &[]))).await;
    assert_eq!(must.status, 401);
    assert_eq!(must.header("www-authenticate"), Some("Bearer realm=\"shop\""));
    // No layer at all: not "anonymous", but a mistake.
    assert_eq!(over(&router(), get("/", &[])).await.status, 500);
}

#[tokio::test]
async fn a_handler_may_refuse_by_itself() {
    async fn admin(caller: Authenticated<Claims>) -> Result<&'static str, Rejection> {
        let required = Scopes::parse("stock.admin");
        if caller.scopes().contains_all(&required) {
            Ok("admin")
        } else {
            Err(Rejection::InsufficientScope { required })
        }
    }
    let app = Router::new().route("/", on_get(admin)).layer(table());
    let answer = over(&app, with_token(ALICE)).await;
    assert_eq!(answer.status, 403);
    assert!(answer.header("www-authenticate").unwrap().contains("scope=\"stock.admin\""));
    assert!(answer.rejection.is_some());
}

#[tokio::test]
async fn the_extractors_rejection_can_be_looked_at() {
    let (mut head, ()) = Request::new(()).into_parts();
    let rejected: NotAuthenticated = <Authenticated<Claims> as axum::extract::FromRequestParts<
        (),
    >>::from_request_parts(&mut head, &())
    .await
    .unwrap_err();
    assert!(matches!(rejected.rejection(), Rejection::Misconfigured(_)));
    assert!(rejected.to_string().contains("RequireTokenLayer"));
    assert_eq!(rejected.into_response().status(), 500);
}
