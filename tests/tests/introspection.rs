//! Opaque tokens, over axum and over tonic, against a real authorization server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use inventory_proto::Query;
use inventory_proto::inventory_client::InventoryClient;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use tower_oauth::{
    Authenticate, Introspection, Jwks, Jwt, JwtOrOpaque, Need, Outage, RequireScopeLayer,
    RequireTokenLayer, StandardClaims, TokenCache, TokenSource,
};
use tower_oauth_test::ManualClock;
use tower_oauth_tests::clients::{Grpc, Http};
use tower_oauth_tests::idp::{
    Fault, Idp, IdpConfig, RegisteredClient, Resource, Rotate, SigningAlg,
};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::raw_http;
use tower_oauth_tests::resource::{self, Server};

const ID: &str = "orders";
/// The resource server is a client of its own.
const API: &str = "ledger-api";
const LEDGER: &str = "https://ledger.test";
const INVENTORY: &str = "https://inventory.test";

fn secret(of: &str) -> String {
    format!("{CANARY}-{of}")
}

async fn start() -> Idp {
    logs::print();
    Idp::start(
        IdpConfig::new()
            .client(RegisteredClient::basic(ID, secret(ID)).scope("ledger.read inventory.read"))
            .client(RegisteredClient::post(API, secret(API)).scope("ledger.read"))
            .resource(Resource::opaque(LEDGER).scope("ledger.read"))
            .resource(Resource::jwt(INVENTORY, SigningAlg::Es256).scope("inventory.read")),
    )
    .await
}

fn introspection(idp: &Idp, clock: &ManualClock) -> Introspection {
    Introspection::issuer(idp.issuer())
        .client_credentials(API, secret(API))
        .audience(LEDGER)
        .client_secret_post()
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn tokens(idp: &Idp, resource: &str, scope: &str) -> TokenCache {
    TokenCache::builder()
        .issuer(idp.issuer())
        .client_credentials(ID, secret(ID))
        .scope(scope)
        .resource(resource)
        .build()
        .unwrap()
}

/// The value of the `Authorization` field with a token that is in no cache.
async fn bearer(idp: &Idp, resource: &str, scope: &str) -> String {
    let token = tokens(idp, resource, scope).fetch(Need::Any).await.unwrap();
    token.header().to_str().unwrap().to_owned()
}

/// As its client ends a token (RFC 7009).
async fn revoke(idp: &Idp, bearer: &str) {
    let token = bearer.strip_prefix("Bearer ").unwrap();
    let basic = BASE64_STANDARD.encode(format!("{ID}:{}", secret(ID)));
    let headers = [("authorization", &*format!("Basic {basic}"))];
    let answer = raw_http::post_form(&idp.url("/revoke"), &headers, &[("token", token)]).await;
    assert_eq!(answer.unwrap().status(), 200);
}

async fn status(server: &Server, bearer: &str) -> u16 {
    let url = format!("{}/whoami", server.uri());
    raw_http::call("GET", &url, &[("authorization", bearer)], "").await.unwrap().status()
}

/// What a tonic server says to a call with this field, if it refuses it.
async fn code(server: &Server, bearer: &str) -> Option<Code> {
    let channel = Channel::from_shared(server.uri().to_owned()).unwrap().connect_lazy();
    let mut request = tonic::Request::new(Query { limit: 1 });
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let answer = InventoryClient::new(channel).list(request).await;
    answer.err().map(|status| status.code())
}

async fn serve(authenticator: impl Authenticate<Claims = StandardClaims>) -> Server {
    resource::serve(resource::routes().layer(RequireTokenLayer::new(authenticator))).await
}

#[tokio::test]
async fn an_opaque_token_opens_both_doors_with_one_question_a_server() {
    let idp = start().await;
    let clock = ManualClock::new();
    let scope = RequireScopeLayer::all(["ledger.read"]);
    let door = || RequireTokenLayer::new(introspection(&idp, &clock));
    let routes = resource::routes().route_layer(scope.clone());
    let http = resource::serve(routes.layer(door())).await;
    let layers = tower::ServiceBuilder::new().layer(door()).layer(scope);
    let grpc = resource::serve_grpc(layers.into_inner()).await;

    let tokens = tokens(&idp, LEDGER, "ledger.read");
    let (http, grpc) = (Http::new(http.uri(), tokens.clone()), Grpc::new(grpc.uri(), tokens));
    for _ in 0..3 {
        // oidc-provider names no subject where a client acts for itself.
        assert_eq!(http.get("/whoami").await, (200, "nobody may ledger.read".into()));
        assert_eq!(grpc.list(3).await.unwrap(), [0, 1, 2]);
    }
    let counters = idp.counters().await;
    assert_eq!((counters.token, counters.introspection, counters.jwks), (1, 2, 0));

    // The server forgets every token. The clients notice nothing.
    idp.drop_tokens().await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(http.get("/whoami").await.0, 200);
    assert_eq!(grpc.list(3).await.unwrap(), [0, 1, 2]);
    assert_eq!(idp.counters().await.token, 2);
}

#[tokio::test]
async fn d09_a_revoked_token_is_refused_within_a_minute() {
    let idp = start().await;
    let clock = ManualClock::new();
    let tokens = introspection(&idp, &clock);
    let server = serve(tokens.clone()).await;
    let grpc = resource::serve_grpc(RequireTokenLayer::new(tokens.clone())).await;
    let (revoked, kept) =
        (bearer(&idp, LEDGER, "ledger.read").await, bearer(&idp, LEDGER, "ledger.read").await);
    assert_eq!((status(&server, &revoked).await, status(&server, &kept).await), (200, 200));

    revoke(&idp, &revoked).await;
    clock.advance(Duration::from_secs(59));
    assert_eq!(status(&server, &revoked).await, 200, "the price of the cache");
    clock.advance(Duration::from_secs(1));
    assert_eq!((status(&server, &revoked).await, status(&server, &kept).await), (401, 200));
    assert_eq!(code(&grpc, &revoked).await, Some(Code::Unauthenticated));
    assert_eq!(code(&grpc, &kept).await, None);

    // Who is told of it need not wait for the minute.
    revoke(&idp, &kept).await;
    assert_eq!(status(&server, &kept).await, 200);
    tokens.forget(kept.strip_prefix("Bearer ").unwrap());
    assert_eq!(status(&server, &kept).await, 401);
    assert_eq!(status(&server, "Bearer nobody-gave-this-one").await, 401);
}

#[tokio::test]
async fn case_61_fifty_requests_with_one_token_ask_the_server_once() {
    let idp = start().await;
    let server = serve(introspection(&idp, &ManualClock::new())).await;
    let bearer = bearer(&idp, LEDGER, "ledger.read").await;
    idp.fault(Fault::at("/introspect").delay(Duration::from_millis(500))).await;
    idp.reset_counters().await;
    let uri = format!("{}/whoami", server.uri());
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (uri, bearer) = (uri.clone(), bearer.clone());
        calls.spawn(async move {
            raw_http::call("GET", &uri, &[("authorization", &bearer)], "").await.unwrap().status()
        });
    }
    assert!(calls.join_all().await.into_iter().all(|status| status == 200));
    let counters = idp.counters().await;
    assert_eq!((counters.introspection, counters.discovery), (1, 1));
}

