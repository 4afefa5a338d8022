//! DPoP from end to end (RFC 9449): a real authorization server binds the token, axum and tonic ask for the proof. The client is ours; where
//! it has to do wrong what a good one never would, it is written by hand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests fail as the tests do"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use inventory_proto::Item;
use inventory_proto::inventory_client::InventoryClient;
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth::{
    Dpop, DpopKey, Introspection, Jwt, Need, RequireTokenLayer, RetryInvalidTokenLayer, Secret,
    TokenCache, TokenCacheBuilder, TokenSource,
};
use tower_oauth_test::ManualClock;
use tower_oauth_tests::idp::{Idp, IdpConfig, RegisteredClient, Resource, SigningAlg};
use tower_oauth_tests::logs::{self, CANARY};
use tower_oauth_tests::raw_http::{self, Answer};
use tower_oauth_tests::resource;

const ID: &str = "orders";
/// The resource server, where it asks about tokens.
const API: &str = "inventory-api";
/// Under this name clients know the resource; the socket says something else, as behind a proxy that ends TLS.
const BASE: &str = "https://inventory.test";

fn secret() -> String {
    format!("{CANARY}-secret")
}

async fn idp() -> Idp {
    idp_for(Resource::jwt(BASE, SigningAlg::Es256)).await
}

async fn idp_for(resource: Resource) -> Idp {
    Idp::start(
        IdpConfig::new()
            .dpop_nonce()
            .client(RegisteredClient::basic(ID, secret()).scope("inventory.read"))
            .client(RegisteredClient::basic(API, secret()).scope("inventory.read"))
            .resource(resource.scope("inventory.read")),
    )
    .await
}

fn door(idp: &Idp) -> RequireTokenLayer {
    let jwt = Jwt::issuer(idp.issuer()).audience(BASE).build().unwrap();
    RequireTokenLayer::new(jwt).dpop(dpop())
}

fn dpop() -> Dpop {
    let dpop = Dpop::builder().external_base_url(BASE).nonces(Duration::from_secs(300));
    dpop.build().unwrap()
}

/// A client with a key.
struct Client(EcdsaKeyPair);

impl Client {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn proof(&self, method: &str, uri: &str, token: Option<&str>, nonce: Option<&str>) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)});
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let mut jti = [0; 16];
        rand::fill(&mut jti).unwrap();
        let mut claims = json!({"jti": encode(jti), "htm": method, "htu": uri, "iat": now()});
        if let Some(token) = token {
            claims["ath"] = encode(digest(&SHA256, token.as_bytes())).into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature))
    }

    /// A token that is bound to the key, and the nonce that the authorization server had asked for.
    async fn token(&self, idp: &Idp) -> (String, String) {
        let ask = async |nonce: Option<&str>| {
            let proof = self.proof("POST", &idp.url("/token"), None, nonce);
            let basic = format!("Basic {}", STANDARD.encode(format!("{ID}:{}", secret())));
            let headers = [("authorization", basic.as_str()), ("dpop", proof.as_str())];
            let form = [("grant_type", "client_credentials"), ("scope", "inventory.read")];
            raw_http::post_form(&idp.url("/token"), &headers, &form).await.unwrap()
        };
        let challenged = ask(None).await;
        assert_eq!(challenged.json()["error"], "use_dpop_nonce");
        let nonce = challenged.header("dpop-nonce").unwrap();
        let answer: Value = ask(Some(nonce)).await.json();
        assert_eq!(answer["token_type"], "DPoP", "{}", answer["error_description"]);
        (answer["access_token"].as_str().unwrap().to_owned(), nonce.to_owned())
    }
}

// The proofs have to be of the same time as the authorization server's.
#[allow(clippy::disallowed_methods)]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn whoami(server: &str, scheme: &str, token: &str, proof: &str) -> Answer {
    let authorization = format!("{scheme} {token}");
    let headers = [("authorization", authorization.as_str()), ("dpop", proof)];
    raw_http::call("GET", &format!("{server}/whoami"), &headers, "").await.unwrap()
}

