//! Keys that the set does not have: rotations, forgeries, and both at once.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, IF_NONE_MATCH};
use http_body_util::Full;
use tower::ServiceExt;
use tower_oauth_core::ErrorKind;
use tower_oauth_endpoint::HttpClient;
use tower_oauth_server::{InvalidToken, JwksHealth, Rejection, Verdict};
use tower_oauth_test::{Endpoint, Fault, Rotation, Signature, TokenSpec};

use crate::fixture::{House, bad_signature, judge, jwt, settle, unknown_key, verdict};

#[tokio::test]
async fn case_19_a_new_key_is_found_by_the_request_that_needs_it() {
    let house = House::warm().await;
    for n in 1..=3 {
        house.issuer.rotate(Rotation::Add);
        assert!(house.accepts(&house.token()).await);
        assert_eq!(house.fetches(), n);
        house.pass(60.0);
    }
    let request = house.issuer.last_request(Endpoint::Jwks).unwrap();
    assert_eq!(request.headers()[CACHE_CONTROL], "no-cache");
    assert!(!request.headers().contains_key(IF_NONE_MATCH));
}

#[tokio::test(start_paused = true)]
async fn two_hundred_at_once_after_a_rotation_are_one_fetch() {
    for rotation in [Rotation::Add, Rotation::Replace, Rotation::SameKid] {
        let house = House::warm().await;
        house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_millis(50)));
        house.issuer.rotate(rotation);
        let tokens: Vec<_> = (0..200).map(|_| house.token()).collect();
        let waiting: Vec<_> = tokens
            .iter()
            .map(|token| match verdict(&house.jwt, token) {
                Verdict::Later(later) => tokio::spawn(later),
                other => panic!("{rotation:?} {other:?}"),
            })
            .collect();
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok(), "{rotation:?}");
        }
        assert_eq!(house.fetches(), 1, "{rotation:?}");
    }
}

