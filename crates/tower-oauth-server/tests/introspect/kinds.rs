//! JWTs and opaque tokens of one issuer, and JWTs about which it is asked.

use serde_json::json;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{InvalidToken, Jwt, JwtOrOpaque, Rejection};
use tower_oauth_test::{Endpoint, Fault, Signature, TokenSpec};

use crate::fixture::{AUDIENCE, House, inactive, introspection, invalid, judge, knock, outage};

/// An issuer of JWTs that can be asked about them.
fn house() -> (House, Jwt) {
    let house = House::with(|issuer| issuer, |tokens| tokens);
    let jwt = Jwt::issuer(house.issuer.issuer())
        .audience(AUDIENCE)
        .http_client(HttpClient::new(house.issuer.service()))
        .clock(house.clock.clone())
        .build()
        .unwrap();
    (house, jwt)
}

#[tokio::test]
async fn d10_the_shape_alone_says_who_judges_a_token() {
    let (house, jwt) = house();
    let both = JwtOrOpaque::new(jwt, house.tokens.clone());
    let good = house.issuer.mint(TokenSpec::new().subject("alice"));
    assert_eq!(knock(&both, &good).await, Ok("alice".into()));
    assert_eq!(house.calls(), 0);

    // The issuer calls all of these active. What looks like a JWT is judged as one, and nobody is asked.
    for spec in [
        TokenSpec::new().signature(Signature::Random),
        TokenSpec::new().header("alg", "none"),
        TokenSpec::new().issuer("https://other.example"),
        TokenSpec::new().without_claim("iss"),
        TokenSpec::new().raw_header("{}"),
        TokenSpec::new().raw_payload("opaque"),
        TokenSpec::new().expired(),
    ] {
        let token = house.issuer.mint(spec);
        assert!(matches!(knock(&both, &token).await, Err(Rejection::Invalid(_))), "{token}");
    }
    assert_eq!(house.calls(), 0);

    // What does not is asked about, also if an unverified part of it names an issuer.
    house.say(&house.answer(json!({})));
    let (header, rest) = good.split_once('.').unwrap();
    for token in ["2YotnFZFEjr1zCsicMWpAA", "a.b.c", header, rest, &format!("{good}.x.y")] {
        house.issuer.reset_calls();
        assert_eq!(knock(&both, token).await, Ok("alice".into()), "{token}");
        assert_eq!(house.calls(), 1, "{token}");
    }
    assert_eq!(house.issuer.calls(Endpoint::Jwks), 0);
}

#[tokio::test]
async fn d10_neither_side_gets_what_the_other_has_refused() {
    let (house, jwt) = house();
    let both = JwtOrOpaque::new(jwt, house.tokens.clone());
    let forged = house.issuer.forge("key-9");
    assert_eq!(knock(&both, &forged).await, Err(invalid(InvalidToken::UnknownKey)));
    assert_eq!(knock(&both, "opaque").await, Err(inactive()));
    assert_eq!((house.calls(), house.issuer.calls(Endpoint::Jwks)), (1, 2));
}

#[tokio::test]
async fn a_sensitive_route_asks_about_a_jwt_that_is_valid() {
    let (house, jwt) = house();
    let sensitive = jwt.confirm_with(house.tokens.clone());
    let token = house.issuer.mint(TokenSpec::new().subject("alice"));
    // The first waits for keys and for an answer, the others for nothing.
    for _ in 0..3 {
        assert_eq!(knock(&sensitive, &token).await, Ok("alice".into()));
    }
    assert_eq!((house.calls(), house.issuer.calls(Endpoint::Jwks)), (1, 1));

    let revoked = house.token();
    house.issuer.revoke(&revoked);
    assert_eq!(knock(&sensitive, &revoked).await, Err(inactive()));
    assert!(knock(&jwt, &revoked).await.is_ok(), "the other routes go by the signature");
}

#[tokio::test]
async fn a_jwt_that_is_not_valid_costs_no_question() {
    let (house, jwt) = house();
    let sensitive = jwt.confirm_with(house.tokens.clone());
    for spec in [
        TokenSpec::new().expired(),
        TokenSpec::new().audience("payroll"),
        TokenSpec::new().signature(Signature::Random),
        TokenSpec::new().signature(Signature::Stranger),
    ] {
        let refused = knock(&sensitive, &house.issuer.mint(spec)).await.unwrap_err();
        assert_eq!(refused.status(), 401);
    }
    assert!(knock(&sensitive, "opaque").await.is_err());
    assert_eq!(house.calls(), 0);
}

#[tokio::test]
async fn a_sensitive_route_fails_closed_without_an_answer() {
    let (house, jwt) = house();
    let sensitive = jwt.confirm_with(house.tokens.clone());
    let token = house.token();
    house.issuer.fault(Endpoint::Introspection, Fault::Status(500));
    let rejection = knock(&sensitive, &token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, tower_oauth_core::ErrorKind::Status(500));
    assert!(knock(&jwt, &token).await.is_ok());
}

#[tokio::test]
async fn the_two_steps_may_read_claims_of_their_own() {
    #[derive(serde::Deserialize)]
    struct OnlyActive {
        active: bool,
    }
    let (house, jwt) = house();
    let tokens = introspection(&house.issuer, &house.clock).claims::<OnlyActive>();
    let tokens = tokens.build().unwrap();
    let token = house.issuer.mint(TokenSpec::new().subject("alice"));
    assert!(judge(&tokens, &token).await.unwrap().claims.active);
    let caller = judge(&jwt.confirm_with(tokens), &token).await.unwrap();
    assert_eq!(caller.claims.subject(), Some("alice"));
}
