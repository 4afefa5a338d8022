//! What each status is worth, and tokens that name none.

use std::sync::Arc;

use serde_json::{Value, json};
use tower_oauth_core::ErrorKind;
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::{Issuers, Jwt};
use tower_oauth_test::{Endpoint, Rotation, TokenSpec};

use crate::fixture::{AUDIENCE, House, invalid, judge, judge_now, outage, revoked};

#[tokio::test]
async fn only_valid_is_valid() {
    let house = House::with(|lists| lists.accept_status(12).accept_status(15)).await;
    for (status, expected) in [
        (0, Ok(())),
        (1, Err(revoked())),
        (2, Err(invalid(InvalidToken::Suspended))),
        (3, Err(invalid(InvalidToken::UnknownStatus))),
        (11, Err(invalid(InvalidToken::UnknownStatus))),
        (12, Ok(())),
        (15, Ok(())),
        (255, Err(invalid(InvalidToken::UnknownStatus))),
    ] {
        house.lists.clear();
        house.issuer.set_status(7, status);
        let (token, neighbour) = (house.token(7), house.token(8));
        assert_eq!(house.judge(&token).await.map(drop), expected, "{status}");
        assert_eq!(house.judge_now(&token).map(drop), expected, "{status}, at hand");
        assert!(house.judge_now(&neighbour).is_ok(), "{status}: the neighbour");
    }
}

#[tokio::test]
async fn a_suspended_token_may_come_back_and_may_be_accepted() {
    let house = House::new().await;
    let token = house.token(7);
    house.issuer.set_status(7, 2);
    assert_eq!(house.judge(&token).await.unwrap_err(), invalid(InvalidToken::Suspended));
    house.issuer.set_status(7, 0);
    house.pass(60.0);
    assert!(house.accepts(&token).await);
    let lenient = House::with(|lists| lists.accept_status(2)).await;
    lenient.issuer.set_status(7, 2);
    assert!(lenient.accepts(&lenient.token(7)).await);
}

#[tokio::test]
async fn a_token_that_names_no_list_is_let_in_unless_a_status_is_required() {
    let house = House::new().await;
    let required = House::with(|lists| lists.required()).await;
    for status in [None, Some(json!({})), Some(json!({"another_mechanism": {"uri": "x"}}))] {
        let spec = |house: &House| {
            let spec = TokenSpec::new();
            let spec = match &status {
                None => spec,
                Some(status) => spec.claim("status", status.clone()),
            };
            house.issuer.mint(spec)
        };
        assert!(house.judge_now(&spec(&house)).is_ok(), "{status:?}");
        let rejection = required.judge_now(&spec(&required)).unwrap_err();
        assert_eq!(rejection, invalid(InvalidToken::MissingClaim("status")), "{status:?}");
    }
    assert!(required.accepts(&required.token(7)).await);
    assert_eq!(house.fetches(), 0);
}

#[tokio::test]
async fn a_status_that_cannot_be_read_is_refused_and_means_nothing_to_who_does_not_ask() {
    let house = House::new().await;
    let careless = Jwt::issuer(house.issuer.issuer())
        .audience(AUDIENCE)
        .clock(Arc::new(house.clock.clone()))
        .jwks(house.jwt.jwks().clone())
        .build()
        .unwrap();
    let uri = house.uri("1");
    for status in [
        json!("active"),
        json!(0),
        json!({"status_list": uri}),
        json!({"status_list": {"idx": -1, "uri": uri}}),
        json!({"status_list": {"idx": 1.5, "uri": uri}}),
        json!({"status_list": {"idx": "1", "uri": uri}}),
        json!({"status_list": {"idx": 1, "uri": ""}}),
        json!({"status_list": {"idx": 1}}),
    ] {
        let token = house.mint(status.clone());
        let rejection = house.judge_now(&token).unwrap_err();
        assert_eq!(rejection, invalid(InvalidToken::InvalidClaim("status")), "{status}");
        assert!(judge_now(&careless, &token).is_ok(), "{status}");
    }
    house.issuer.set_status(7, 1);
    assert!(judge_now(&careless, &house.token(7)).is_ok());
    assert_eq!(house.fetches(), 0);
}

