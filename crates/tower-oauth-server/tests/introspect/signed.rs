//! Signed answers: RFC 9701.

use serde_json::{Value, json};
use tower_oauth_core::{Clock, ErrorKind};
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::Jwks;
use tower_oauth_test::{Endpoint, Fault, Rotation, Signature, TokenSpec};

use crate::fixture::{CLIENT, House, inactive, introspection, knock, outage};

const KIND: &str = "application/token-introspection+jwt";

/// The issuer signs with the keys of its JWKS.
fn house() -> House {
    let mut house = House::with(|issuer| issuer, |tokens| tokens);
    let jwks = Jwks::issuer(house.issuer.issuer())
        .http_client(HttpClient::new(house.issuer.service()))
        .clock(house.clock.clone())
        .build()
        .unwrap();
    let signed = introspection(&house.issuer, &house.clock).signed_answers(jwks);
    house.tokens = signed.build().unwrap();
    house
}

fn claims(house: &House) -> Value {
    json!({
        "iss": house.issuer.issuer(), "aud": CLIENT, "iat": house.clock.unix_seconds(),
        "token_introspection": house.answer(json!({})),
    })
}

fn spec(claims: &Value) -> TokenSpec {
    TokenSpec::new().header("typ", "token-introspection+jwt").raw_payload(claims.to_string())
}

fn answer(house: &House, spec: TokenSpec) {
    let body = house.issuer.mint(spec).into();
    let fault = Fault::Body { status: 200, content_type: KIND.into(), body };
    house.issuer.fault(Endpoint::Introspection, fault);
}

#[tokio::test]
async fn a_signed_answer_of_the_issuer_is_believed_and_remembered() {
    let house = house();
    answer(&house, spec(&claims(&house)));
    for _ in 0..3 {
        assert_eq!(knock(&house.tokens, "t").await, Ok("alice".into()));
    }
    assert_eq!(house.calls(), 1);
    let request = house.issuer.last_request(Endpoint::Introspection).unwrap();
    assert_eq!(request.headers()["accept"], KIND);

    // Some servers call us by the name that tokens call us.
    let mut claims = claims(&house);
    claims["aud"] = json!(crate::fixture::AUDIENCE);
    claims["token_introspection"] = json!({ "active": false });
    answer(&house, spec(&claims));
    assert_eq!(knock(&house.tokens, "other").await, Err(inactive()));
}

#[tokio::test]
async fn an_answer_that_is_not_soundly_signed_is_no_answer() {
    let house = house();
    let good = claims(&house);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        spec(&claims)
    };
    let bad = [
        spec(&good).signature(Signature::Stranger),
        spec(&good).signature(Signature::Random),
        spec(&good).header("alg", "none").signature(Signature::Empty),
        spec(&good).header("typ", "at+jwt"),
        spec(&good).header("typ", "JWT"),
        spec(&good).without_header("typ"),
        with("iss", json!("https://other.example")),
        with("aud", json!("another-client")),
        with("iat", json!(house.clock.unix_seconds() - 90)),
        with("token_introspection", json!({"active": "true"})),
        with("token_introspection", json!({})),
        with("token_introspection", json!(null)),
    ];
    for (n, spec) in bad.into_iter().enumerate() {
        answer(&house, spec);
        let rejection = house.judge("t").await.unwrap_err();
        assert!(matches!(outage(&rejection).0, ErrorKind::Malformed(_)), "{n}: {rejection:?}");
        answer(&house, self::spec(&good));
        assert!(house.accepts("t").await, "{n}");
        house.tokens.clear();
    }
    // The signature cannot be left away.
    house.say(&house.answer(json!({})));
    let rejection = house.judge("t").await.unwrap_err();
    let malformed = ErrorKind::Malformed("the answer is not a signed one");
    assert_eq!(outage(&rejection).0, malformed);
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_followed() {
    let house = house();
    answer(&house, spec(&claims(&house)));
    assert!(house.accepts("t").await);
    house.issuer.rotate(Rotation::Replace);
    answer(&house, spec(&claims(&house)));
    assert!(house.accepts("u").await);
    assert_eq!(house.issuer.calls(Endpoint::Jwks), 2);
}
