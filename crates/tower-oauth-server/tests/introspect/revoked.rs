//! Opaque tokens that have died before their time.

use std::time::Duration;

use serde_json::json;
use tower_oauth_core::ErrorKind;
use tower_oauth_server::{Outage, Revocation, RevocationSink, Revocations};
use tower_oauth_test::{Endpoint, Fault, ManualClock};

use crate::fixture::{House, inactive, judge_now, outage};

const ISSUER: &str = "https://issuer.test";

/// One who asks about tokens, over a list; the issuer goes on calling every token active.
fn house(answer: serde_json::Value) -> (House, Revocations) {
    let clock = ManualClock::new();
    let list = Revocations::builder().clock(clock.clone()).build().unwrap();
    let asked = list.clone();
    let house = House::with(
        |issuer| issuer.clock(clock.clone()).opaque_tokens(),
        |tokens| tokens.clock(clock.clone()).revocations(asked),
    );
    let house = House { clock, ..house };
    house.say(&house.answer(answer));
    (house, list)
}

#[tokio::test]
async fn d09_what_is_remembered_of_a_revoked_token_counts_no_more_at_once() {
    for (name, what, dies) in [
        ("its id", Revocation::token_id(ISSUER, "t-1"), true),
        ("its session", Revocation::session(ISSUER, "s-1"), true),
        ("its subject", Revocation::subject(ISSUER, "alice"), true),
        ("its client", Revocation::client(ISSUER, "shop"), true),
        ("its issuer", Revocation::of_issuer(ISSUER), true),
        ("another session", Revocation::session(ISSUER, "s-2"), false),
        ("another issuer", Revocation::of_issuer("https://other.test"), false),
    ] {
        let (house, list) = house(json!({ "jti": "t-1", "sid": "s-1" }));
        let token = house.token();
        assert!(house.accepts(&token).await, "{name}");
        list.revoke(&what);
        let verdict = judge_now(&house.tokens, &token).map(drop);
        assert_eq!(verdict, if dies { Err(inactive()) } else { Ok(()) }, "{name}");
        let fresh = house.token();
        assert_eq!(house.accepts(&fresh).await, !dies, "{name}");
        assert_eq!(house.calls(), 2, "{name}: one question each");
    }
}

#[tokio::test]
async fn a_token_is_revoked_by_its_text() {
    let (house, list) = house(json!({}));
    let [one, other] = [house.token(), house.token()];
    list.revoke_token(ISSUER, &one);
    assert_eq!(house.judge(&one).await.unwrap_err(), inactive());
    assert!(house.accepts(&other).await);
}

#[tokio::test]
async fn an_answer_that_does_not_say_when_it_was_issued_dies_with_its_subject() {
    let (house, list) = house(json!({ "iat": null }));
    let token = house.token();
    assert!(house.accepts(&token).await);
    list.revoke(&Revocation::subject(ISSUER, "alice").issued_at_or_before(1));
    assert_eq!(house.judge(&token).await.unwrap_err(), inactive());
}

#[tokio::test]
async fn a_token_that_does_not_say_whether_it_is_meant_is_asked_about_anew() {
    let (house, list) = house(json!({}));
    let token = house.token();
    assert!(house.accepts(&token).await);
    house.pass(1.0);
    list.revoke(&Revocation::session(ISSUER, "s-1"));
    list.revoke(&Revocation::sessionless(ISSUER, "alice"));
    house.pass(1.0);
    // No `sid` in the answer: only the issuer knows whether the session was this token's. It was not ...
    assert!(house.accepts(&token).await);
    assert_eq!(house.calls(), 2);
    // ... and that holds until the next session ends.
    assert!(judge_now(&house.tokens, &token).is_ok());
    list.revoke(&Revocation::session(ISSUER, "s-2"));
    house.issuer.heal(Endpoint::Introspection);
    house.say(&json!({ "active": false }));
    house.pass(1.0);
    assert_eq!(house.judge(&token).await.unwrap_err(), inactive());
    assert_eq!(house.calls(), 3);
}

#[tokio::test]
async fn an_outage_does_not_bring_a_revoked_token_back() {
    for (sid, what, expected) in [
        (json!("s-1"), Revocation::session(ISSUER, "s-1"), Err(inactive())),
        (json!("s-1"), Revocation::session(ISSUER, "s-2"), Ok(())),
    ] {
        let (house, list) = house(json!({ "sid": sid }));
        let grace = house.tokens.with_outage(Outage::Grace(Duration::from_secs(60))).unwrap();
        let token = house.token();
        assert!(house.accepts(&token).await);
        house.issuer.heal(Endpoint::Introspection);
        house.issuer.fault(Endpoint::Introspection, Fault::Status(500));
        house.pass(61.0);
        list.revoke(&what);
        assert_eq!(crate::fixture::judge(&grace, &token).await.map(drop), expected);
    }
    // Nor one that may have been meant: nobody can be asked.
    let (house, list) = house(json!({}));
    let grace = house.tokens.with_outage(Outage::Grace(Duration::from_secs(60))).unwrap();
    let token = house.token();
    assert!(house.accepts(&token).await);
    house.issuer.heal(Endpoint::Introspection);
    house.issuer.fault(Endpoint::Introspection, Fault::Status(500));
    house.pass(1.0);
    list.revoke(&Revocation::session(ISSUER, "s-1"));
    let rejection = crate::fixture::judge(&grace, &token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Status(500));
}
