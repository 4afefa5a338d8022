//! No set yet.

use std::pin::pin;
use std::time::Duration;

use tower_oauth_core::ErrorKind;
use tower_oauth_server::{JwksHealth, Rejection, Verdict};
use tower_oauth_test::{Endpoint, Fault, TokenSpec};

use crate::fixture::{House, judge, jwt, settle, unknown_key, verdict};

#[tokio::test]
async fn case_01_the_first_token_is_verified_with_one_fetch() {
    let house = House::new();
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Unavailable { cause: None });
    assert!(house.accepts(&house.token()).await);
    assert_eq!((house.fetches(), house.issuer.calls(Endpoint::Discovery)), (1, 1));
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
    assert_eq!(house.jwt.jwks().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn case_02_a_hundred_first_tokens_are_verified_with_one_fetch() {
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    let token = house.token();
    let waiting: Vec<_> = (0..100)
        .map(|_| match verdict(&house.jwt, &token) {
            Verdict::Later(later) => tokio::spawn(later),
            other => panic!("{other:?} without a key"),
        })
        .collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    assert_eq!(house.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_02_so_it_is_on_several_threads() {
    for _ in 0..20 {
        let house = House::new();
        let token = house.token();
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let (jwt, token) = (house.jwt.clone(), token.clone());
                tokio::spawn(async move { judge(&jwt, &token).await.is_ok() })
            })
            .collect();
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert_eq!(house.fetches(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn case_10_case_11_who_goes_away_does_not_take_the_fetch_along() {
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    let token = house.token();
    let first = tokio::time::timeout(Duration::from_millis(100), house.judge(&token));
    let second = house.judge(&token);
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err(), "the first caller has gone away");
    assert!(second.is_ok());
    assert_eq!(house.fetches(), 1);

    // Also when everybody goes away.
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1)));
    drop(verdict(&house.jwt, &token));
    settle(2.0).await;
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Fresh);
}

#[tokio::test]
async fn k15_case_32_an_issuer_that_is_down_makes_503_and_is_asked_once_a_second() {
    let house = House::new();
    house.issuer.go_dark();
    let token = house.token();
    let rejection = house.judge(&token).await.unwrap_err();
    let Rejection::Unavailable { cause: ErrorKind::Transport, retry_after } = rejection else {
        panic!("{rejection:?}");
    };
    assert!(retry_after >= Duration::from_secs(1));
    // Everybody else within the pause is answered at once, without a call.
    for _ in 0..100 {
        let rejection = house.judge_now(&token).unwrap_err();
        assert!(matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Transport, .. }));
    }
    let cause = Some(ErrorKind::Transport);
    assert_eq!(house.jwt.jwks().health(), JwksHealth::Unavailable { cause });

    house.issuer.light_up().unwrap();
    house.issuer.reset_calls();
    assert!(house.judge(&token).await.is_err(), "the pause holds");
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 0);
    house.pass(1.0);
    assert!(house.accepts(&token).await, "a second after the issuer is back it works again");
    assert_eq!((house.fetches(), house.issuer.calls(Endpoint::Discovery)), (1, 1));
}

#[tokio::test]
async fn case_32_a_dead_issuer_is_asked_about_once_a_second_however_many_come() {
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    let token = house.token();
    for _ in 0..600 {
        house.pass(0.1);
        assert!(matches!(house.judge(&token).await, Err(Rejection::Unavailable { .. })));
    }
    // The pauses are 0.8 to 1 s, and requests come every 0.1 s.
    assert!((55..=75).contains(&house.fetches()), "{}", house.fetches());
}

