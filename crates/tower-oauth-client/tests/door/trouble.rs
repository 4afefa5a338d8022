//! The authorization server is not well: who is told what, when, and how often it is asked.

use tokio::task::JoinSet;
use tower_oauth_client::{Error, ErrorKind, Need, TokenCache, TokenSource};
use tower_oauth_test::{Endpoint, Fault};

use crate::rig::{Mint, Rig, ms, sleep_ms};

/// So many callers at once; what they got, and the time at which the last one was told.
async fn herd(tokens: &TokenCache, callers: usize) -> Vec<Result<(), ErrorKind>> {
    let mut herd = JoinSet::new();
    for _ in 0..callers {
        let token = tokens.fetch(Need::Any);
        herd.spawn(async move { token.await.map(drop).map_err(|error| error.kind()) });
    }
    herd.join_all().await
}

#[tokio::test(start_paused = true)]
async fn t02_three_times_500_and_then_well_is_not_noticed() {
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Reset, Fault::EndlessBody] {
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Token, fault.clone()).times(3);
        let tokens = rig.tokens();
        let got = herd(&tokens, 100).await;
        assert!(got.iter().all(Result::is_ok), "{fault:?}");
        assert_eq!(rig.exchanges(), 4, "{fault:?}");
        assert!(rig.clock.ms() <= 1500, "{fault:?}: {} ms", rig.clock.ms());
    }
}

