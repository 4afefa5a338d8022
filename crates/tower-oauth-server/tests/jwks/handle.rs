//! What an operator can do to the set, and see of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tower_oauth_core::ErrorKind;
use tower_oauth_jose::{Algorithm, KeySet, SkipReason, VerifyingKey};
use tower_oauth_server::{ColdStart, Jwks, JwksHealth, Jwt};
use tower_oauth_test::{Endpoint, Fault, Rotation};

use crate::fixture::{AUDIENCE, House, judge, settle, unknown_key, verdict};

#[tokio::test]
async fn an_evicted_key_and_its_tokens_are_gone_and_the_issuer_is_asked_for_it() {
    let house = House::warm().await;
    let old = house.token();
    house.issuer.rotate(Rotation::Add);
    let new = house.token();
    assert!(house.accepts(&new).await && house.judge_now(&old).is_ok());
    house.issuer.rotate(Rotation::Withdraw);
    house.issuer.reset_calls();

    assert!(house.jwt.jwks().evict("key-1"));
    assert!(!house.jwt.jwks().evict("key-1"), "it is gone already");
    assert!(!house.jwt.jwks().evict("z"));
    assert!(house.judge_now(&new).is_ok(), "the other key stays");
    house.pass(1.0);
    assert_eq!(house.judge(&old).await.unwrap_err(), unknown_key());
    assert_eq!(house.fetches(), 1);
}

#[tokio::test]
async fn an_evicted_key_that_the_issuer_stands_by_comes_back_with_the_request_that_needs_it() {
    let house = House::warm().await;
    let token = house.token();
    assert!(house.judge_now(&token).is_ok(), "it is remembered, too");
    let generation = house.jwt.jwks().generation();
    assert!(house.jwt.jwks().evict("key-1"));
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Unavailable { cause: None });
    assert!(house.accepts(&token).await);
    assert_eq!(house.fetches(), 1);
    assert_eq!(house.jwt.jwks().generation(), generation + 2, "no number comes twice");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_does_not_bring_back_what_was_dropped() {
    for all in [false, true] {
        let house = House::warm().await;
        let old = house.token();
        house.issuer.rotate(Rotation::Add);
        assert!(house.accepts(&house.token()).await);
        // The answer is written before the drop, and arrives after it.
        house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
        let jwks = house.jwt.jwks().clone();
        let refresh = tokio::spawn(async move { jwks.refresh().await });
        settle(0.5).await;
        if all {
            house.jwt.jwks().clear();
        } else {
            assert!(house.jwt.jwks().evict("key-1"));
        }
        refresh.await.unwrap().unwrap();
        if all {
            let health = house.jwt.jwks().health();
            assert_eq!(health, JwksHealth::Unavailable { cause: None });
        }
        assert!(house.accepts(&house.token()).await, "all: {all}");
        house.issuer.heal_all();
        house.jwt.jwks().refresh().await.unwrap();
        assert!(house.accepts(&old).await, "a fetch from after the drop is the issuer's word");
    }
}

#[tokio::test]
async fn a_cleared_set_is_a_cold_start() {
    let house = House::warm().await;
    let token = house.token();
    assert!(house.judge_now(&token).is_ok());
    house.jwt.jwks().clear();
    house.jwt.jwks().clear();
    assert_eq!(house.jwt.jwks().generation(), 0);
    assert!(house.accepts(&token).await);
    assert_eq!((house.fetches(), house.jwt.jwks().generation()), (1, 2));
    house.jwt.jwks().clear();
    house.issuer.go_dark();
    let rejection = house.judge(&token).await.unwrap_err();
    assert_eq!(rejection.status(), 503, "remembered or not, nobody is let in without a key");
}

#[tokio::test]
async fn what_is_dropped_of_a_fixed_set_is_gone_for_good() {
    let house = House::new();
    let keys = KeySet::from_jwks(house.issuer.jwks().to_string()).unwrap();
    let fixed = |jwks: &Jwks| {
        let jwt = Jwt::issuer(house.issuer.issuer()).audience(AUDIENCE).jwks(jwks.clone());
        jwt.clock(Arc::new(house.clock.clone())).build().unwrap()
    };
    for all in [false, true] {
        let jwks = Jwks::fixed(keys.clone()).unwrap();
        let jwt = fixed(&jwks);
        assert!(judge(&jwt, &house.token()).await.is_ok());
        if all {
            jwks.clear();
        } else {
            assert!(jwks.evict("key-1"));
            assert!(!jwks.evict("key-1"));
        }
        assert_eq!(judge(&jwt, &house.token()).await.unwrap_err().status(), 503);
        assert_eq!(jwks.health(), JwksHealth::Unavailable { cause: None });
    }
}

