//! A list cannot be had: what each route wants, and when it is tried again.

use std::time::Duration;

use serde_json::json;
use tower_oauth_core::ErrorKind;
use tower_oauth_server::Outage;
use tower_oauth_test::{Endpoint, Fault};

use crate::fixture::{House, judge, outage, revoked};

const GRACE: Outage = Outage::Grace(Duration::from_secs(120));

#[tokio::test]
async fn case_70_while_the_list_is_unreachable_each_route_does_as_it_is_told() {
    let house = House::new().await;
    let graceful = house.sibling(house.lists.with_outage(GRACE).unwrap());
    let (token, bad) = (house.token(7), house.token(9));
    house.issuer.set_status(9, 1);
    assert!(house.accepts(&token).await);
    house.issuer.go_dark();
    house.pass(40.0);
    assert!(house.judge_now(&token).is_ok(), "the list is fresh");
    house.pass(20.0);
    let closed = house.judge(&token).await.unwrap_err();
    assert_eq!(outage(&closed), (ErrorKind::Transport, 1));
    assert_eq!(closed.status(), 503);
    assert!(judge(&graceful, &token).await.is_ok());
    assert_eq!(judge(&graceful, &bad).await.unwrap_err(), revoked(), "grace revives nobody");
    house.pass(119.0);
    assert!(judge(&graceful, &token).await.is_ok());
    // The bound.
    house.pass(1.0);
    for token in [&token, &bad] {
        let rejection = judge(&graceful, token).await.unwrap_err();
        assert_eq!(outage(&rejection).0, ErrorKind::Transport);
    }
    // And it heals within the longest pause.
    house.issuer.light_up().unwrap();
    house.pass(10.0);
    assert!(house.accepts(&token).await && judge(&graceful, &token).await.is_ok());
    assert_eq!(judge(&graceful, &bad).await.unwrap_err(), revoked());
}

#[tokio::test]
async fn case_70_grace_is_for_a_list_that_was_there_and_has_not_ended() {
    let house = House::with(|lists| lists.outage(GRACE)).await;
    let token = house.token(7);
    house.issuer.go_dark();
    let rejection = house.judge(&token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Transport, "there was none");
    house.issuer.light_up().unwrap();
    house.pass(1.0);
    // It ends in 90 s, and 30 s of leeway.
    let now = tower_oauth_core::Clock::unix_seconds(&house.clock);
    house.serve_list(house.list(json!({ "exp": now + 90 })));
    assert!(house.accepts(&token).await);
    house.issuer.go_dark();
    house.pass(119.0);
    assert!(house.accepts(&token).await);
    house.pass(1.0);
    assert_eq!(outage(&house.judge(&token).await.unwrap_err()).0, ErrorKind::Transport);
    // An index that the last list does not know was never good.
    let house = House::with(|lists| lists.outage(GRACE)).await;
    house.issuer.set_status_list_size(16);
    assert!(house.accepts(&house.token(7)).await);
    house.issuer.go_dark();
    let rejection = house.judge(&house.token(99)).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Transport, "nobody knows");
    assert!(house.judge_now(&house.token(7)).is_ok(), "the others are not touched");
}

#[tokio::test(start_paused = true)]
async fn case_70_what_is_an_outage_and_what_is_not() {
    for (fault, graceful) in [
        (Fault::Status(500), true),
        (Fault::Status(429), true),
        (Fault::Hang, true),
        (Fault::Reset, true),
        (Fault::CutBody, true),
        (Fault::EndlessBody, true),
        (Fault::DripForever(Duration::from_secs(1)), true),
        (Fault::Garbage("<html>".into()), true),
        (Fault::Redirect("https://issuer.test/statuslists/1".into()), false),
        (Fault::Status(401), false),
        (Fault::Status(403), false),
        (Fault::Status(404), false),
    ] {
        let house = House::with(|lists| lists.outage(GRACE)).await;
        let token = house.token(7);
        assert!(house.accepts(&token).await);
        house.pass(60.0);
        house.issuer.fault(Endpoint::StatusList, fault.clone());
        assert_eq!(house.accepts(&token).await, graceful, "{fault:?}");
        let unseen = house.mint(house.issuer.status_claim_of(&house.uri("2"), 7));
        assert_eq!(house.judge(&unseen).await.unwrap_err().status(), 503, "{fault:?}");
    }
}

#[tokio::test]
async fn a_dark_issuer_is_not_asked_per_request() {
    let house = House::new().await;
    house.issuer.fault(Endpoint::StatusList, Fault::Status(503));
    let token = house.token(7);
    for _ in 0..600 {
        for _ in 0..3 {
            assert_eq!(outage(&house.judge(&token).await.unwrap_err()).0, ErrorKind::Status(503));
        }
        house.pass(1.0);
    }
    // In 1, 2, 4, 8 s and every 10 s.
    assert!((60..=65).contains(&house.fetches()), "{}", house.fetches());
    house.issuer.heal(Endpoint::StatusList);
    house.pass(10.0);
    assert!(house.accepts(&token).await);
}

#[tokio::test]
async fn case_64_a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let house = House::new().await;
    for (asked, kept) in [("17", 17), ("315360000", 300)] {
        let fault = Fault::StatusWithRetryAfter { status: 429, retry_after: asked.into() };
        house.issuer.fault(Endpoint::StatusList, fault).times(1);
        house.lists.clear();
        let token = house.token(7);
        let first = house.judge(&token).await.unwrap_err();
        assert_eq!(outage(&first), (ErrorKind::Status(429), kept));
        house.pass(kept as f64 - 1.0);
        assert_eq!(outage(&house.judge_now(&token).unwrap_err()), (ErrorKind::Status(429), 1));
        house.pass(1.0);
        assert!(house.accepts(&token).await);
    }
}

#[tokio::test]
async fn one_list_that_fails_harms_no_other() {
    let house = House::new().await;
    house.issuer.fault(Endpoint::StatusList, Fault::Status(404)).times(1);
    let (gone, there) =
        (house.token(7), house.mint(house.issuer.status_claim_of(&house.uri("2"), 7)));
    assert_eq!(outage(&house.judge(&gone).await.unwrap_err()).0, ErrorKind::Status(404));
    assert!(house.accepts(&there).await);
    assert_eq!(outage(&house.judge_now(&gone).unwrap_err()).0, ErrorKind::Status(404));
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_ahead_is_tried_again_and_nobody_notices() {
    let house = House::new().await;
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    house.issuer.fault(Endpoint::StatusList, Fault::Status(500)).times(2);
    house.pass(53.0);
    for _ in 0..7 {
        assert!(house.judge_now(&token).is_ok());
        crate::fixture::settle(0.001).await;
        house.pass(0.99);
    }
    assert_eq!(house.fetches(), 4, "at 0, 1 and 3 s");
    house.pass(10.0);
    assert!(house.judge_now(&token).is_ok());
}

#[tokio::test]
async fn while_the_keys_cannot_be_had_a_list_cannot_be_verified() {
    let house = House::new().await;
    let token = house.token(7);
    // Signed with a key that is not in the set yet, which cannot be fetched.
    house.issuer.rotate(tower_oauth_test::Rotation::Add);
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    let rejection = house.judge(&token).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::Status(500));
    house.issuer.heal(Endpoint::Jwks);
    house.pass(1.0);
    assert!(house.accepts(&token).await);
}
