//! What can be set, what is refused, and what reaches the wire.

use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower::service_fn;
use tower_oauth_client::{AuthMethod, ErrorKind, Need, Secret, TokenCache, TokenSource};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_test::{Endpoint, Fault};

use crate::rig::{Mint, Rig, SECRET, sleep_ms};

/// A client that is never used.
fn nowhere() -> HttpClient {
    HttpClient::new(service_fn(|_| pending::<io::Result<Response<Full<Bytes>>>>()))
}

#[test]
fn a_setting_that_cannot_work_is_named_by_build() {
    let unset = || TokenCache::builder().http_client(nowhere());
    let base = || unset().client_credentials("orders", SECRET);
    let there = || base().token_endpoint("https://idp.example/token");
    let cases = [
        ("issuer ``: is not set", unset().build()),
        ("issuer ``: is not set", base().build()),
        ("issuer `http://idp.example`: must be https", base().issuer("http://idp.example").build()),
        ("issuer `idp`: is not an absolute URI", base().issuer("idp").build()),
        (
            "issuer `https://idp.example/`: must not have a query",
            base().issuer("https://idp.example/?a=b").build(),
        ),
        (
            "token_endpoint `http://idp.example/t`: must be https",
            base().token_endpoint("http://idp.example/t").build(),
        ),
        (
            "token_endpoint `https://idp.example/#t`: must not have a fragment",
            base().token_endpoint("https://idp.example/#t").build(),
        ),
        (
            "client_credentials ``: are not set",
            unset().token_endpoint("https://idp.example/t").build(),
        ),
        (
            "client_credentials ``: the client id is empty",
            there().client_credentials("", SECRET).build(),
        ),
        (
            "token_endpoint `https://idp.example/t`: must not carry a secret in its query",
            base().token_endpoint("https://idp.example/t?token=s3cret").build(),
        ),
        ("scope `a b`: is not one scope token", there().scope("a b").build()),
        ("scope ``: is not one scope token", there().scopes(["a", ""]).build()),
        ("resource `stock`: is not an absolute URI", there().resource("stock").build()),
        ("resource `:x`: is not an absolute URI", there().resource(":x").build()),
        ("resource `https://a/#b`: is not an absolute", there().resource("https://a/#b").build()),
    ];
    for (start, built) in cases {
        let text = built.expect_err(start).to_string();
        assert!(text.starts_with(start), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    let fine = there().scope("a").resource("https://a.example/x").resource("urn:x:y").audience("");
    assert!(fine.build().is_ok());
}

#[cfg(not(feature = "transport"))]
#[test]
fn without_the_default_transport_a_client_must_be_set() {
    let cache = TokenCache::builder()
        .token_endpoint("https://idp.example/token")
        .client_credentials("orders", SECRET);
    let text = cache.build().unwrap_err().to_string();
    assert!(text.starts_with("http_client ``: is not set"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_before_a_token_is_asked_for() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    sleep_ms(10_000).await;
    assert!(tokens.peek().is_none());
    assert_eq!(rig.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_request_says_what_was_set() {
    let rig = Rig::new();
    let tokens = rig
        .builder()
        .scope("stock.write")
        .scopes(["stock.read", "stock.write"])
        .resource("https://a.example/x")
        .resource("urn:x:y")
        .audience("inventory")
        .build()
        .unwrap();
    tokens.fetch(Need::Any).await.unwrap();
    let request = rig.issuer.last_request(Endpoint::Token).unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.form("grant_type").unwrap(), "client_credentials");
    assert_eq!(request.form("scope").unwrap(), "stock.read stock.write");
    assert_eq!(request.form_all("resource"), ["https://a.example/x", "urn:x:y"]);
    assert_eq!(request.form_all("audience"), ["inventory"]);
    assert_eq!(request.form("client_secret"), None, "it travels in the header");
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    assert!(request.headers()["authorization"].to_str().unwrap().starts_with("Basic "));
}

#[tokio::test(start_paused = true)]
async fn t13_awkward_credentials_travel_by_either_method() {
    for (id, secret) in [("a:b", "c:d"), ("50%", "a+b c"), ("ä", "π\"\\"), ("x", "%3A")] {
        for method in [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost] {
            let rig = Rig::with(|issuer| issuer.client(id, secret));
            let tokens = rig
                .builder()
                .client_credentials(id, Secret::new(secret))
                .token_endpoint_auth_method(method)
                .build()
                .unwrap();
            assert!(tokens.fetch(Need::Any).await.is_ok(), "{id} {method:?}");
            let request = rig.issuer.last_request(Endpoint::Token).unwrap();
            let in_form = request.form("client_secret").is_some();
            assert_eq!(in_form, method == AuthMethod::ClientSecretPost);
            assert_eq!(request.headers().contains_key("authorization"), !in_form);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t08_less_scope_than_asked_for_is_an_error() {
    let rig = Rig::with(|issuer| issuer.granted_scope("stock.read"));
    let tokens = rig.builder().scopes(["stock.read", "stock.write"]).build().unwrap();
    assert_eq!(tokens.fetch(Need::Any).await.unwrap_err().kind(), ErrorKind::NarrowScope);
    let tokens = rig.builder().scope("stock.read").build().unwrap();
    assert!(tokens.fetch(Need::Any).await.unwrap().scopes().unwrap().contains("stock.read"));
}

#[tokio::test(start_paused = true)]
async fn a_token_service_of_ones_own_needs_no_credentials_and_no_transport() {
    let mint = Mint::new();
    assert_eq!(mint.cache().fetch(Need::Any).await.unwrap().header(), "Bearer t1");
}

// === discovery ===

fn discovering(rig: &Rig) -> TokenCache {
    TokenCache::builder()
        .issuer(rig.issuer.issuer())
        .client_credentials("orders", SECRET)
        .http_client(HttpClient::new(rig.issuer.service()))
        .clock(rig.clock)
        .build()
        .unwrap()
}

/// An hour in which a token of half a minute was used all the time.
async fn an_hour(tokens: &TokenCache) {
    for _ in 0..3600 {
        assert!(tokens.fetch(Need::Any).await.is_ok());
        tokens.peek();
        sleep_ms(1000).await;
    }
}

fn of_half_a_minute() -> Rig {
    Rig::with(|issuer| issuer.token_life(Duration::from_secs(30)))
}

#[tokio::test(start_paused = true)]
async fn the_metadata_is_read_once_an_hour() {
    let rig = of_half_a_minute();
    let tokens = discovering(&rig);
    an_hour(&tokens).await;
    assert!(rig.exchanges() > 100);
    assert_eq!(rig.issuer.calls(Endpoint::Discovery), 1);
    an_hour(&tokens).await;
    assert_eq!(rig.issuer.calls(Endpoint::Discovery), 2);
}

#[tokio::test(start_paused = true)]
async fn t01_metadata_that_cannot_be_read_again_stops_nothing() {
    for fault in [Fault::Status(503), Fault::Reset, Fault::Hang] {
        let rig = of_half_a_minute();
        let tokens = discovering(&rig);
        an_hour(&tokens).await;
        rig.issuer.fault(Endpoint::Discovery, fault);
        an_hour(&tokens).await;
        assert!(rig.issuer.calls(Endpoint::Discovery) > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_there_any_more_is_looked_for_again() {
    for fault in [Fault::Status(404), Fault::Status(410), Fault::Redirect("https://a/".into())] {
        let rig = of_half_a_minute();
        let tokens = discovering(&rig);
        tokens.fetch(Need::Any).await.unwrap();
        sleep_ms(30_000).await;
        rig.issuer.fault(Endpoint::Token, fault.clone()).times(1);
        assert!(tokens.fetch(Need::Any).await.is_err(), "{fault:?}");
        sleep_ms(500).await;
        assert!(tokens.fetch(Need::Any).await.is_ok(), "{fault:?}");
        assert_eq!(rig.issuer.calls(Endpoint::Discovery), 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn k04_metadata_of_another_issuer_is_no_token() {
    let rig = Rig::with(|issuer| issuer.metadata("issuer", "https://evil.example"));
    let error = discovering(&rig).fetch(Need::Any).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error:?}");
    assert_eq!(rig.exchanges(), 0, "no credentials were sent");
}

#[tokio::test(start_paused = true)]
async fn k04_metadata_without_a_token_endpoint_says_so() {
    let rig = Rig::with(|issuer| issuer.metadata("token_endpoint", None::<String>));
    let error = discovering(&rig).fetch(Need::Any).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn k04_credentials_go_to_a_foreign_host_only_where_it_is_trusted() {
    let rig = Rig::with(|issuer| issuer.metadata("token_endpoint", "https://tokens.example/token"));
    let build = |trusted: bool| {
        let builder = TokenCache::builder()
            .issuer(rig.issuer.issuer())
            .client_credentials("orders", SECRET)
            .http_client(HttpClient::new(rig.issuer.service()))
            .clock(rig.clock);
        if trusted { builder.trust_host("tokens.example") } else { builder }.build().unwrap()
    };
    let error = build(false).fetch(Need::Any).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Configuration(_)), "{error:?}");
    assert_eq!(rig.exchanges(), 0);
    assert!(build(true).fetch(Need::Any).await.is_ok());
}
