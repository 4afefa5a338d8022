//! An issuer that is dark or talks nonsense, behind a set that was good.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tower_oauth_core::ErrorKind;
use tower_oauth_jose::SkipReason;
use tower_oauth_server::{JwksHealth, Rejection};
use tower_oauth_test::{Endpoint, Fault, Rotation, Signature, TokenSpec};

use crate::fixture::{House, bad_signature, settle, unknown_key};

const HOUR: f64 = 3600.0;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn k14_case_34_case_35_case_37_the_last_good_set_serves_for_a_day_and_no_longer() {
    let house = House::warm().await;
    house.issuer.go_dark();
    let mut left = Duration::MAX;
    for _ in 0..24 {
        house.pass(HOUR);
        assert!(house.judge_now(&house.token()).is_ok());
        settle(0.01).await;
        let JwksHealth::Stale { left: now_left } = house.jwt.jwks().health() else {
            panic!("case 37: {:?} is not honest", house.jwt.jwks().health());
        };
        assert!(now_left < left);
        left = now_left;
    }
    // Fresh for 10 minutes, and a day more.
    house.pass(599.0);
    assert!(house.judge_now(&house.token()).is_ok());
    settle(0.01).await;
    house.pass(1.0);
    let rejection = house.judge(&house.token()).await.unwrap_err();
    assert!(matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Transport, .. }));
    let cause = Some(ErrorKind::Transport);
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Unavailable { cause });

    // And it heals within a second.
    house.issuer.light_up().unwrap();
    house.pass(1.0);
    assert!(house.accepts(&house.token()).await);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_dark_is_not_asked_per_request() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    house.pass(600.0);
    for _ in 0..3600 {
        assert!(house.judge_now(&house.token()).is_ok());
        settle(0.001).await;
        house.pass(1.0);
    }
    // 1, 2, 4, .. 32 s, then 48 to 60 s each.
    assert!((60..=85).contains(&house.fetches()), "{}", house.fetches());
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_asks_for_a_pause_gets_it() {
    let house = House::warm().await;
    let fault = Fault::StatusWithRetryAfter { status: 429, retry_after: "120".into() };
    house.issuer.fault(Endpoint::Jwks, fault).times(1);
    house.pass(600.0);
    for (passed, fetches) in [(0.0, 1), (60.0, 1), (59.0, 1), (1.0, 2)] {
        house.pass(passed);
        assert!(house.judge_now(&house.token()).is_ok());
        settle(0.01).await;
        assert_eq!(house.fetches(), fetches);
    }
}

/// What is served is honest about it: whether a key is unknown is known only from an answer.
#[tokio::test]
async fn case_36_behind_the_last_good_set_an_unknown_key_is_unknown_unless_its_look_up_just_failed()
{
    let house = House::warm().await;
    let other_key = house.issuer.mint(TokenSpec::new().signature(Signature::Stranger));
    house.issuer.go_dark();
    house.pass(HOUR);
    let pause = |rejection| match rejection {
        Rejection::Unavailable { cause: ErrorKind::Transport, retry_after } => retry_after,
        other => panic!("{other:?}"),
    };
    // Its own look-up failed, and so has that of everybody within the pause after it.
    assert!(pause(house.judge(&house.issuer.forge("z")).await.unwrap_err()) >= SECOND);
    let fetches = house.fetches();
    for token in [house.issuer.forge("z"), house.issuer.forge("y"), other_key.clone()] {
        assert!(pause(house.judge_now(&token).unwrap_err()) >= SECOND);
    }
    assert_eq!(house.fetches(), fetches);
    assert!(house.accepts(&house.token()).await);

    // An answer says that it is unknown, and holds when the issuer is dark again.
    house.issuer.light_up().unwrap();
    house.pass(1.0);
    assert_eq!(house.judge(&house.issuer.forge("z")).await.unwrap_err(), unknown_key());
    house.issuer.go_dark();
    assert_eq!(house.judge_now(&house.issuer.forge("z")).unwrap_err(), unknown_key());
    // Here the budget for forgeries refuses: nobody has failed.
    assert_eq!(house.judge_now(&house.issuer.forge("y")).unwrap_err(), unknown_key());
    assert_eq!(house.judge_now(&other_key).unwrap_err(), bad_signature());
}