/// The issuer's answers are written when asked for, and take a second to arrive.
fn slow_mail(house: &House) -> HttpClient {
    let (issuer, clock) = (house.issuer.clone(), house.clock.clone());
    HttpClient::new(tower::service_fn(move |request: http::Request<Full<Bytes>>| {
        let (issuer, clock) = (issuer.service(), clock.clone());
        async move {
            let answer = issuer.oneshot(request).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            clock.advance(Duration::from_secs(1));
            Ok::<_, std::io::Error>(answer)
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_the_rotation_is_not_taken_for_its_answer() {
    let house = House::new();
    let slow = jwt(&house.issuer, &house.clock).http_client(slow_mail(&house)).build().unwrap();
    slow.jwks().warm().await.unwrap();
    house.issuer.reset_calls();

    let Verdict::Later(forged) = verdict(&slow, &house.issuer.forge("z")) else { panic!() };
    let forged = tokio::spawn(forged);
    settle(0.5).await;
    house.issuer.rotate(Rotation::Add);
    let token = house.token();
    let waiting: Vec<_> = (0..50)
        .map(|_| match verdict(&slow, &token) {
            Verdict::Later(later) => tokio::spawn(later),
            other => panic!("{other:?} without the key"),
        })
        .collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    assert_eq!(forged.await.unwrap().unwrap_err(), unknown_key());
    assert_eq!(house.fetches(), 2, "the one from before, and one for all fifty");
}

#[tokio::test]
async fn case_20_case_24_between_fruitless_misses_the_answer_comes_at_once_and_costs_nothing() {
    let house = House::warm().await;
    assert_eq!(house.judge(&house.issuer.forge("a")).await.unwrap_err(), unknown_key());
    assert_eq!(house.fetches(), 1);
    for kid in ["a", "b", "c"] {
        assert_eq!(house.judge_now(&house.issuer.forge(kid)).unwrap_err(), unknown_key());
    }
    assert_eq!(house.fetches(), 1);
}

#[tokio::test]
async fn k09_case_21_a_flood_of_forged_kids_costs_at_most_six_fetches_in_its_first_minute() {
    let house = House::warm().await;
    let token = house.token();
    let mut by_minute = Vec::new();
    for minute in 0..4 {
        for n in 0..600 {
            let forged = house.issuer.forge(&format!("{minute}-{n}"));
            assert_eq!(house.judge(&forged).await.unwrap_err(), unknown_key());
            assert!(house.judge_now(&token).is_ok(), "good traffic does not notice");
            house.pass(0.1);
        }
        by_minute.push(house.fetches());
        house.issuer.reset_calls();
    }
    assert_eq!(by_minute, [6, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn k09_a_burst_of_forgeries_is_one_fetch_while_it_is_in_the_air() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_millis(100)));
    let waiting: Vec<_> = (0..2_000)
        .filter_map(|n| match verdict(&house.jwt, &house.issuer.forge(&n.to_string())) {
            Verdict::Later(later) => Some(tokio::spawn(later)),
            _ => None,
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap_err(), unknown_key());
    }
    assert_eq!(house.fetches(), 1);
}

#[tokio::test]
async fn k10_a_rotation_during_a_flood_is_seen_within_30_s() {
    // Whenever in the flood it comes.
    for rotated_after in [0, 5, 29, 100, 777, 1500] {
        let house = House::warm().await;
        for n in 0..rotated_after {
            house.judge(&house.issuer.forge(&format!("a{n}"))).await.unwrap_err();
            house.pass(0.1);
        }
        house.issuer.rotate(Rotation::Replace);
        let token = house.token();
        let mut tenths = 0;
        while !house.accepts(&token).await {
            house.judge(&house.issuer.forge(&format!("b{tenths}"))).await.unwrap_err();
            house.pass(0.1);
            tenths += 1;
            assert!(tenths <= 300, "not seen within 30 s, rotated after {rotated_after}");
        }
    }
}

#[tokio::test]
async fn k10_who_knows_the_next_kid_cannot_hide_its_key_for_longer() {
    let house = House::warm().await;
    // The second key's name is `key-2`; an attacker who can guess it looks it up all the time.
    for _ in 0..3_000 {
        house.judge(&house.issuer.forge("key-2")).await.unwrap_err();
        house.pass(0.1);
    }
    house.issuer.rotate(Rotation::Add);
    assert_eq!(house.issuer.kid(), "key-2");
    let token = house.token();
    let mut tenths = 0;
    while !house.accepts(&token).await {
        house.judge(&house.issuer.forge("key-2")).await.unwrap_err();
        house.pass(0.1);
        tenths += 1;
        assert!(tenths <= 300);
    }
}

/// The issuer fails, so that nobody knows whether a key is unknown.
fn is_trouble(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Status(500), .. })
}

#[tokio::test(start_paused = true)]
async fn case_22_misses_do_not_spend_what_a_refresh_needs() {
    let house = House::warm().await;
    let token = house.token();
    house.pass(590.0);
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    // The refresh that is due fails, and so does the fetch for the missing key.
    let rejection = house.judge(&house.issuer.forge("a")).await.unwrap_err();
    assert!(is_trouble(&rejection), "{rejection:?}");
    assert_eq!(house.fetches(), 2);
    for n in 0..100 {
        let forged = house.issuer.forge(&n.to_string());
        let rejection = house.judge_now(&forged).unwrap_err();
        assert!(is_trouble(&rejection), "{rejection:?}");
    }
    house.issuer.heal_all();
    house.pass(1.0);
    assert!(house.judge_now(&token).is_ok());
    settle(0.01).await;
    assert_eq!(house.fetches(), 3);
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test]
async fn case_23_a_fetch_that_fails_does_not_spend_the_budget() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500)).times(3);
    for pause in [1.0, 2.0, 4.0] {
        let rejection = house.judge(&house.issuer.forge("a")).await.unwrap_err();
        assert!(is_trouble(&rejection), "{rejection:?}");
        let rejection = house.judge_now(&house.issuer.forge("b")).unwrap_err();
        assert!(is_trouble(&rejection), "{rejection:?}");
        house.pass(pause);
    }
    assert_eq!(house.fetches(), 3);
    // Well again: the ladder begins at its foot.
    for pause in [1.0, 2.0, 4.0] {
        house.judge(&house.issuer.forge("c")).await.unwrap_err();
        house.pass(pause);
    }
    assert_eq!(house.fetches(), 6);
}