#[tokio::test]
async fn the_issuer_may_ask_for_a_longer_pause_but_not_for_ever() {
    for (asked, honoured) in [("5", 5.0), ("86400", 30.0)] {
        let house = House::new();
        let fault = Fault::StatusWithRetryAfter { status: 503, retry_after: asked.into() };
        house.issuer.fault(Endpoint::Jwks, fault).times(1);
        let token = house.token();
        house.judge(&token).await.unwrap_err();
        house.pass(honoured - 0.1);
        house.judge_now(&token).unwrap_err();
        house.pass(0.1);
        assert!(house.accepts(&token).await, "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn k15_a_hanging_issuer_is_given_five_seconds_in_all() {
    let house = House::new();
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
        house.issuer.fault(endpoint, Fault::Hang).times(1);
        let token = house.token();
        let mut judged = pin!(house.judge(&token));
        let early = tokio::time::timeout(Duration::from_millis(4_900), &mut judged).await;
        assert!(early.is_err(), "{endpoint:?}");
        let late = tokio::time::timeout(Duration::from_millis(200), judged).await;
        let rejection = late.expect("five seconds are over").unwrap_err();
        assert!(
            matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Timeout, .. }),
            "{endpoint:?} {rejection:?}"
        );
        house.pass(1.0);
    }
    assert!(house.accepts(&house.token()).await);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_bounded_and_one_more_is_told_at_once() {
    let house = House::new();
    house.issuer.fault(Endpoint::Discovery, Fault::Delay(Duration::from_secs(1)));
    let token = house.token();
    let mut waiting: Vec<_> = (0..8_192).map(|_| verdict(&house.jwt, &token)).collect();
    let one_more = tokio::time::timeout(Duration::ZERO, house.judge(&token)).await;
    let rejection = one_more.expect("no waiting").unwrap_err();
    let cause = ErrorKind::TooManyWaiters;
    assert!(matches!(rejection, Rejection::Unavailable { cause: found, .. } if found == cause));
    let Some(Verdict::Later(last)) = waiting.pop() else { panic!() };
    assert!(last.await.is_ok());
    assert_eq!(house.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn k15_two_issuers_in_one_request_do_not_touch_each_other() {
    let (dead, alive) = (House::new(), House::new());
    dead.issuer.fault(Endpoint::Jwks, Fault::Delay(Duration::from_secs(1))).times(1);
    dead.issuer.fault(Endpoint::Jwks, Fault::Status(500));
    let (dead_token, alive_token) = (dead.token(), alive.token());
    for _ in 0..3 {
        let (one, other) = tokio::join!(dead.judge(&dead_token), alive.judge(&alive_token));
        assert!(other.is_ok());
        drop(one);
        dead.pass(700.0);
    }
    assert_eq!(alive.fetches(), 1);
}

#[tokio::test]
async fn an_unknown_key_at_a_cold_start_is_unknown_and_not_unavailable() {
    let house = House::new();
    assert_eq!(house.judge(&house.issuer.forge("z")).await.unwrap_err(), unknown_key());
    // The first set may come from a cache on the way; the second is the issuer's own word.
    assert_eq!(house.fetches(), 2);
    assert!(house.accepts(&house.token()).await);
    assert_eq!(house.fetches(), 2);
}

#[test]
fn k15_a_runtime_that_ends_takes_its_fetch_along_and_nothing_else() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (doomed, sound) = (runtime(), runtime());
    let house = House::new();
    house.issuer.fault(Endpoint::Discovery, Fault::Hang).times(1);
    let token = house.token();
    let first = doomed.block_on(async {
        let later = verdict(&house.jwt, &token);
        tokio::task::yield_now().await;
        later
    });
    let second = {
        let _inside = sound.enter();
        verdict(&house.jwt, &token)
    };
    drop(doomed);
    for later in [first, second] {
        let Verdict::Later(later) = later else { panic!("{later:?} without a key") };
        assert!(sound.block_on(later).is_ok());
    }
    assert_eq!(house.fetches(), 1);
}

#[test]
fn outside_of_a_runtime_it_is_503_and_no_panic() {
    let house = House::new();
    let Verdict::Later(later) = verdict(&house.jwt, &house.token()) else { panic!() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rejection = runtime.block_on(later).unwrap_err();
    assert!(matches!(rejection, Rejection::Unavailable { cause: ErrorKind::NoRuntime, .. }));
    // Nothing was asked, so that there is no pause either.
    assert!(runtime.block_on(house.judge(&house.token())).is_ok());
}

#[tokio::test]
async fn case_33_warming_up_fetches_once_and_says_why_not() {
    let house = House::new();
    house.issuer.fault(Endpoint::Jwks, Fault::Status(500)).times(1);
    let error = house.jwt.jwks().warm().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status(500));
    let error = house.jwt.jwks().warm().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status(500), "in the pause: the last failure");
    assert!(error.retry_after().is_some());
    assert_eq!(house.fetches(), 1);
    house.pass(1.0);
    house.jwt.jwks().warm().await.unwrap();
    house.jwt.jwks().warm().await.unwrap();
    assert_eq!(house.fetches(), 2);
    assert!(house.judge_now(&house.token()).is_ok());
}

#[tokio::test]
async fn k04_metadata_that_cannot_be_trusted_is_our_trouble_and_not_the_callers() {
    for (name, value) in [
        ("issuer", "https://issuer.test/other"),
        ("jwks_uri", "http://issuer.test/jwks"),
        ("jwks_uri", "https://elsewhere.test/jwks"),
        ("jwks_uri", "https://169.254.169.254/jwks"),
    ] {
        let house = House::with(|issuer| issuer.metadata(name, value), |jwt| jwt);
        let rejection = house.judge(&house.token()).await.unwrap_err();
        assert!(
            matches!(rejection, Rejection::Unavailable { cause: ErrorKind::Configuration(_), .. }),
            "{name} {value} {rejection:?}"
        );
        assert_eq!(house.fetches(), 0, "{value}");
    }
    let trusting = House::with(
        |issuer| issuer.metadata("jwks_uri", "https://elsewhere.test/jwks"),
        |jwt| jwt.trust_host("elsewhere.test"),
    );
    assert!(trusting.accepts(&trusting.token()).await);
    let missing =
        House::with(|issuer| issuer.metadata("jwks_uri", serde_json::Value::Null), |jwt| jwt);
    let rejection = missing.judge(&missing.token()).await.unwrap_err();
    assert!(matches!(rejection, Rejection::Unavailable { .. }));
}

#[tokio::test]
async fn a_given_address_needs_no_metadata() {
    let house = House::new();
    house.issuer.fault(Endpoint::Discovery, Fault::Status(404));
    let uri = house.issuer.url(Endpoint::Jwks);
    let jwt = jwt(&house.issuer, &house.clock).jwks_uri(uri).build().unwrap();
    assert!(judge(&jwt, &house.token()).await.is_ok());
    assert_eq!(house.issuer.calls(Endpoint::Discovery), 0);
}

#[tokio::test]
async fn k15_who_waits_is_not_sent_away_for_longer_than_the_issuer_is_left_alone() {
    let fault = Fault::StatusWithRetryAfter { status: 503, retry_after: "300".into() };
    let pause = |rejection| match rejection {
        Rejection::Unavailable { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    };
    // Without a set, and behind one for a key that is missing.
    for house in [House::new(), House::warm().await] {
        house.issuer.fault(Endpoint::Jwks, fault.clone()).times(1);
        let token = house.issuer.mint(TokenSpec::new().header("kid", "z"));
        let first = pause(house.judge(&token).await.unwrap_err());
        let second = pause(house.judge(&token).await.unwrap_err());
        assert_eq!((first.as_secs(), second.as_secs()), (30, 30));
        house.pass(30.0);
        house.judge(&token).await.unwrap_err();
        assert!(house.accepts(&house.token()).await);
    }
}