#[tokio::test]
async fn d08_case_68_a_dead_server_is_503_or_grace_and_a_restarted_one_has_forgotten() {
    let mut idp = start().await;
    let clock = ManualClock::new();
    let tokens = introspection(&idp, &clock);
    let graceful = tokens.with_outage(Outage::Grace(Duration::from_secs(60))).unwrap();
    let (closed, graceful) = (serve(tokens).await, serve(graceful).await);
    let bearer = bearer(&idp, LEDGER, "ledger.read").await;
    assert_eq!((status(&closed, &bearer).await, status(&graceful, &bearer).await), (200, 200));
    assert_eq!(idp.counters().await.introspection, 1, "one cache for both routes");

    idp.kill().await;
    assert_eq!(status(&closed, &bearer).await, 200);
    clock.advance(Duration::from_secs(60));
    assert_eq!((status(&closed, &bearer).await, status(&graceful, &bearer).await), (503, 200));
    clock.advance(Duration::from_secs(60));
    assert_eq!((status(&closed, &bearer).await, status(&graceful, &bearer).await), (503, 503));

    idp.restart().await;
    clock.advance(Duration::from_secs(10));
    assert_eq!((status(&closed, &bearer).await, status(&graceful, &bearer).await), (401, 401));
}

#[tokio::test]
async fn d08_that_the_server_does_not_know_us_is_503() {
    let idp = start().await;
    let stranger = Introspection::issuer(idp.issuer())
        .client_credentials(API, secret("wrong"))
        .audience(LEDGER)
        .build()
        .unwrap();
    let bearer = bearer(&idp, LEDGER, "ledger.read").await;
    assert_eq!(status(&serve(stranger).await, &bearer).await, 503);
}

#[tokio::test]
async fn d10_one_issuer_hands_out_both_kinds() {
    let idp = start().await;
    let jwt = Jwt::issuer(idp.issuer()).audience(INVENTORY).build().unwrap();
    let server = serve(JwtOrOpaque::new(jwt, introspection(&idp, &ManualClock::new()))).await;
    for (resource, scope) in [(LEDGER, "ledger.read"), (INVENTORY, "inventory.read")] {
        let client = Http::new(server.uri(), tokens(&idp, resource, scope));
        let (code, body) = client.get("/whoami").await;
        assert_eq!(code, 200, "{resource}");
        assert!(body.ends_with(&format!("may {scope}")), "{body}");
    }
    let counters = idp.counters().await;
    assert_eq!((counters.introspection, counters.jwks), (1, 1));
}

#[tokio::test]
async fn signed_answers_are_verified_with_the_keys_of_the_server() {
    let idp = start().await;
    let tokens = Introspection::issuer(idp.issuer())
        .client_credentials(API, secret(API))
        .audience(LEDGER)
        .signed_answers(Jwks::issuer(idp.issuer()).build().unwrap())
        .build()
        .unwrap();
    let server = serve(tokens).await;
    let (good, revoked) =
        (bearer(&idp, LEDGER, "ledger.read").await, bearer(&idp, LEDGER, "ledger.read").await);
    revoke(&idp, &revoked).await;
    assert_eq!((status(&server, &good).await, status(&server, &revoked).await), (200, 401));

    // Its keys change; the next answer is signed by one that nobody here has seen.
    idp.rotate(Rotate::Replace).await;
    idp.reset_counters().await;
    let next = bearer(&idp, LEDGER, "ledger.read").await;
    assert_eq!(status(&server, &next).await, 200);
    assert_eq!(idp.counters().await.jwks, 1);

    // An answer without a signature is none.
    idp.fault(Fault::at("/introspect").body(r#"{"active":true,"aud":"https://ledger.test"}"#))
        .await;
    assert_eq!(status(&server, "Bearer forged").await, 503);
}