#[tokio::test]
async fn case_25_a_kid_that_was_looked_for_costs_nothing_again() {
    let house = House::warm().await;
    let stale = house.issuer.forge("gone");
    let mut fetched_at = Vec::new();
    for second in 0..120 {
        let before = house.fetches();
        assert_eq!(house.judge(&stale).await.unwrap_err(), unknown_key());
        assert_eq!(house.judge_now(&stale).unwrap_err(), unknown_key());
        if house.fetches() > before {
            fetched_at.push(second);
        }
        house.pass(1.0);
    }
    assert_eq!(fetched_at, [0, 1, 3, 7, 15, 31, 61, 91]);
}

#[tokio::test]
async fn case_26_a_flood_at_one_issuer_costs_another_nothing() {
    let (flooded, quiet) = (House::warm().await, House::warm().await);
    for n in 0..100 {
        flooded.judge(&flooded.issuer.forge(&n.to_string())).await.unwrap_err();
    }
    quiet.issuer.rotate(Rotation::Add);
    assert!(quiet.accepts(&quiet.token()).await);
    assert_eq!(quiet.fetches(), 1);
}

#[tokio::test]
async fn case_27_a_token_that_would_be_refused_anyway_fetches_nothing() {
    // Cold, so that even the first set is not fetched.
    let house = House::new();
    let unknown = || TokenSpec::new().header("kid", "z");
    for spec in [
        unknown().expired(),
        unknown().issuer("https://other.test"),
        unknown().audience("another"),
        unknown().header("typ", "JWT"),
        unknown().header("alg", "none"),
        unknown().header("alg", "HS256"),
        unknown().claim("nbf", house_time() + 1000),
        unknown().without_claim("exp"),
        unknown().header("kid", 7),
        unknown().header("kid", ""),
        unknown().header("kid", "k".repeat(10_000)),
        unknown().header("crit", serde_json::json!(["x"])),
    ] {
        let token = house.issuer.mint(spec);
        assert!(matches!(house.judge_now(&token), Err(Rejection::Invalid(_))));
    }
    for token in ["", "a", "a.b.c", "e30.e30.AA"] {
        assert!(matches!(house.judge_now(token), Err(Rejection::Invalid(_))));
    }
    let calls: u64 = Endpoint::ALL.iter().map(|endpoint| house.issuer.calls(*endpoint)).sum();
    assert_eq!(calls, 0);
}

#[tokio::test]
async fn case_27_a_key_that_the_issuer_does_not_have_is_refused_by_the_header_alone() {
    let house = House::warm().await;
    let with_kid = |kid: &str| house.issuer.mint(TokenSpec::new().header("kid", kid).expired());
    // The claims are read as long as nobody has looked for the key.
    assert_eq!(house.judge_now(&with_kid("z")).unwrap_err(), InvalidToken::Expired.into());
    assert_eq!(house.fetches(), 0);
    assert_eq!(house.judge(&house.issuer.forge("z")).await.unwrap_err(), unknown_key());
    assert_eq!(house.fetches(), 1);

    let header = house.issuer.forge("z");
    let (header, _) = header.split_once('.').unwrap();
    let nonsense = format!("{header}.!.!");
    for token in [with_kid("z"), nonsense.clone()] {
        assert_eq!(house.judge_now(&token).unwrap_err(), unknown_key());
    }
    assert_eq!(house.judge_now(&with_kid("y")).unwrap_err(), InvalidToken::Expired.into());
    let malformed = house.judge_now(&format!("{header}.!")).unwrap_err();
    assert_eq!(malformed, InvalidToken::Malformed.into());

    // It is forgotten in time, and then a token has to be worth a fetch again.
    house.pass(60.0);
    assert_eq!(house.judge_now(&with_kid("z")).unwrap_err(), InvalidToken::Expired.into());
    assert_eq!(house.judge_now(&nonsense).unwrap_err(), InvalidToken::Malformed.into());
    assert_eq!(house.fetches(), 1);
}

