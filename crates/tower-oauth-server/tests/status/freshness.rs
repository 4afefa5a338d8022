//! How long a list is believed, and when it is asked for again.

use std::time::Duration;

use serde_json::json;
use tower_oauth_jose::InvalidToken;
use tower_oauth_test::{Endpoint, Fault};

use crate::fixture::{House, invalid, revoked, settle};

#[tokio::test(start_paused = true)]
async fn case_70_a_token_that_is_revoked_in_the_list_is_refused_within_its_ttl() {
    // At any moment of the list's life, whether the token was seen before or not.
    for revoked_at in [0.0, 1.0, 30.0, 50.0, 59.0] {
        let house = House::new().await;
        let (seen, unseen) = (house.token(7), house.token(7));
        assert!(house.accepts(&seen).await);
        house.pass(revoked_at);
        house.issuer.set_status(7, 1);
        house.pass(60.0 - revoked_at);
        for token in [&seen, &unseen, &seen] {
            assert_eq!(house.judge(token).await.unwrap_err(), revoked(), "at {revoked_at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_70_under_a_steady_stream_nobody_waits_and_the_flip_is_seen_within_the_ttl() {
    let house = House::new().await;
    let (token, good) = (house.token(7), house.token(8));
    assert!(house.accepts(&token).await && house.accepts(&good).await);
    let mut refused_after = None;
    for second in 0..600 {
        if second == 300 {
            house.issuer.set_status(7, 1);
        }
        // `judge_now` panics if a request has to wait.
        assert!(house.judge_now(&good).is_ok());
        match house.judge_now(&token) {
            Ok(_) => assert!(refused_after.is_none(), "let in again"),
            Err(rejection) => {
                assert_eq!(rejection, revoked());
                refused_after.get_or_insert(second - 300);
            }
        }
        settle(0.001).await;
        house.pass(1.0);
    }
    let refused_after = refused_after.expect("refused in the end");
    assert!((0..=60).contains(&refused_after), "{refused_after}");
    // One each 43 to 53 s.
    assert!((11..=15).contains(&house.fetches()), "{}", house.fetches());
}

#[tokio::test]
async fn a_list_is_fresh_for_its_ttl_within_bounds() {
    for (ttl, expected) in [
        (Some(60), 60.0),
        (None, 60.0),
        (Some(1), 5.0),
        (Some(300), 300.0),
        (Some(24 * 3600), 3600.0),
    ] {
        let house = House::new().await;
        house.issuer.set_status_list_ttl(ttl.map(Duration::from_secs));
        // No refresh ahead, since nobody comes meanwhile.
        let token = house.token(7);
        assert!(house.accepts(&token).await);
        house.issuer.set_status(7, 1);
        house.pass(expected - 0.001);
        assert!(house.judge_now(&token).is_ok(), "{ttl:?}");
        house.pass(0.001);
        // The refresh that the last look has set off may have landed, or the next look waits for it.
        assert_eq!(house.judge(&token).await.unwrap_err(), revoked(), "{ttl:?}");
        assert_eq!(house.fetches(), 2);
    }
    let house = House::with(|lists| lists.max_ttl(Duration::from_secs(10))).await;
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    house.issuer.set_status(7, 1);
    house.pass(10.0);
    assert_eq!(house.judge(&token).await.unwrap_err(), revoked());
}

#[tokio::test]
async fn a_list_ends_with_its_exp_whatever_its_ttl() {
    let house = House::new().await;
    let now = tower_oauth_core::Clock::unix_seconds(&house.clock);
    house.serve_list(house.list(json!({"ttl": 600, "exp": now + 20})));
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    house.issuer.heal(Endpoint::StatusList);
    house.issuer.set_status(7, 1);
    house.pass(20.0);
    assert_eq!(house.judge(&token).await.unwrap_err(), revoked());
    // The wall clock is set forward: the list is past its `exp` and the leeway, and is not used.
    let house = House::new().await;
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    house.clock.step_wall(10 * 3600);
    assert!(house.judge_now(&token).is_ok());
    house.clock.step_wall(-10 * 3600);
    house.serve_list(house.list(json!({"ttl": 600, "exp": now + 100})));
    house.pass(60.0);
    assert!(house.accepts(&token).await);
    house.issuer.heal(Endpoint::StatusList);
    house.issuer.set_status(7, 1);
    house.clock.step_wall(200);
    assert_eq!(house.judge(&token).await.unwrap_err(), revoked());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_ahead_lets_nobody_wait_and_is_one() {
    let house = House::new().await;
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
    house.pass(43.0);
    assert!(house.judge_now(&token).is_ok());
    assert_eq!(house.fetches(), 1, "before 72 % of the ttl nobody asks");
    house.pass(10.0);
    for _ in 0..100 {
        assert!(house.judge_now(&token).is_ok());
        settle(0.001).await;
    }
    assert_eq!(house.fetches(), 2);
    settle(1.0).await;
    house.issuer.set_status(7, 1);
    house.pass(43.0);
    assert!(house.judge_now(&token).is_ok(), "the new list is fresh for its own time");
}

#[tokio::test]
async fn case_09_an_older_list_does_not_take_the_place_of_a_newer_one() {
    let house = House::new().await;
    let token = house.token(7);
    let old = house.issuer.mint(house.list(json!({})));
    house.pass(1.0);
    house.issuer.set_status(7, 1);
    assert_eq!(house.judge(&token).await.unwrap_err(), revoked());
    // A cache on the way, or somebody who has kept it.
    house.serve(old);
    house.pass(60.0);
    assert_eq!(house.judge(&token).await.unwrap_err(), revoked());
    assert_eq!(house.judge(&house.token(8)).await.map(drop), Ok(()));
    assert_eq!(house.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_has_grown_is_fetched_for_the_first_token_that_is_not_in_it() {
    let house = House::new().await;
    house.issuer.set_status_list_size(16);
    assert!(house.accepts(&house.token(7)).await);
    // Issued a moment later, when the list is longer.
    house.issuer.set_status_list_size(32);
    let (young, bad) = (house.token(20), house.token(21));
    house.issuer.set_status(21, 1);
    assert!(house.accepts(&young).await);
    assert_eq!(house.judge(&bad).await.unwrap_err(), revoked());
    assert_eq!(house.fetches(), 2);
}

#[tokio::test]
async fn an_index_beyond_the_list_is_refused_and_no_weapon() {
    let house = House::new().await;
    house.issuer.set_status_list_size(16);
    let (beyond, good) = (house.token(16), house.token(15));
    let refused = invalid(InvalidToken::NoStatus);
    // A list from before the question is not the last word.
    assert!(house.accepts(&good).await);
    let mut fetches = Vec::new();
    for second in 0..120 {
        for n in 0..3 {
            let token = if n == 0 { beyond.clone() } else { house.token(u64::MAX - n) };
            assert_eq!(house.judge(&token).await.unwrap_err(), refused, "{second}");
        }
        fetches.push(house.fetches());
        house.pass(1.0);
    }
    // 0, 1, 3, 7, 15, 31, 61, 91 s, and each refresh ahead.
    assert!(fetches[59] <= 1 + 6 + 2, "{fetches:?}");
    assert!(fetches[119] - fetches[59] <= 2 + 3, "{fetches:?}");
    assert!(house.accepts(&good).await);
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn what_is_cleared_is_fetched_anew_and_not_brought_back_by_an_earlier_fetch() {
    let house = House::new().await;
    let token = house.token(7);
    assert!(house.accepts(&token).await);
    house.issuer.set_status(7, 1);
    assert!(house.judge_now(&token).is_ok());
    house.lists.clear();
    assert_eq!(house.judge(&token).await.unwrap_err(), revoked());
    assert_eq!(house.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_a_clear_is_answered_and_not_kept() {
    let house = House::new().await;
    let (token, other) = (house.token(7), house.token(8));
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1))).times(1);
    let (jwt, waiting) = (house.jwt.clone(), token.clone());
    let waiting = tokio::spawn(async move { crate::fixture::judge(&jwt, &waiting).await.is_ok() });
    settle(0.5).await;
    house.lists.clear();
    assert!(waiting.await.unwrap());
    assert!(house.accepts(&other).await);
    assert_eq!(house.fetches(), 2, "the second asked for itself");
}

#[tokio::test(start_paused = true)]
async fn an_index_beyond_the_list_is_no_weapon_either_while_a_fetch_is_in_the_air() {
    let house = House::new().await;
    house.issuer.set_status_list_size(16);
    assert!(house.accepts(&house.token(7)).await);
    house.issuer.fault(Endpoint::StatusList, Fault::Delay(Duration::from_secs(1)));
    let mut waiting = Vec::new();
    for n in 0..240 {
        let (jwt, token) = (house.jwt.clone(), house.token(100 + n));
        waiting.push(tokio::spawn(async move { crate::fixture::judge(&jwt, &token).await }));
        settle(0.25).await;
        house.pass(0.25);
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap_err(), invalid(InvalidToken::NoStatus));
    }
    // The first one; at 0, 1, 3, 7, 15, 31 s, and one refresh ahead.
    assert!(house.fetches() <= 9, "{}", house.fetches());
}