#[tokio::test(start_paused = true)]
async fn t01_a_dead_server_is_asked_a_few_times_and_everybody_is_told() {
    for fault in [Fault::Status(500), Fault::Reset, Fault::Garbage("<html>".into())] {
        for seed in 0..20 {
            fastrand::seed(seed);
            let rig = Rig::new();
            rig.issuer.fault(Endpoint::Token, fault.clone());
            let tokens = rig.tokens();
            assert!(herd(&tokens, 1000).await.iter().all(Result::is_err));
            assert!(rig.clock.ms() < 2000, "{fault:?}: told after {} ms", rig.clock.ms());
            assert_eq!(rig.exchanges(), 4, "{fault:?}");
            // And they all go on asking.
            while rig.clock.ms() < 10_000 {
                let asked = rig.clock.ms();
                assert!(tokens.fetch(Need::Any).await.is_err());
                assert!(rig.clock.ms() - asked < 2000, "{fault:?}");
                sleep_ms(10).await;
            }
            let calls = rig.exchanges();
            assert!(calls <= 5, "{fault:?}, seed {seed}: {calls} calls in 10 s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_that_comes_back_is_found_within_the_back_off() {
    let rig = Rig::new();
    rig.issuer.fault(Endpoint::Token, Fault::Reset);
    let tokens = rig.tokens();
    while rig.clock.ms() < 3_600_000 {
        assert!(tokens.fetch(Need::Any).await.is_err());
        sleep_ms(100).await;
    }
    assert!((600..1500).contains(&rig.exchanges()), "{} calls in an hour", rig.exchanges());
    rig.issuer.heal(Endpoint::Token);
    let back = rig.clock.ms();
    while tokens.fetch(Need::Any).await.is_err() {
        sleep_ms(100).await;
    }
    assert!(rig.clock.ms() - back <= 5_100);
}

#[tokio::test(start_paused = true)]
async fn elsewhere_d_t03_a_single_refusal_heals_within_a_second() {
    let refusals =
        ["invalid_client", "invalid_grant", "unauthorized_client"].map(Fault::oauth_error);
    for fault in refusals.into_iter().chain([401, 403, 404].map(Fault::Status)) {
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Token, fault.clone()).times(1);
        let tokens = rig.tokens();
        assert!(herd(&tokens, 100).await.iter().all(Result::is_err), "{fault:?}");
        assert_eq!((rig.exchanges(), rig.clock.ms()), (1, 0), "{fault:?}: told at once");
        sleep_ms(500).await;
        assert!(herd(&tokens, 100).await.iter().all(Result::is_ok), "{fault:?}");
        assert_eq!(rig.exchanges(), 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t03_three_refusals_of_a_server_that_starts_heal_within_a_second() {
    for code in ["invalid_client", "invalid_grant", "unauthorized_client"] {
        let rig = Rig::new();
        rig.issuer.fault(Endpoint::Token, Fault::oauth_error(code)).times(3);
        let tokens = rig.tokens();
        while rig.exchanges() < 3 {
            assert!(tokens.fetch(Need::Any).await.is_err(), "{code}");
            sleep_ms(10).await;
        }
        let well = rig.clock.ms();
        while tokens.fetch(Need::Any).await.is_err() {
            sleep_ms(10).await;
        }
        assert!(rig.clock.ms() - well <= 600, "{code}: {} ms", rig.clock.ms() - well);
    }
}

#[tokio::test(start_paused = true)]
async fn t03_a_refusal_for_ever_is_no_storm_and_no_verdict_for_good() {
    let rig = Rig::new();
    rig.issuer.fault(Endpoint::Token, Fault::oauth_error("invalid_client"));
    let tokens = rig.tokens();
    while rig.clock.ms() < 60_000 {
        let error = tokens.fetch(Need::Any).await.unwrap_err();
        assert!(!error.is_transient());
        sleep_ms(10).await;
    }
    assert!(rig.exchanges() <= 11, "{} in a minute", rig.exchanges());
    rig.issuer.heal(Endpoint::Token);
    sleep_ms(300_000).await;
    assert!(tokens.fetch(Need::Any).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn t02_a_short_retry_after_is_waited_for_and_a_long_one_is_told() {
    for (seconds, waits) in [(0, true), (1, true), (2, false), (100, false), (315_360_000, false)] {
        let rig = Rig::new();
        let fault = Fault::StatusWithRetryAfter { status: 503, retry_after: seconds.to_string() };
        rig.issuer.fault(Endpoint::Token, fault).times(1);
        let tokens = rig.tokens();
        assert_eq!(tokens.fetch(Need::Any).await.is_ok(), waits, "{seconds}");
        if waits {
            assert!(rig.clock.ms() >= seconds * 1000 && rig.clock.ms() < 2000, "{seconds}");
            continue;
        }
        assert_eq!(rig.clock.ms(), 0, "{seconds}: told at once");
        let until = seconds.min(300) * 1000;
        while rig.clock.ms() < until - 100 {
            let error = tokens.fetch(Need::Any).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Status(503));
            sleep_ms(100).await;
        }
        assert_eq!(rig.exchanges(), 1, "{seconds}: not asked before");
        // And a tenth more at most, so that a fleet does not come back as one.
        sleep_ms(101 + until / 10).await;
        assert!(tokens.fetch(Need::Any).await.is_ok(), "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn t01_a_server_that_hangs_is_given_up_at_the_deadline() {
    let rig = Rig::new();
    rig.issuer.fault(Endpoint::Token, Fault::Hang).times(1);
    let tokens = rig.builder().deadline(ms(1000)).build().unwrap();
    // A second is less than the patience: there is time for another try.
    assert!(herd(&tokens, 100).await.iter().all(Result::is_ok));
    rig.issuer.fault(Endpoint::Token, Fault::Hang);
    let tokens = rig.tokens();
    let asked = rig.clock.ms();
    let got = herd(&tokens, 100).await;
    assert!(got.iter().all(|got| *got == Err(ErrorKind::Timeout)));
    assert!((5000..5010).contains(&(rig.clock.ms() - asked)));
}

#[tokio::test(start_paused = true)]
async fn one_error_is_told_to_all_who_wait() {
    let mint = Mint::new().takes(ms(10));
    mint.then(Err(Error::new(ErrorKind::NarrowScope)));
    let tokens = mint.cache();
    let got = herd(&tokens, 1000).await;
    assert!(got.iter().all(|got| *got == Err(ErrorKind::NarrowScope)));
    assert_eq!(mint.exchanges(), 1);
}