fn house_time() -> i64 {
    use tower_oauth_core::Clock;
    tower_oauth_core::SystemClock.unix_seconds()
}

#[tokio::test]
async fn k11_case_28_same_kid_rotation_refuses_nobody_and_kills_the_old_key_at_once() {
    let house = House::warm().await;
    let old = house.token();
    assert!(house.judge_now(&old).is_ok());
    house.issuer.rotate(Rotation::SameKid);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.fetches(), 1);
    assert_eq!(house.judge(&old).await.unwrap_err(), bad_signature());
}

#[tokio::test]
async fn old_tokens_after_a_rotation_cost_no_second_fetch() {
    for (rotation, refusal) in
        [(Rotation::Replace, unknown_key()), (Rotation::SameKid, bad_signature())]
    {
        let house = House::warm().await;
        let old: Vec<_> = (0..100).map(|_| house.token()).collect();
        house.issuer.rotate(rotation);
        assert!(house.accepts(&house.token()).await, "{rotation:?}");
        for old in &old {
            assert_eq!(house.judge_now(old).unwrap_err(), refusal, "{rotation:?}");
        }
        assert_eq!(house.fetches(), 1, "{rotation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_knows_the_key_does_not_wait_for_those_who_miss_one() {
    let house = House::warm().await;
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_millis(50)));
    let old = house.token();
    house.issuer.rotate(Rotation::SameKid);
    let Verdict::Later(new) = verdict(&house.jwt, &house.token()) else { panic!() };
    let new = tokio::spawn(new);
    settle(0.01).await;
    assert!(house.judge_now(&old).is_ok(), "nobody has seen yet that its key is gone");
    assert!(new.await.unwrap().is_ok());
    assert_eq!(house.judge_now(&old).unwrap_err(), bad_signature());
    assert_eq!(house.fetches(), 1);
}

#[tokio::test]
async fn a_key_that_changes_its_kind_under_its_name_is_found() {
    use tower_oauth_test::Algorithm;
    let house = House::warm().await;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es384, Algorithm::Es256] {
        house.issuer.rotate_to(Rotation::SameKid, algorithm);
        assert!(house.accepts(&house.token()).await, "{algorithm}");
        house.pass(60.0);
    }
    assert_eq!(house.fetches(), 3);
}

#[tokio::test]
async fn case_29_a_bad_signature_is_looked_up_once_and_stays_bad() {
    let house = House::warm().await;
    let forged = || house.issuer.mint(TokenSpec::new().signature(Signature::Stranger));
    assert_eq!(house.judge(&forged()).await.unwrap_err(), bad_signature());
    assert_eq!(house.fetches(), 1);
    for _ in 0..10 {
        assert_eq!(house.judge_now(&forged()).unwrap_err(), bad_signature());
    }
    assert!(house.judge_now(&house.token()).is_ok());
    assert_eq!(house.fetches(), 1);
}