fn good_keys(house: &House) -> String {
    house.issuer.jwks().to_string()
}

fn json_fault(status: u16, body: impl Into<Bytes>) -> Fault {
    Fault::Body { status, content_type: "application/json".into(), body: body.into() }
}

type Expected = fn(ErrorKind) -> bool;

/// Everything that is no key set, with what it is called.
fn nonsense(house: &House) -> Vec<(Fault, Expected)> {
    let malformed: Expected = |kind| matches!(kind, ErrorKind::Malformed(_));
    let too_large: Expected = |kind| kind == ErrorKind::TooLarge;
    let good = good_keys(house);
    let many: Vec<_> = (0..10_000).map(|n| json!({ "kid": n.to_string() })).collect();
    let few_too_many: Vec<_> = (0..101).map(|n| json!({ "kid": n.to_string() })).collect();
    let mut faults: Vec<(Fault, Expected)> = Vec::new();
    for text in [
        "null",
        "{}",
        "[]",
        r#"{"keys":null}"#,
        r#"{"keys":[null]}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#,
        r#"{"keys":[{"kty":"AKP","kid":"a","alg":"ML-DSA-44","pub":"AA"}]}"#,
        "<html><body>Bad gateway</body></html>",
        "",
    ] {
        faults.push((Fault::Garbage(text.into()), malformed));
    }
    let half = good.split_at(good.len() / 2).0.to_owned();
    faults.push((Fault::Garbage(half.into()), malformed));
    faults.push((Fault::Garbage(json!({ "keys": few_too_many }).to_string().into()), malformed));
    faults.push((Fault::Garbage(json!({ "keys": many }).to_string().into()), malformed));
    faults.push((Fault::Garbage(vec![b' '; 10_000_000].into()), too_large));
    let large_key =
        json!({"keys": [{"kty": "RSA", "kid": "a", "n": "x".repeat(1 << 20), "e": "AQAB"}]});
    faults.push((Fault::Garbage(large_key.to_string().into()), too_large));
    // A bomb stays shut: nothing asks for a content coding, and what comes in one is no key set.
    for magic in [&[0x1f, 0x8b, 8, 0][..], &[0x28, 0xb5, 0x2f, 0xfd]] {
        faults.push((Fault::Garbage([magic, &[0; 60_000]].concat().into()), malformed));
    }
    faults.push((Fault::EndlessBody, too_large));
    faults.push((Fault::DripForever(Duration::from_millis(100)), |k| k == ErrorKind::Timeout));
    faults.push((Fault::Hang, |kind| kind == ErrorKind::Timeout));
    faults.push((Fault::CutBody, |kind| kind == ErrorKind::Transport));
    faults.push((Fault::Reset, |kind| kind == ErrorKind::Transport));
    faults.push((json_fault(500, good.clone()), |kind| kind == ErrorKind::Status(500)));
    faults.push((json_fault(204, ""), |kind| kind == ErrorKind::Status(204)));
    faults.push((json_fault(206, good), |kind| kind == ErrorKind::Status(206)));
    for target in [
        "https://elsewhere.test/jwks",
        "http://issuer.test/jwks",
        "http://169.254.169.254/",
        "http://127.0.0.1/jwks",
        "https://[::1]/jwks",
        "/elsewhere",
    ] {
        faults.push((Fault::Redirect(target.into()), |kind| kind == ErrorKind::Redirect));
    }
    faults
}

#[tokio::test(start_paused = true)]
async fn k01_k02_k03_case_38_case_39_case_40_case_41_case_42_case_43_nothing_bad_replaces_a_good_set()
 {
    let house = House::warm().await;
    for (fault, expected) in nonsense(&house) {
        house.issuer.fault(Endpoint::Jwks, fault.clone());
        house.pass(HOUR);
        let token = house.token();
        let generation = house.jwt.jwks().generation();
        // In the background ..
        assert!(house.judge_now(&token).is_ok());
        settle(6.0).await;
        // .. by a miss, where nobody knows then whether there is such a key ..
        let rejection = house.judge(&house.issuer.forge("z")).await.unwrap_err();
        assert!(matches!(rejection, Rejection::Unavailable { .. }), "{rejection:?}");
        // .. and by hand, where the reason is told.
        let error = house.jwt.jwks().refresh().await.unwrap_err();
        let shown = format!("{fault:?}").chars().take(80).collect::<String>();
        assert!(expected(error.kind()), "{shown}: {error:?}");
        assert!(house.judge_now(&token).is_ok(), "{shown}");
        assert_eq!(house.jwt.jwks().generation(), generation, "{shown}");
        assert!(matches!(house.jwt.jwks().health(), JwksHealth::Stale { .. }), "{shown}");
        house.issuer.heal_all();
        house.jwt.jwks().refresh().await.unwrap();
    }
}

