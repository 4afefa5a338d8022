//! DPoP from end to end (RFC 9449): a real authorization server binds the token, axum and tonic ask for the proof. The client is written
//! by hand, so that it can do wrong what a good one never would.

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
use inventory_proto::Item;
use inventory_proto::inventory_client::InventoryClient;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower_oauth::{Dpop, Introspection, Jwt, RequireTokenLayer};
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
const COUNT: &str = "/inventory.Inventory/Count";

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

#[tokio::test(flavor = "multi_thread")]
async fn d04_over_tonic_the_nonce_comes_as_metadata() {
    logs::print();
    let idp = idp().await;
    let server = resource::serve_grpc(door(&idp)).await;
    let client = Client::new();
    let (token, _) = client.token(&idp).await;
    let channel = Channel::from_shared(server.uri().to_owned()).unwrap().connect_lazy();
    let uri = format!("{BASE}{COUNT}");
    let count = async |nonce: Option<&str>| -> Result<i64, Status> {
        let mut request = tonic::Request::new(Item { sku: "sku".into() });
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("DPoP {token}").parse().unwrap());
        let proof = client.proof("POST", &uri, Some(&token), nonce);
        metadata.insert("dpop", proof.parse().unwrap());
        let answer = InventoryClient::new(channel.clone()).count(request).await?;
        Ok(answer.into_inner().quantity)
    };
    let status = count(None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let challenge = status.metadata().get("www-authenticate").unwrap().to_str().unwrap();
    assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\""), "{challenge}");
    let nonce = status.metadata().get("dpop-nonce").unwrap().to_str().unwrap();
    count(Some(nonce)).await.unwrap();
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