#[tokio::test]
async fn k09_a_flood_of_bad_signatures_is_bounded_as_one_of_unknown_kids() {
    let house = House::warm().await;
    let kid = house.issuer.kid();
    for _ in 0..600 {
        assert_eq!(house.judge(&house.issuer.forge(&kid)).await.unwrap_err(), bad_signature());
        house.pass(0.1);
    }
    assert_eq!(house.fetches(), 6);
    // A rotation under that name is seen within 30 s all the same.
    house.issuer.rotate(Rotation::SameKid);
    let token = house.token();
    let mut tenths = 0;
    while !house.accepts(&token).await {
        house.judge(&house.issuer.forge(&kid)).await.unwrap_err();
        house.pass(0.1);
        tenths += 1;
        assert!(tenths <= 300);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_30_rotation_under_load_refuses_nobody() {
    let house = House::warm().await;
    for round in 0..20 {
        house.issuer.rotate(if round % 2 == 0 { Rotation::Add } else { Rotation::Replace });
        let token = house.token();
        let readers: Vec<_> = (0..100)
            .map(|_| {
                let (jwt, token) = (house.jwt.clone(), token.clone());
                tokio::spawn(async move { judge(&jwt, &token).await.is_ok() })
            })
            .collect();
        for reader in readers {
            assert!(reader.await.unwrap(), "round {round}");
        }
        house.pass(1.0);
    }
    assert_eq!(house.fetches(), 20);
}

#[tokio::test]
async fn k14_case_31_a_key_that_is_withdrawn_dies_with_the_refresh_that_shows_it() {
    let house = House::warm().await;
    let old = house.token();
    house.issuer.rotate(Rotation::Add);
    assert!(house.accepts(&house.token()).await);
    assert!(house.judge_now(&old).is_ok(), "still published");
    house.issuer.rotate(Rotation::Withdraw);
    house.jwt.jwks().refresh().await.unwrap();
    assert_eq!(house.judge(&old).await.unwrap_err(), unknown_key());
    assert!(house.judge_now(&house.token()).is_ok());
}

#[tokio::test]
async fn a_flapping_issuer_does_not_lift_the_limit() {
    // Each fetch brings other keys than the last: news, but not for ever.
    let house = House::warm().await;
    for n in 0..600 {
        house.issuer.rotate(Rotation::Replace);
        house.judge(&house.issuer.forge(&n.to_string())).await.unwrap_err();
        house.pass(0.1);
    }
    assert!(house.fetches() <= 62, "{}", house.fetches());
}

/// A cache on the way gives a refresh the set of before the rotation, once more.
#[tokio::test(start_paused = true)]
async fn k11_what_a_cache_on_the_way_has_not_is_asked_of_the_issuer() {
    for rotation in [Rotation::Replace, Rotation::SameKid] {
        let house = House::warm().await;
        let before = house.issuer.jwks().to_string();
        house.issuer.rotate(rotation);
        let token = house.token();
        assert!(house.accepts(&token).await);
        let stale = Fault::Body {
            status: 200,
            content_type: "application/json".into(),
            body: before.into(),
        };
        house.issuer.fault(Endpoint::Jwks, stale).times(1);
        house.pass(590.0);
        assert!(house.judge_now(&token).is_ok());
        settle(0.01).await;
        assert!(house.accepts(&token).await, "{rotation:?}");
        assert_eq!(house.fetches(), 3, "{rotation:?}");
    }
}

#[tokio::test]
async fn validators_that_share_their_keys_share_their_fetches() {
    let house = House::warm().await;
    let plain = jwt(&house.issuer, &house.clock).build().unwrap();
    assert!(judge(&plain, &house.token()).await.is_ok());
    assert_eq!(house.fetches(), 1, "a set of its own");
    let sharing = tower_oauth_server::Jwt::issuer(house.issuer.issuer())
        .audience("other")
        .clock(std::sync::Arc::new(house.clock.clone()))
        .jwks(house.jwt.jwks().clone())
        .build()
        .unwrap();
    house.issuer.rotate(Rotation::Add);
    let token = house.issuer.mint(TokenSpec::new().audiences(["other", crate::fixture::AUDIENCE]));
    assert!(judge(&sharing, &token).await.is_ok());
    assert!(house.judge_now(&token).is_ok());
    assert_eq!(house.fetches(), 2);
}
