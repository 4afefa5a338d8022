//! A set that grows old while the issuer is well.

use std::time::Duration;

use http::header::{CACHE_CONTROL, IF_NONE_MATCH};
use tower_oauth_server::JwksHealth;
use tower_oauth_test::{Endpoint, Fault, Rotation};

use crate::fixture::{House, settle};

/// The scripted issuer says `max-age=600`: due between 432 and 528 s.
const NOT_DUE: f64 = 431.0;
const DUE: f64 = 529.0;

#[tokio::test]
async fn case_03_a_known_key_in_a_fresh_set_costs_no_fetch() {
    let house = House::warm().await;
    for _ in 0..100 {
        assert!(house.judge_now(&house.token()).is_ok());
        house.pass(NOT_DUE / 100.0);
    }
    assert_eq!(house.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn case_05_case_06_ahead_of_its_end_the_set_is_refreshed_once_and_nobody_waits() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    let token = house.token();
    house.pass(DUE);
    for _ in 0..100 {
        assert!(house.judge_now(&token).is_ok());
    }
    settle(0.5).await;
    assert!(house.judge_now(&token).is_ok());
    settle(1.0).await;
    assert_eq!(house.fetches(), 1);
    house.pass(NOT_DUE);
    assert!(house.judge_now(&token).is_ok());
    settle(2.0).await;
    assert_eq!(house.fetches(), 1, "the set is as new as its refresh");
}

#[tokio::test(start_paused = true)]
async fn case_07_a_refresh_that_failed_is_tried_again_before_the_end() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Status(503)).times(2);
    let token = house.token();
    house.pass(DUE);
    for (passed, fetches) in [(0.0, 1), (0.5, 1), (0.5, 2), (1.0, 2), (1.0, 3), (9.0, 3)] {
        house.pass(passed);
        assert!(house.judge_now(&token).is_ok());
        settle(0.01).await;
        assert_eq!(house.fetches(), fetches);
    }
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test(start_paused = true)]
async fn case_04_past_its_end_the_old_set_serves_while_one_refresh_runs() {
    let house = House::warm().await;
    let token = house.token();
    house.pass(3600.0);
    assert!(matches!(house.jwt.jwks().health(), JwksHealth::Stale { .. }));
    assert!(house.judge_now(&token).is_ok());
    settle(0.01).await;
    assert_eq!(house.fetches(), 1);
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test]
async fn case_04_switched_off_the_old_set_serves_nobody() {
    let house = House::with(|issuer| issuer, |jwt| jwt.stale_for(Duration::ZERO)).warmed().await;
    let token = house.token();
    house.pass(600.0);
    // Not at once: the old set is no answer, and the new one is.
    assert!(house.accepts(&token).await);
    assert_eq!(house.fetches(), 1);
    house.pass(600.0);
    house.issuer.go_dark();
    assert!(!house.accepts(&token).await);
}

#[tokio::test(start_paused = true)]
async fn case_13_a_set_that_is_not_modified_is_renewed_and_nothing_changes() {
    let house = House::warm().await;
    let token = house.token();
    let generation = house.jwt.jwks().generation();
    for _ in 0..3 {
        house.pass(DUE);
        assert!(house.judge_now(&token).is_ok());
        settle(0.01).await;
        let request = house.issuer.last_request(Endpoint::Jwks).unwrap();
        assert!(request.headers().contains_key(IF_NONE_MATCH));
        assert!(!request.headers().contains_key(CACHE_CONTROL));
        assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
    }
    assert_eq!(house.fetches(), 3);
    assert_eq!(house.jwt.jwks().generation(), generation);

    house.issuer.rotate(Rotation::Replace);
    house.pass(DUE);
    assert!(house.judge_now(&token).is_ok());
    settle(0.01).await;
    assert_eq!(house.jwt.jwks().generation(), generation + 1);
    assert!(house.judge_now(&house.token()).is_ok());
}

#[tokio::test]
async fn case_12_a_set_that_must_not_be_cached_serves_a_minute() {
    let house = House::with(|issuer| issuer.jwks_cache_control("no-store"), |jwt| jwt);
    let house = house.warmed().await;
    house.pass(43.0);
    assert!(house.judge_now(&house.token()).is_ok());
    assert_eq!((house.fetches(), house.jwt.jwks().health()), (0, JwksHealth::Fresh));
    house.pass(17.0);
    assert!(matches!(house.jwt.jwks().health(), JwksHealth::Stale { .. }));
}

#[tokio::test]
async fn case_17_freshness_does_not_follow_the_wall_clock() {
    let house = House::warm().await;
    for step in [-3600, 7200, -3600] {
        house.clock.step_wall(step);
        assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
    }
    assert!(house.judge_now(&house.token()).is_ok());
    assert_eq!(house.fetches(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_address_is_asked_for_again_every_hour() {
    let house = House::warm().await;
    let token = house.token();
    for _ in 0..10 {
        house.pass(600.0);
        assert!(house.judge_now(&token).is_ok());
        settle(0.01).await;
    }
    assert_eq!((house.fetches(), house.issuer.calls(Endpoint::Discovery)), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_to_that_the_old_address_goes_on() {
    let house = House::warm().await;
    for fault in [Fault::Hang, Fault::Status(500), Fault::Garbage("<html>".into())] {
        house.issuer.fault(Endpoint::Discovery, fault.clone());
        house.pass(3601.0);
        assert!(house.judge_now(&house.token()).is_ok());
        settle(5.0).await;
        assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_gone_is_asked_for_again_at_once() {
    for fault in [Fault::Status(404), Fault::Status(410), Fault::Reset] {
        let house = House::warm().await;
        house.issuer.fault(Endpoint::Jwks, fault).times(1);
        house.pass(DUE);
        assert!(house.judge_now(&house.token()).is_ok());
        settle(0.01).await;
        // The issuer still names the same address: it is not asked a second time in one fetch.
        assert_eq!((house.fetches(), house.issuer.calls(Endpoint::Discovery)), (1, 1));
        house.pass(1.0);
        assert!(house.judge_now(&house.token()).is_ok());
        settle(0.01).await;
        assert_eq!(house.fetches(), 2);
        assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
    }
}

#[tokio::test]
async fn a_manual_refresh_shows_what_is_there_after_the_call() {
    let house = House::warm().await;
    let old = house.token();
    house.issuer.rotate(Rotation::Replace);
    house.jwt.jwks().refresh().await.unwrap();
    assert_eq!(house.fetches(), 1);
    assert!(house.judge_now(&house.token()).is_ok());
    assert!(!house.accepts(&old).await);

    house.issuer.go_dark();
    assert!(house.jwt.jwks().refresh().await.is_err());
    assert!(house.judge_now(&house.token()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_manual_refresh_does_not_take_the_answer_of_an_earlier_fetch() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    house.pass(DUE);
    assert!(house.judge_now(&house.token()).is_ok());
    settle(0.1).await;
    let (one, other) = tokio::join!(house.jwt.jwks().refresh(), house.jwt.jwks().refresh());
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(house.fetches(), 2, "the one in the air, and one for both");
}