#[tokio::test]
async fn the_status_tells_what_the_last_load_brought() {
    let house = House::new();
    let status = || house.jwt.jwks().status();
    assert!(status().last_load.is_none() && status().last_error.is_none());
    house.issuer.publish_extra_key(json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }));
    house.jwt.jwks().warm().await.unwrap();
    let load = status().last_load.unwrap();
    assert_eq!((load.added(), load.keys(), load.generation()), (&["key-1".to_owned()][..], 1, 1));
    let skipped = load.skipped();
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].kid(), skipped[0].reason()), (Some("s"), SkipReason::Symmetric));

    house.issuer.rotate(Rotation::Replace);
    house.jwt.jwks().refresh().await.unwrap();
    let load = status().last_load.unwrap();
    assert_eq!(
        (load.added(), load.removed()),
        (&["key-2".to_owned()][..], &["key-1".to_owned()][..])
    );
    house.issuer.rotate(Rotation::SameKid);
    house.jwt.jwks().refresh().await.unwrap();
    assert_eq!(status().last_load.unwrap().changed(), ["key-2"]);

    house.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    house.jwt.jwks().refresh().await.unwrap_err();
    let failed = status();
    assert_eq!(failed.health, JwksHealth::Fresh);
    assert_eq!(failed.last_error, Some(ErrorKind::Status(500)));
    assert_eq!(failed.last_load.unwrap().changed(), ["key-2"], "the last that went well");
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_each_change_of_state_and_nothing_else() {
    let house = House::new();
    let mut watch = house.jwt.jwks().watch();
    let quiet = tokio::time::timeout(Duration::from_secs(3600), watch.changed()).await;
    assert!(quiet.is_err(), "nothing has happened");

    house.jwt.jwks().warm().await.unwrap();
    assert_eq!(watch.changed().await.health, JwksHealth::Fresh);
    house.jwt.jwks().refresh().await.unwrap();
    let same = tokio::time::timeout(Duration::from_secs(300), watch.changed()).await;
    assert!(same.is_err(), "the same keys are no news");

    house.issuer.rotate(Rotation::Add);
    house.jwt.jwks().refresh().await.unwrap();
    assert_eq!(watch.changed().await.last_load.unwrap().added(), ["key-2"]);

    house.issuer.go_dark();
    house.jwt.jwks().refresh().await.unwrap_err();
    assert_eq!(watch.changed().await.last_error, Some(ErrorKind::Transport));

    // Age tells nobody, so that the watch looks for itself.
    for (seconds, stale) in [(600.0, true), (24.0 * 3600.0, false)] {
        let mut changed = pin!(watch.changed());
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut changed).await.is_err());
        house.pass(seconds);
        let status = changed.await;
        assert_eq!(matches!(status.health, JwksHealth::Stale { .. }), stale);
    }
    house.issuer.light_up().unwrap();
    house.jwt.jwks().refresh().await.unwrap();
    assert_eq!(watch.changed().await.health, JwksHealth::Fresh);
    assert!(house.jwt.jwks().evict("key-1"));
    let status = watch.changed().await;
    assert_eq!(status.health, JwksHealth::Fresh);
    assert_eq!(watch.status().health, JwksHealth::Fresh);
}

#[tokio::test(start_paused = true)]
async fn case_33_the_gate_opens_after_the_fetch_with_success_or_without_by_policy() {
    // The issuer answers after 3 s.
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(3)));
    for policy in [ColdStart::Loaded, ColdStart::Tried] {
        house.jwt.jwks().clear();
        let mut ready = pin!(house.jwt.jwks().ready(policy));
        let early = tokio::time::timeout(Duration::from_millis(2_900), &mut ready).await;
        assert!(early.is_err(), "{policy:?}");
        let late = tokio::time::timeout(Duration::from_millis(200), &mut ready).await;
        assert_eq!(late.unwrap(), JwksHealth::Fresh, "{policy:?}");
    }
    // The issuer is down.
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    let cause = Some(ErrorKind::Status(500));
    let health = house.jwt.jwks().ready(ColdStart::Tried).await;
    assert_eq!(health, JwksHealth::Unavailable { cause });
    let mut ready = pin!(house.jwt.jwks().ready(ColdStart::Loaded));
    for _ in 0..10 {
        assert!(tokio::time::timeout(Duration::from_secs(2), &mut ready).await.is_err());
        house.pass(2.0);
    }
    assert!((10..=12).contains(&house.fetches()), "tried again, at its pace: {}", house.fetches());
    house.issuer.heal_all();
    let open = tokio::time::timeout(Duration::from_secs(2), &mut ready).await;
    assert_eq!(open.unwrap(), JwksHealth::Fresh);
}

