//! Misconfiguration fails in the builder, and says which value.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tower_oauth_core::BuildError;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::KeySet;
use tower_oauth_server::{Algorithm, Jwks, JwksHealth, Jwt, JwtBuilder, Profile, VerifyingKey};

fn http() -> HttpClient {
    HttpClient::new(tower::service_fn(|_: http::Request<Full<Bytes>>| async {
        Ok::<_, std::io::Error>(http::Response::new(Full::new(Bytes::new())))
    }))
}

fn good() -> JwtBuilder {
    Jwt::issuer("https://idp.example").audience("a").http_client(http())
}

fn shared() -> Jwks {
    Jwks::issuer("https://idp.example").http_client(http()).build().unwrap()
}

fn by_hand() -> KeySet {
    let ed25519 =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    KeySet::from_keys([VerifyingKey::from_jwk(ed25519).unwrap()])
}

fn cognito<const N: usize>(clients: [&str; N]) -> JwtBuilder {
    Jwt::issuer("https://idp.example").cognito_clients(clients).http_client(http())
}

#[test]
fn case_16_what_cannot_work_is_refused_by_name_and_value() {
    let issuer = |text: &str| Jwt::issuer(text).audience("a").http_client(http()).build();
    let plain = || Jwt::issuer("https://idp.example").audience("a");
    let cases: Vec<(Result<Jwt, BuildError>, &str, &str)> = vec![
        (issuer("idp.example"), "issuer", "idp.example"),
        (issuer("http://idp.example"), "issuer", "http://idp.example"),
        (issuer("https://idp.example?x=1"), "issuer", "https://idp.example"),
        (issuer(""), "issuer", ""),
        (good().jwks_uri("http://idp.example/jwks").build(), "jwks_uri", "http://idp.example/jwks"),
        (good().leeway(Duration::from_secs(301)).build(), "leeway", "301s"),
        (good().max_lifetime(Duration::ZERO).build(), "max_lifetime", "0ns"),
        (good().algorithms([]).build(), "algorithms", "none"),
        (good().stale_for(Duration::from_secs(86_401)).build(), "stale_for", "86401s"),
        (
            good().jwks_uri("https://idp.example/jwks").trust_host("keys.example").build(),
            "trust_host",
            "keys.example",
        ),
        (
            Jwt::issuer("https://idp.example").audience("").http_client(http()).build(),
            "audience",
            "",
        ),
        (
            Jwt::issuer("https://idp.example").audiences([""; 0]).http_client(http()).build(),
            "audiences",
            "none",
        ),
        (good().jwks(shared()).build(), "http_client", ".."),
        (plain().jwks(shared()).jwks_uri("https://idp.example/jwks").build(), "jwks_uri", ".."),
        (plain().jwks(shared()).stale_for(Duration::ZERO).build(), "stale_for", ".."),
        (plain().jwks(shared()).trust_host("x.example").build(), "trust_host", ".."),
        (good().algorithms([Algorithm::HS256]).build(), "algorithms", "HS256"),
        (plain().keys(by_hand()).algorithms([Algorithm::ES256]).build(), "algorithms", "ES256"),
        (
            plain().keys(by_hand()).algorithms([Algorithm::EdDSA, Algorithm::HS512]).build(),
            "algorithms",
            "HS512",
        ),
        (plain().keys(KeySet::default()).build(), "keys", "none"),
        (plain().keys(by_hand()).jwks(shared()).build(), "jwks", ".."),
        (good().keys(by_hand()).build(), "http_client", ".."),
        (plain().keys(by_hand()).jwks_uri("https://idp.example/jwks").build(), "jwks_uri", ".."),
        (plain().keys(by_hand()).stale_for(Duration::ZERO).build(), "stale_for", ".."),
        (good().max_token_bytes(1023).build(), "max_token_bytes", "1023"),
        (good().max_token_bytes(65_537).build(), "max_token_bytes", "65537"),
        (good().clients([""; 0]).build(), "clients", "none"),
        (good().clients([""]).build(), "clients", ""),
        (good().require_claim("").build(), "require_claim", ""),
        (good().profile(Profile::Cognito).build(), "clients", "none"),
        (cognito([""; 0]).build(), "clients", "none"),
        (cognito(["app"]).profile(Profile::Rfc9068).build(), "audiences", "none"),
        (
            Jwt::issuer("https://other.example").audience("a").jwks(shared()).build(),
            "jwks",
            "https://idp.example",
        ),
    ];
    for (result, option, value) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{option} `{value}`: ")), "{error}");
    }
}

#[test]
fn a_check_for_claims_of_another_type_is_not_dropped_in_silence() {
    let value = good().check(|_| Err("never")).claims::<serde_json::Value>();
    let error = value.build().unwrap_err().to_string();
    assert_eq!(error, "check `..`: is for claims of another type; give it after claims(..)");
    let value = good().claims::<serde_json::Value>().check(|_| Err("never"));
    assert!(value.build().is_ok());
}

#[test]
fn what_works_is_built_and_fetches_nothing() {
    for builder in [
        good(),
        good().lenient().leeway(Duration::from_secs(300)),
        good().jwks_uri("https://elsewhere.example/jwks"),
        good().stale_for(Duration::ZERO).trust_host("keys.example"),
        good().profile(Profile::EntraId).clients(["app"]).require_claim("oid"),
        cognito(["app"]),
        good().profile(Profile::Cognito).clients(["app"]),
        Jwt::issuer("https://idp.example").audience("a").jwks(shared()),
        Jwt::issuer("http://127.0.0.1:8080").audiences(["a", "b"]).http_client(http()),
    ] {
        let jwt = builder.build().unwrap();
        assert_eq!(jwt.jwks().health(), JwksHealth::Unavailable { cause: None });
    }
}

#[test]
fn a_fixed_set_needs_a_key() {
    let error = Jwks::fixed(KeySet::default()).unwrap_err();
    assert_eq!(error.to_string(), "jwks `fixed`: has no usable key");
}

#[cfg(not(feature = "transport"))]
#[test]
fn without_the_transport_feature_the_http_client_must_be_given() {
    let error = Jwt::issuer("https://idp.example").audience("a").build().unwrap_err();
    assert!(error.to_string().starts_with("http_client `none`: must be given"), "{error}");
}

#[cfg(feature = "transport")]
#[test]
fn with_the_transport_feature_the_http_client_may_be_left_out() {
    assert!(Jwt::issuer("https://idp.example").audience("a").build().is_ok());
    assert!(Jwks::uri("https://idp.example/jwks").build().is_ok());
}

#[test]
fn debug_says_whose_and_how_well_and_no_more() {
    let jwt = good().build().unwrap();
    let shown = format!("{jwt:?} {:?} {:?}", good(), Jwks::uri("https://idp.example/jwks"));
    assert!(shown.contains("https://idp.example") && shown.contains("Unavailable"), "{shown}");
    let clone = jwt.clone();
    assert_eq!(format!("{jwt:?}"), format!("{clone:?}"));
}
