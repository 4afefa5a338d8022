//! What is let in, and what is said of the caller.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;
use tower::ServiceExt;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_jose::{Algorithm as Alg, InvalidToken, KeySet};
use tower_oauth_server::{Jwks, Jwt, JwtBuilder, Rejection};
use tower_oauth_test::{Algorithm, Endpoint, Signature, TokenSpec};

use crate::fixture::{AUDIENCE, House, judge, jwt};

#[derive(Debug, Deserialize, PartialEq)]
struct Staff {
    sub: String,
    tenant: u32,
}

#[tokio::test]
async fn what_the_layers_need_of_a_token_is_in_the_principal() {
    let house = House::warm().await;
    let spec = TokenSpec::new()
        .client("orders")
        .subject("alice")
        .scope("b a a")
        .claim("jti", "j-1")
        .claim("sid", "s-1")
        .expires_in(Duration::from_secs(100));
    let caller = house.judge_now(&house.issuer.mint(spec)).unwrap();
    let principal = &caller.principal;
    assert_eq!(principal.issuer, house.issuer.issuer());
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    assert_eq!(principal.client_id.as_deref(), Some("orders"));
    assert_eq!(principal.token_id.as_deref(), Some("j-1"));
    assert_eq!(principal.session_id.as_deref(), Some("s-1"));
    assert_eq!(principal.scopes.to_string(), "a b");
    let now = tower_oauth_core::Clock::unix_seconds(&house.clock);
    let issued_at = principal.issued_at.unwrap().as_secs();
    assert_eq!(issued_at, u64::try_from(now).unwrap());
    assert_eq!(principal.expires_at.as_secs(), u64::try_from(now).unwrap() + 100);
    assert_eq!(caller.claims.subject(), Some("alice"));
    assert!(caller.claims.has_audience(AUDIENCE));
}

#[tokio::test]
async fn claims_come_in_the_applications_own_type_or_not_at_all() {
    let house = House::new();
    let typed = jwt(&house.issuer, &house.clock).claims::<Staff>().build().unwrap();
    let spec = || TokenSpec::new().subject("alice");
    let caller = judge(&typed, &house.issuer.mint(spec().claim("tenant", 7))).await.unwrap();
    assert_eq!(*caller.claims, Staff { sub: "alice".into(), tenant: 7 });
    for tenant in [json!("7"), json!(-1), json!(null), json!([7])] {
        let unfit = house.issuer.mint(spec().claim("tenant", tenant));
        let rejection = judge(&typed, &unfit).await.unwrap_err();
        assert_eq!(rejection, Rejection::Invalid(InvalidToken::UnfitClaims));
    }
    // A token that is not the issuer's is refused for that, and its claims are not read.
    let forged = spec().claim("tenant", "7").signature(Signature::Random);
    let rejection = judge(&typed, &house.issuer.mint(forged)).await.unwrap_err();
    assert_eq!(rejection, Rejection::Invalid(InvalidToken::BadSignature));
}

#[tokio::test]
async fn every_algorithm_of_the_table_is_verified() {
    for algorithm in Algorithm::ALL {
        let house = House::with(|issuer| issuer.algorithm(algorithm), |jwt| jwt);
        assert!(house.accepts(&house.token()).await, "{algorithm}");
        assert_eq!(house.fetches(), 1);
    }
}

#[tokio::test]
async fn only_the_algorithms_that_are_asked_for() {
    let house = House::with(|issuer| issuer, |jwt| jwt.algorithms([Alg::ES384]));
    let rejection = house.judge(&house.token()).await.unwrap_err();
    assert_eq!(rejection, Rejection::Invalid(InvalidToken::AlgorithmNotAllowed));
    assert_eq!(house.fetches(), 0);
}

#[tokio::test]
async fn every_refusal_before_the_key_has_its_reason() {
    let house = House::new();
    let spec = TokenSpec::new;
    let year = Duration::from_secs(365 * 24 * 3600);
    let cases: Vec<(TokenSpec, InvalidToken)> = vec![
        (spec().expired(), InvalidToken::Expired),
        (spec().issuer("https://other.test"), InvalidToken::WrongIssuer),
        (spec().issuer("https://issuer.test/"), InvalidToken::WrongIssuer),
        (spec().audience("other"), InvalidToken::WrongAudience),
        (spec().audience("inventory2"), InvalidToken::WrongAudience),
        (spec().without_claim("iss"), InvalidToken::MissingClaim("iss")),
        (spec().without_claim("aud"), InvalidToken::MissingClaim("aud")),
        (spec().without_claim("exp"), InvalidToken::MissingClaim("exp")),
        (spec().without_claim("jti"), InvalidToken::MissingClaim("jti")),
        (spec().header("typ", "JWT"), InvalidToken::WrongType),
        (spec().expires_in(year), InvalidToken::LifetimeTooLong),
    ];
    for (spec, reason) in cases {
        let shown = format!("{spec:?}");
        let rejection = house.judge_now(&house.issuer.mint(spec)).unwrap_err();
        assert_eq!(rejection, Rejection::Invalid(reason), "{shown}");
    }
    assert_eq!(house.fetches(), 0);
}