/// The `error` of the challenge.
fn error(answer: &Answer) -> &str {
    assert_eq!(answer.status(), 401);
    let challenge = answer.header("www-authenticate").unwrap();
    challenge.split("error=\"").nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn d03_d04_d05_a_bound_token_with_nonces_comes_in_over_axum_and_the_thief_does_not() {
    logs::print();
    let idp = idp().await;
    let server = resource::serve(resource::routes().layer(door(&idp))).await;
    let client = Client::new();
    let (token, nonce_of_the_issuer) = client.token(&idp).await;
    let uri = format!("{BASE}/whoami");
    let by = |client: &Client, nonce: Option<&str>| client.proof("GET", &uri, Some(&token), nonce);
    let ask = async |proof: &str| whoami(server.uri(), "DPoP", &token, proof).await;

    let challenged = ask(&by(&client, None)).await;
    assert_eq!(error(&challenged), "use_dpop_nonce");
    let nonce = challenged.header("dpop-nonce").unwrap();
    let proof = by(&client, Some(nonce));
    let good = ask(&proof).await;
    assert_eq!((good.status(), good.body()), (200, "orders may inventory.read"));

    assert_eq!(error(&ask(&proof).await), "invalid_dpop_proof", "a replay");
    let foreign = by(&client, Some(&nonce_of_the_issuer));
    assert_eq!(error(&ask(&foreign).await), "use_dpop_nonce");
    let thief = by(&Client::new(), Some(nonce));
    assert_eq!(error(&ask(&thief).await), "invalid_dpop_proof");
    let elsewhere = client.proof("GET", &format!("{BASE}/echo"), Some(&token), Some(nonce));
    assert_eq!(error(&ask(&elsewhere).await), "invalid_dpop_proof");
    let of_the_socket = format!("{}/whoami", server.uri());
    let of_the_socket = client.proof("GET", &of_the_socket, Some(&token), Some(nonce));
    assert_eq!(error(&ask(&of_the_socket).await), "invalid_dpop_proof");
    let proof = by(&client, Some(nonce));
    let downgraded = whoami(server.uri(), "Bearer", &token, &proof).await;
    assert_eq!(error(&downgraded), "invalid_token");
    assert_eq!(ask(&proof).await.status(), 200, "a refusal has used up the proof");
}

/// The token source of a good client, which keeps this clock.
fn tokens(idp: &Idp, clock: &ManualClock) -> TokenCacheBuilder {
    TokenCache::builder()
        .issuer(idp.issuer())
        .scope("inventory.read")
        .dpop(DpopKey::generate().unwrap())
        .clock(clock.clone())
}

fn of_the_client(idp: &Idp, clock: &ManualClock) -> TokenCache {
    tokens(idp, clock).client_credentials(ID, secret()).build().unwrap()
}

/// A hyper client that reaches the resource by another name than it calls it, as through a proxy that ends TLS.
fn hyper_client(server: &str) -> HttpService {
    let client = HyperClient::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let server = server.to_owned();
    let client = client.map_request(move |mut request: Request<Full<Bytes>>| {
        let uri = request.uri().to_string().replacen(BASE, &server, 1);
        *request.uri_mut() = uri.parse().unwrap();
        request
    });
    let client = client.map_response(|answer: Response<_>| answer.map(boxed));
    HttpService::new(client.map_err(BoxError::from))
}

fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

type HttpService =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

async fn whoami_by(service: HttpService, tokens: &TokenCache) -> (u16, String) {
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(service);
    let request = Request::get(format!("{BASE}/whoami?verbose=1")).body(Full::default()).unwrap();
    let answer = service.oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn d03_d04_r11_our_client_comes_in_over_axum_and_tonic_with_nonces_on_all_sides() {
    logs::print();
    let idp = idp().await;
    let axum = resource::serve(resource::routes().layer(door(&idp))).await;
    let tonic = resource::serve_grpc(door(&idp)).await;
    let tokens = of_the_client(&idp, &ManualClock::new());
    let http = hyper_client(axum.uri());
    for _ in 0..20 {
        let answer = whoami_by(http.clone(), &tokens).await;
        assert_eq!(answer, (200, "orders may inventory.read".into()));
    }
    let channel = Channel::from_shared(tonic.uri().to_owned()).unwrap().connect_lazy();
    let told = RetryInvalidTokenLayer::new(tokens.clone()).dpop_origin(BASE).unwrap();
    let mut client = InventoryClient::new(told.layer(channel.clone()));
    for _ in 0..20 {
        let answer = client.count(Item { sku: "bolt".into() }).await.unwrap();
        assert_eq!(answer.into_inner().quantity, 4);
    }
    let stocks = client.watch(tokio_stream::iter(vec![Item { sku: "nut".into() }])).await.unwrap();
    assert_eq!(stocks.into_inner().message().await.unwrap().unwrap().quantity, 3);
    let counters = idp.counters().await;
    assert_eq!(counters.token, 2, "one that was asked for a nonce, and one with it");

    let untold = RetryInvalidTokenLayer::new(tokens).layer(channel);
    let status = InventoryClient::new(untold).count(Item { sku: "bolt".into() }).await;
    assert_eq!(status.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_t06_our_client_survives_a_restart_and_takes_no_bearer_token() {
    logs::print();
    let user = RegisteredClient::basic("app", secret()).scope("inventory.read");
    let idp = Idp::start(
        IdpConfig::new()
            .dpop_nonce()
            .client(RegisteredClient::basic(ID, secret()).scope("inventory.read"))
            .client(RegisteredClient::basic(API, secret()).scope("inventory.read"))
            .client(user.grants(&["password", "refresh_token"]))
            .user("alice", secret())
            .resource(Resource::opaque(BASE).scope("inventory.read")),
    )
    .await;
    let (clock, time) = (ManualClock::new(), ManualClock::new());
    let checked = Introspection::issuer(idp.issuer())
        .client_credentials(API, secret())
        .audience(BASE)
        .clock(clock.clone())
        .build()
        .unwrap();
    let door = RequireTokenLayer::new(checked).dpop(dpop());
    let server = resource::serve(resource::routes().layer(door)).await;
    let http = hyper_client(server.uri());
    let tokens = of_the_client(&idp, &time);
    for restart in 0..3 {
        assert_eq!(whoami_by(http.clone(), &tokens).await.0, 200, "restart {restart}");
        assert_eq!(whoami_by(http.clone(), &tokens).await.0, 200, "restart {restart}");
        idp.drop_tokens().await;
        clock.advance(Duration::from_secs(61));
    }
    // The nonce of the token endpoint is good for some minutes.
    assert_eq!(idp.counters().await.token, 4, "three tokens, and one nonce that was asked for");

    // The grant `password` of this server binds nothing. Its refresh tokens do, when they are redeemed with a proof.
    let form = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", &secret()),
        ("scope", "inventory.read"),
    ];
    let basic = format!("Basic {}", STANDARD.encode(format!("app:{}", secret())));
    let headers = [("authorization", basic.as_str())];
    let answer = raw_http::post_form(&idp.url("/token"), &headers, &form).await.unwrap().json();
    assert_eq!(answer["token_type"], "Bearer", "{answer}");
    let app = || tokens_of_app(&idp, &time);
    let by_password = app().password("alice", secret()).build().unwrap();
    idp.reset_counters().await;
    let token = by_password.fetch(Need::Any).await.unwrap();
    assert!(token.prover().is_some(), "{token:?}");
    // The password brings a bearer token, which is discarded, and a refresh token, which is redeemed: asked for a nonce, and with it.
    assert_eq!(idp.counters().await.token, 3);

    let refresh = answer["refresh_token"].as_str().unwrap().to_owned();
    let by_refresh = app().refresh_token(Secret::new(refresh)).build().unwrap();
    for _ in 0..3 {
        let (status, body) = whoami_by(http.clone(), &by_refresh).await;
        assert_eq!((status, body.as_str()), (200, "alice may inventory.read"));
        by_refresh.flush();
    }
    assert_eq!(idp.revoked_grants().await, 0, "no refresh token came twice");
}

fn tokens_of_app(idp: &Idp, clock: &ManualClock) -> TokenCacheBuilder {
    tokens(idp, clock).client(tower_oauth::Client::basic("app", secret()))
}

#[tokio::test(flavor = "multi_thread")]
async fn d05_d09_an_opaque_token_that_is_bound_needs_its_proof_and_dies_with_its_revocation() {
    logs::print();
    let idp = idp_for(Resource::opaque(BASE)).await;
    let clock = ManualClock::new();
    let tokens = Introspection::issuer(idp.issuer())
        .client_credentials(API, secret())
        .audience(BASE)
        .clock(clock.clone())
        .build()
        .unwrap();
    let checking = RequireTokenLayer::new(tokens.clone()).dpop(dpop());
    let bare = RequireTokenLayer::new(tokens);
    let checking = resource::serve(resource::routes().layer(checking)).await;
    let bare = resource::serve(resource::routes().layer(bare)).await;
    let client = Client::new();
    let (token, _) = client.token(&idp).await;
    let uri = format!("{BASE}/whoami");
    let by = |client: &Client, nonce: &str| client.proof("GET", &uri, Some(&token), Some(nonce));

    let challenged = whoami(checking.uri(), "DPoP", &token, &by(&client, "none")).await;
    assert_eq!(error(&challenged), "use_dpop_nonce");
    let nonce = challenged.header("dpop-nonce").unwrap();
    for _ in 0..2 {
        let good = whoami(checking.uri(), "DPoP", &token, &by(&client, nonce)).await;
        assert_eq!(good.status(), 200);
        let thief = whoami(checking.uri(), "DPoP", &token, &by(&Client::new(), nonce)).await;
        assert_eq!(error(&thief), "invalid_dpop_proof");
        for server in [&checking, &bare] {
            let downgraded = whoami(server.uri(), "Bearer", &token, &by(&client, nonce)).await;
            assert_eq!(error(&downgraded), "invalid_token");
        }
    }
    assert_eq!(idp.counters().await.introspection, 1, "one answer for all of it");

    idp.drop_tokens().await;
    clock.advance(Duration::from_secs(60));
    let revoked = whoami(checking.uri(), "DPoP", &token, &by(&client, nonce)).await;
    assert_eq!(error(&revoked), "invalid_token");
}