#[tokio::test(start_paused = true)]
async fn case_08_an_idle_process_refreshes_if_it_is_told_to_and_else_asks_nobody() {
    for told in [false, true] {
        let house = House::warm().await;
        let jwks = house.jwt.jwks().clone();
        let keeper = tokio::spawn(async move {
            if told {
                jwks.keep_fresh().await;
            }
        });
        for _ in 0..60 {
            settle(60.0).await;
            house.pass(60.0);
        }
        settle(61.0).await;
        let fetches = house.fetches();
        if told {
            // Every 432 to 528 s, and up to a minute of this test's steps.
            assert!((6..=9).contains(&fetches), "{fetches}");
            assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
        } else {
            assert_eq!(fetches, 0);
            assert!(house.judge_now(&house.token()).is_ok(), "by the set at hand");
            settle(0.01).await;
            assert_eq!((house.fetches(), house.jwt.jwks().health()), (1, JwksHealth::Fresh));
        }
        keeper.abort();
    }
}

#[tokio::test]
async fn k13_clocks_that_jump_make_no_key_older_and_no_dead_token_alive() {
    let house = House::warm().await;
    let token = house.token();
    for step in [3_600, -7_200, 3_600, i64::MIN, i64::MAX] {
        house.clock.step_wall(step);
        assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh, "{step}");
        // Whatever the verdict, it is one, and it is the wall clock's.
        let alive = (0..24 * 3_600 + 30).contains(&(wall(&house) - issued_at(&token)));
        let early = (-30..0).contains(&(wall(&house) - issued_at(&token)));
        assert_eq!(verdict_is_good(&house, &token), alive || early, "{step}");
    }
    // Suspended for a week: the set is too old, and says so.
    let house = House::warm().await;
    house.pass(7.0 * 24.0 * 3_600.0);
    assert!(matches!(house.jwt.jwks().health(), JwksHealth::Unavailable { .. }));
    assert!(house.accepts(&house.token()).await);
}

fn wall(house: &House) -> i64 {
    tower_oauth_core::Clock::unix_seconds(&house.clock)
}

fn verdict_is_good(house: &House, token: &str) -> bool {
    matches!(verdict(&house.jwt, token), tower_oauth_server::Verdict::Now(Ok(_)))
}

fn issued_at(token: &str) -> i64 {
    let payload = token.split('.').nth(1).unwrap();
    let payload = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()
    };
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    claims["iat"].as_i64().unwrap()
}

#[test]
fn of_a_fixed_set_every_key_that_is_evicted_is_gone_whoever_evicts_another_meanwhile() {
    const KEYS: usize = 8;
    let names: Vec<_> = (0..=KEYS).map(|n| n.to_string()).collect();
    let keys: Vec<_> = names
        .iter()
        .map(|kid| {
            VerifyingKey::hmac(Algorithm::HS256, kid.repeat(64))
                .unwrap()
                .with_kid(kid.as_str())
                .unwrap()
        })
        .collect();
    for round in 0..200 {
        let jwks = Jwks::fixed(KeySet::from_keys(keys.clone())).unwrap();
        let start = std::sync::Barrier::new(KEYS);
        std::thread::scope(|scope| {
            for kid in &names[..KEYS] {
                scope.spawn(|| {
                    start.wait();
                    assert!(jwks.evict(kid));
                });
            }
        });
        assert_eq!(jwks.generation(), 1 + KEYS as u64, "round {round}: one has come back");
        assert!(!names[..KEYS].iter().any(|kid| jwks.evict(kid)), "round {round}");
        assert!(jwks.evict(&names[KEYS]));
    }
}

#[tokio::test(start_paused = true)]
async fn case_33_the_gate_asks_again_after_half_a_minute_whatever_pause_the_issuer_wants() {
    let house = House::new();
    let fault = Fault::StatusWithRetryAfter { status: 503, retry_after: "300".into() };
    house.issuer.fault(Endpoint::Jwks, fault).times(1);
    let (jwks, clock) = (house.jwt.jwks().clone(), house.clock.clone());
    let ready = tokio::spawn(async move { jwks.ready(ColdStart::Loaded).await });
    for _ in 0..31 {
        settle(1.0).await;
        clock.advance(Duration::from_secs(1));
    }
    settle(1.0).await;
    assert!(ready.is_finished(), "still waiting after {} fetches", house.fetches());
    assert_eq!(ready.await.unwrap(), JwksHealth::Fresh);
}