#[tokio::test]
async fn k01_nothing_asks_for_a_content_coding() {
    let house = House::new();
    house.jwt.jwks().refresh().await.unwrap();
    let asked: Vec<_> =
        Endpoint::ALL.iter().filter_map(|endpoint| house.issuer.last_request(*endpoint)).collect();
    assert_eq!(asked.len(), 2, "the metadata and the set");
    assert!(asked.iter().all(|request| !request.headers().contains_key("accept-encoding")));
}

#[tokio::test(start_paused = true)]
async fn k01_k02_k03_nonsense_at_a_cold_start_is_503() {
    let example = House::new();
    for (fault, expected) in nonsense(&example) {
        let house = House::new();
        house.issuer.fault(Endpoint::Jwks, fault.clone());
        let rejection = house.judge(&house.token()).await.unwrap_err();
        let Rejection::Unavailable { cause, .. } = rejection else {
            panic!("{fault:?}: {rejection:?}");
        };
        assert!(expected(cause), "{cause:?}");
        house.issuer.heal_all();
        house.pass(1.0);
        assert!(house.accepts(&house.token()).await);
    }
}

#[tokio::test]
async fn k02_a_304_that_nobody_asked_for_is_a_failure() {
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, json_fault(304, "")).times(1);
    let rejection = house.judge(&house.token()).await.unwrap_err();
    assert!(matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Malformed(_), .. }));
}

#[tokio::test]
async fn k05_k07_case_45_a_bad_key_is_skipped_and_told_and_harms_no_other() {
    let house = House::new();
    for key in [
        json!({ "kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "EC", "kid": 7 }),
        json!("no object"),
        json!({ "kty": "RSA", "kid": "private", "n": "AQAB", "e": "AQAB", "d": "CANARY" }),
    ] {
        house.issuer.publish_extra_key(key);
    }
    assert!(house.accepts(&house.token()).await);
    let reasons: Vec<_> =
        house.jwt.jwks().skipped().iter().map(tower_oauth_jose::SkippedKey::reason).collect();
    assert_eq!(reasons.len(), 4);
    assert!(reasons.contains(&SkipReason::Private));
    assert!(!format!("{:?}", house.jwt).contains("CANARY"));
}

#[tokio::test]
async fn k10_an_empty_set_during_a_rotation_does_not_lift_the_limit_nor_the_old_keys() {
    let house = House::warm().await;
    let token = house.token();
    house.issuer.fault(Endpoint::Jwks, Fault::Garbage(r#"{"keys":[]}"#.into()));
    for n in 0..600 {
        house.judge(&house.issuer.forge(&n.to_string())).await.unwrap_err();
        assert!(house.judge_now(&token).is_ok());
        house.pass(0.1);
    }
    // 0, 1, 3, 7 s and every 4 to 5 s: a pause of failures, not one for each request.
    assert!(house.fetches() <= 19, "{}", house.fetches());
    house.issuer.heal_all();
    house.issuer.rotate(Rotation::Replace);
    house.pass(5.0);
    assert!(house.accepts(&house.token()).await);
}

#[tokio::test]
async fn a_token_that_dies_while_it_waits_is_not_let_in() {
    let house = House::warm().await;
    house.issuer.rotate(Rotation::Add);
    let token = house.issuer.mint(TokenSpec::new().expires_in(Duration::from_secs(5)));
    let tower_oauth_server::Verdict::Later(later) = crate::fixture::verdict(&house.jwt, &token)
    else {
        panic!("a verdict without the key");
    };
    house.pass(5.0 + 30.0);
    let expired = Rejection::Invalid(tower_oauth_jose::InvalidToken::Expired);
    assert_eq!(later.await.unwrap_err(), expired);
}