#[tokio::test]
async fn the_lenient_profile_takes_tokens_that_do_not_follow_rfc_9068() {
    let strict = House::new();
    let lenient = House::with(|issuer| issuer, JwtBuilder::lenient);
    let spec = || TokenSpec::new().header("typ", "JWT").without_claim("jti");
    assert!(!strict.accepts(&strict.issuer.mint(spec())).await);
    assert!(lenient.accepts(&lenient.issuer.mint(spec())).await);
    let id_token = spec().claim("nonce", "n");
    assert!(!lenient.accepts(&lenient.issuer.mint(id_token)).await);
}

#[tokio::test]
async fn a_token_is_good_for_each_of_our_names() {
    let house = House::new();
    let both = Jwt::issuer(house.issuer.issuer())
        .audiences(["one", "two"])
        .clock(Arc::new(house.clock.clone()))
        .jwks(house.jwt.jwks().clone())
        .build()
        .unwrap();
    for (audience, good) in [("one", true), ("two", true), ("three", false), (AUDIENCE, false)] {
        let token = house.issuer.mint(TokenSpec::new().audience(audience));
        assert_eq!(judge(&both, &token).await.is_ok(), good, "{audience}");
    }
}

#[tokio::test]
async fn fixed_keys_never_fetch_and_never_wait() {
    let house = House::new();
    let keys = KeySet::from_jwks(house.issuer.jwks().to_string()).unwrap();
    let fixed = Jwt::issuer(house.issuer.issuer())
        .audience(AUDIENCE)
        .clock(Arc::new(house.clock.clone()))
        .jwks(Jwks::fixed(keys).unwrap())
        .build()
        .unwrap();
    assert!(judge(&fixed, &house.token()).await.is_ok());
    let unknown = judge(&fixed, &house.issuer.forge("z")).await.unwrap_err();
    assert_eq!(unknown, Rejection::Invalid(InvalidToken::UnknownKey));
    fixed.jwks().warm().await.unwrap();
    fixed.jwks().refresh().await.unwrap();
    assert_eq!(fixed.jwks().generation(), 1);
    assert_eq!(house.issuer.calls(Endpoint::Jwks), 0);
}

#[tokio::test]
async fn j06_addresses_and_keys_in_a_token_are_not_followed() {
    let house = House::warm().await;
    for (name, value) in [
        ("jku", json!("https://issuer.test/other")),
        ("x5u", json!("http://169.254.169.254/")),
        ("jwk", json!({ "kty": "oct", "k": "c2VjcmV0" })),
        ("x5c", json!(["AA"])),
    ] {
        let forged =
            TokenSpec::new().header(name, value).header("kid", "z").signature(Signature::Random);
        house.judge(&house.issuer.mint(forged)).await.unwrap_err();
    }
    // At most the one look at the issuer's own set, for an unknown kid.
    assert!(house.fetches() <= 1);
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 0);
}

/// Every address that anything asks for.
#[tokio::test]
async fn j06_no_address_of_a_token_is_ever_asked() {
    let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let house = House::new();
    let (issuer, log) = (house.issuer.clone(), Arc::clone(&asked));
    let sink = tower::service_fn(move |request: http::Request<Full<Bytes>>| {
        log.lock().unwrap().insert(request.uri().to_string());
        issuer.service().oneshot(request)
    });
    let jwt = jwt(&house.issuer, &house.clock).http_client(HttpClient::new(sink)).build().unwrap();
    judge(&jwt, &house.token()).await.unwrap();
    let before = asked.lock().unwrap().clone();
    assert!(!before.is_empty());
    for address in ["http://169.254.169.254/", "https://issuer.test/mine", "https://evil.test/jwks"]
    {
        for spec in [
            TokenSpec::new().header("jku", address),
            TokenSpec::new().header("x5u", address),
            TokenSpec::new().header("jku", address).header("kid", "z"),
            TokenSpec::new().header("x5u", address).header("kid", address),
            TokenSpec::new().header("jku", json!([address])),
            TokenSpec::new().header("jwk", json!({ "kty": "EC", "jku": address })),
            TokenSpec::new().header("iss", address).claim("jwks_uri", address),
            TokenSpec::new().issuer(address),
        ] {
            for spec in [spec.clone().signature(Signature::Stranger), spec] {
                let _ = judge(&jwt, &house.issuer.mint(spec)).await;
                house.pass(31.0);
            }
        }
    }
    assert_eq!(*asked.lock().unwrap(), before);
}

#[tokio::test]
async fn j25_a_key_of_one_tenant_signs_for_no_other() {
    let (ours, theirs) = (House::warm().await, House::warm().await);
    // Their key, our issuer's name, our key's id.
    let token = theirs.issuer.mint(TokenSpec::new().header("kid", ours.issuer.kid()));
    let rejection = ours.judge(&token).await.unwrap_err();
    assert_eq!(rejection, Rejection::Invalid(InvalidToken::BadSignature));
}
