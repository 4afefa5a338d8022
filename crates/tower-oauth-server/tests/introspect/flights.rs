//! One question for all who ask at once, and never too many questions.

use std::time::Duration;

use tower_oauth_core::ErrorKind;
use tower_oauth_server::{Outage, Verdict};
use tower_oauth_test::{Endpoint, Fault};

use crate::fixture::{House, judge, outage, settle, verdict};

fn slow(house: &House) {
    house.issuer.fault(Endpoint::Introspection, Fault::Delay(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn case_61_fifty_requests_with_one_token_ask_once() {
    let house = House::new();
    slow(&house);
    for (token, expected) in [(house.token(), true), ("unknown".to_owned(), false)] {
        house.issuer.reset_calls();
        let waiting: Vec<_> = (0..50)
            .map(|_| match verdict(&house.tokens, &token) {
                Verdict::Later(later) => tokio::spawn(later),
                other => panic!("{other:?} without an answer"),
            })
            .collect();
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap().is_ok(), expected);
        }
        assert_eq!(house.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_61_so_it_is_on_several_threads() {
    for _ in 0..50 {
        let house = House::new();
        let token = house.token();
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let (tokens, token) = (house.tokens.clone(), token.clone());
                tokio::spawn(async move { judge(&tokens, &token).await.is_ok() })
            })
            .collect();
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert_eq!((house.calls(), house.issuer.calls(Endpoint::Discovery)), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn case_61_an_error_is_told_to_all_and_not_remembered() {
    let house = House::new();
    let token = house.token();
    house.issuer.fault(Endpoint::Introspection, Fault::Status(500)).times(1);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (tokens, token) = (house.tokens.clone(), token.clone());
            tokio::spawn(async move { judge(&tokens, &token).await })
        })
        .collect();
    for waiting in waiting {
        let rejection = waiting.await.unwrap().unwrap_err();
        assert_eq!(outage(&rejection).0, ErrorKind::Status(500));
    }
    assert_eq!(house.calls(), 1);
    assert!(house.accepts(&token).await);
    assert_eq!(house.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn case_61_who_goes_away_does_not_take_the_question_along() {
    let house = House::new();
    let token = house.token();
    slow(&house);
    let ask = || {
        let (tokens, token) = (house.tokens.clone(), token.clone());
        tokio::spawn(async move { judge(&tokens, &token).await.is_ok() })
    };
    let first = ask();
    let second = ask();
    settle(0.5).await;
    assert_eq!(house.calls(), 1);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(second.await.unwrap());

    // And when all are gone the answer is remembered nevertheless.
    house.tokens.clear();
    let alone = ask();
    settle(0.5).await;
    alone.abort();
    settle(1.0).await;
    assert!(matches!(verdict(&house.tokens, &token), Verdict::Now(Ok(_))));
    assert_eq!(house.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn d09_an_answer_to_a_question_from_before_a_clear_is_not_remembered() {
    for all in [true, false] {
        let house = House::new();
        let token = house.token();
        slow(&house);
        let asking = tokio::spawn({
            let (tokens, token) = (house.tokens.clone(), token.clone());
            async move { judge(&tokens, &token).await.is_ok() }
        });
        settle(0.5).await;
        if all {
            house.tokens.clear()
        } else {
            house.tokens.forget(&token)
        }
        assert!(asking.await.unwrap());
        house.issuer.revoke(&token);
        assert!(!house.accepts(&token).await);
        assert_eq!(house.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn d09_who_comes_after_a_clear_does_not_join_a_question_from_before_it() {
    for all in [true, false] {
        let house = House::new();
        let token = house.token();
        slow(&house);
        let ask = || {
            let (tokens, token) = (house.tokens.clone(), token.clone());
            tokio::spawn(async move { judge(&tokens, &token).await.is_ok() })
        };
        let before = ask();
        settle(0.5).await;
        if all {
            house.tokens.clear()
        } else {
            house.tokens.forget(&token)
        }
        let after = [ask(), ask()];
        settle(0.1).await;
        assert_eq!(house.calls(), 2, "one question of their own");
        assert!(before.await.unwrap());
        for after in after {
            assert!(after.await.unwrap());
        }
        assert_eq!(house.calls(), 2);
        // The later answer is remembered, whichever came first.
        assert!(matches!(verdict(&house.tokens, &token), Verdict::Now(Ok(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_of_one_token_is_not_forgotten_of_the_others() {
    let house = House::new();
    let tokens: Vec<_> = (0..40).map(|_| house.token()).collect();
    slow(&house);
    let asking: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (tokens, token) = (house.tokens.clone(), token.clone());
            tokio::spawn(async move { judge(&tokens, &token).await.is_ok() })
        })
        .collect();
    settle(0.5).await;
    // As when a webhook tells of a revocation.
    house.tokens.forget(&house.token());
    for asking in asking {
        assert!(asking.await.unwrap());
    }
    let is_remembered = |token: &String| matches!(verdict(&house.tokens, token), Verdict::Now(_));
    let remembered = tokens.iter().filter(|token| is_remembered(token)).count();
    assert!(remembered >= 30, "{remembered} of 40");
}

#[tokio::test(start_paused = true)]
async fn questions_are_limited_and_wait_in_a_queue_that_ends() {
    let house = House::with(|issuer| issuer.opaque_tokens(), |tokens| tokens.max_concurrency(2));
    house.issuer.fault(Endpoint::Introspection, Fault::Delay(Duration::from_millis(10)));
    let ask = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| {
                let (tokens, token) = (house.tokens.clone(), house.token());
                tokio::spawn(async move { judge(&tokens, &token).await })
            })
            .collect()
    };
    // Two in the air and 32 that wait.
    for waiting in ask(34) {
        assert!(waiting.await.unwrap().is_ok());
    }
    assert_eq!(house.issuer.peak_in_flight(Endpoint::Introspection), 2);

    let mut refused = 0;
    for waiting in ask(50) {
        if let Err(rejection) = waiting.await.unwrap() {
            assert_eq!(outage(&rejection), (ErrorKind::TooManyWaiters, 1));
            refused += 1;
        }
    }
    assert_eq!(refused, 16);
    assert_eq!(house.issuer.peak_in_flight(Endpoint::Introspection), 2);

    // And nobody waits longer than five seconds for a turn, whatever holds up the others, and five for an answer.
    house.issuer.fault(Endpoint::Introspection, Fault::Hang);
    let all = async {
        for waiting in ask(34) {
            assert!(waiting.await.unwrap().is_err());
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(10_100), all).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn d09_a_flood_of_random_tokens_does_not_keep_known_ones_from_being_asked_about() {
    for max_concurrency in [1, 2, 4, 64] {
        let house = House::with(
            |issuer| issuer.opaque_tokens(),
            |tokens| tokens.max_concurrency(max_concurrency),
        );
        let known = [house.token(), house.token(), house.token()];
        for token in &known {
            assert!(house.accepts(token).await);
        }
        house.issuer.fault(Endpoint::Introspection, Fault::Delay(Duration::from_millis(500)));
        for minute in 0..3 {
            // Their verdicts are out of date, and the queue of strangers is full.
            house.pass(60.0);
            let flood: Vec<_> = (0..20 * max_concurrency)
                .map(|n| {
                    let tokens = house.tokens.clone();
                    tokio::spawn(async move { judge(&tokens, &format!("{minute}-{n}")).await })
                })
                .collect();
            settle(0.001).await;
            let asked: Vec<_> = known
                .iter()
                .map(|token| {
                    let (tokens, token) = (house.tokens.clone(), token.clone());
                    tokio::spawn(async move { judge(&tokens, &token).await })
                })
                .collect();
            for asked in asked {
                assert!(asked.await.unwrap().is_ok(), "{max_concurrency}");
            }
            let mut turned_away = 0;
            for stranger in flood {
                let refused = stranger.await.unwrap().unwrap_err();
                turned_away += usize::from(refused.status() == 503);
            }
            assert!(turned_away >= max_concurrency, "that was no flood");
            let peak = house.issuer.peak_in_flight(Endpoint::Introspection);
            assert!(peak <= max_concurrency as u64, "{peak} of {max_concurrency}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn that_we_are_busy_does_not_close_the_gate_nor_open_the_grace() {
    let grace = Outage::Grace(Duration::from_secs(3600));
    let house = House::with(
        |issuer| issuer.opaque_tokens(),
        |tokens| tokens.max_concurrency(1).outage(grace),
    );
    let known = house.token();
    let others: Vec<_> = (0..16).map(|_| house.token()).collect();
    for token in others.iter().chain([&known]) {
        assert!(house.accepts(token).await);
    }
    house.pass(60.0);
    house.issuer.revoke(&known);
    // An answer takes 0.9 s: of those that come at once six get their turn within five seconds.
    house.issuer.fault(Endpoint::Introspection, Fault::Delay(Duration::from_millis(900)));
    let flood: Vec<_> = others
        .into_iter()
        .map(|token| {
            let tokens = house.tokens.clone();
            tokio::spawn(async move { judge(&tokens, &token).await })
        })
        .collect();
    settle(0.1).await;
    let rejection = house.judge(&known).await.unwrap_err();
    assert_eq!(outage(&rejection).0, ErrorKind::TooManyWaiters, "no grace for a revoked token");
    let mut late = 0;
    for waiting in flood {
        if let Err(rejection) = waiting.await.unwrap() {
            assert_eq!(outage(&rejection).0, ErrorKind::TooManyWaiters);
            late += 1;
        }
    }
    assert_eq!(late, 10);
    assert!(house.accepts(&house.token()).await, "the gate is open");
}

#[tokio::test]
async fn case_61_who_looked_before_the_answer_came_does_not_ask_after_it() {
    let house = House::new();
    let token = house.token();
    let (first, second) = (verdict(&house.tokens, &token), verdict(&house.tokens, &token));
    for verdict in [first, second] {
        let Verdict::Later(later) = verdict else { panic!("{verdict:?} without an answer") };
        assert!(later.await.is_ok());
    }
    assert_eq!(house.calls(), 1);
}