#[tokio::test]
async fn k05_a_list_is_fetched_only_where_its_issuer_is() {
    let house = House::new().await;
    let other = |uri: &str| house.mint(house.issuer.status_claim_of(uri, 7));
    for uri in [
        "https://169.254.169.254/latest/meta-data",
        "https://issuer.test.evil.example/statuslists/1",
        "https://issuer.test@evil.example/statuslists/1",
        "http://issuer.test/statuslists/1",
        "http://127.0.0.1:1/statuslists/1",
        "file:///etc/passwd",
        "urn:uuid:7",
        "/statuslists/1",
        "https://issuer.test/statuslists/1#7",
    ] {
        let rejection = house.judge_now(&other(uri)).unwrap_err();
        assert!(
            matches!(outage(&rejection).0, ErrorKind::Configuration(_)),
            "{uri}: {rejection:?}"
        );
    }
    assert_eq!(house.fetches(), 0);
    // The scripted issuer answers for every host; what it signs has to name the address.
    let uri = "https://lists.example/statuslists/7";
    let trusting = House::with(|lists| lists.trust_host("LISTS.example")).await;
    trusting.serve_list(trusting.list(json!({ "sub": uri })));
    let token = trusting.mint(trusting.issuer.status_claim_of(uri, 7));
    assert!(trusting.accepts(&token).await);
    assert_eq!(trusting.fetches(), 1);
}

#[tokio::test]
async fn a_token_that_is_bad_in_itself_costs_no_fetch_of_a_list() {
    let house = House::new().await;
    let spec = || TokenSpec::new().claim("status", house.issuer.status_claim(7));
    for (spec, code) in [
        (spec().expired(), "expired"),
        (spec().audience("payroll"), "wrong_audience"),
        (spec().signature(tower_oauth_test::Signature::Stranger), "bad_signature"),
        (spec().claim("cnf", json!({"jkt": "x"})), "sender_constrained"),
    ] {
        assert_eq!(house.judge(&house.issuer.mint(spec)).await.unwrap_err().code(), code);
    }
    assert_eq!(house.fetches(), 0);
}

#[tokio::test]
async fn the_lists_are_asked_wherever_a_jwt_judges() {
    let house = House::new().await;
    house.issuer.set_status(7, 1);
    let several = Issuers::new([house.jwt.clone()]).unwrap();
    for (index, good) in [(7, false), (8, true)] {
        let token = house.token(index);
        for _ in 0..2 {
            assert_eq!(judge(&several, &token).await.is_ok(), good, "{index}");
        }
    }
    // Cold keys too: then both are waited for.
    let cold = crate::fixture::jwt(&house.issuer, &house.clock).status_list(house.lists.clone());
    assert_eq!(judge(&cold.build().unwrap(), &house.token(7)).await.unwrap_err(), revoked());
}

#[tokio::test]
async fn a_request_for_a_list_names_no_token() {
    let house = House::new().await;
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    let request = house.issuer.last_request(Endpoint::StatusList).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.headers()["accept"], "application/statuslist+jwt");
    assert!(!request.headers().contains_key("authorization"));
    assert!(request.uri().query().is_none() && request.body().is_empty());
}

#[tokio::test]
async fn k14_a_list_dies_with_the_key_that_has_signed_it() {
    let house = House::new().await;
    house.issuer.rotate(Rotation::Add);
    // Signed by the second key, which is withdrawn; the token is by the third.
    assert!(house.accepts(&house.token(7)).await);
    house.issuer.rotate(Rotation::Replace);
    house.jwt.jwks().refresh().await.unwrap();
    let token = house.token(7);
    house.issuer.fault(Endpoint::StatusList, tower_oauth_test::Fault::Status(500));
    let rejection = house.judge(&token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Status(500), "the old list is not used");
    house.issuer.heal(Endpoint::StatusList);
    house.pass(1.0);
    assert!(house.accepts(&token).await);
    assert_eq!(house.fetches(), 3);
}

#[tokio::test]
async fn l01_nothing_shows_which_token_was_meant() {
    let house = House::new().await;
    let caller = house.judge(&house.token(777)).await.unwrap();
    let shown = format!("{:?} {caller:?} {:?} {:?}", house.lists, house.jwt, Value::Null);
    assert!(!shown.contains("777") && !shown.contains("statuslists/"), "{shown}");
    assert!(shown.contains("lists: 1"), "{shown}");
}
