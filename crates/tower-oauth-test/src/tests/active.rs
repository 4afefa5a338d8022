use tokio::task::JoinSet;

use super::*;
use crate::ActiveTokens;

async fn granted(issuer: &ScriptedIssuer, form: &str) -> (String, u64) {
    let answer = ask(issuer, post(issuer, Endpoint::Token, form)).await.json();
    (answer["access_token"].as_str().unwrap().into(), answer["expires_in"].as_u64().unwrap())
}

const FORM: &str = "grant_type=client_credentials&scope=read";

#[tokio::test]
async fn how_many_tokens_live_is_as_set() {
    let modes = [
        // (mode, both grants are the same token, the first one lives on)
        (ActiveTokens::Many, false, true),
        (ActiveTokens::Same, true, true),
        (ActiveTokens::Newest, false, false),
    ];
    for (mode, same, lives) in modes {
        let issuer = issuer();
        issuer.set_active_tokens(mode);
        let (first, _) = granted(&issuer, FORM).await;
        let (second, _) = granted(&issuer, FORM).await;
        assert_eq!((first == second, issuer.is_active(&first)), (same, lives), "{mode:?}");
        assert!(issuer.is_active(&second), "{mode:?}");
    }
}

#[tokio::test]
async fn another_scope_is_another_holder() {
    for mode in [ActiveTokens::Same, ActiveTokens::Newest] {
        let issuer = issuer();
        issuer.set_active_tokens(mode);
        let (first, _) = granted(&issuer, FORM).await;
        let (second, _) = granted(&issuer, &FORM.replace("read", "write")).await;
        assert!(first != second && issuer.is_active(&first) && issuer.is_active(&second));
    }
}

#[tokio::test]
async fn the_same_token_is_handed_out_with_the_rest_of_its_life_until_it_ends() {
    let clock = ManualClock::at(NOW);
    let issuer = builder().clock(clock.clone()).build().unwrap();
    issuer.set_active_tokens(ActiveTokens::Same);
    let (first, life) = granted(&issuer, FORM).await;
    assert_eq!(life, 3_600);
    clock.advance(std::time::Duration::from_secs(1_000));
    assert_eq!(granted(&issuer, FORM).await, (first.clone(), 2_600));

    // Revoked by one of those who hold it, it is dead for all; and so it is when its time is up.
    assert!(issuer.revoke(&first));
    let (second, life) = granted(&issuer, FORM).await;
    assert_eq!((second == first, life), (false, 3_600));
    clock.advance(std::time::Duration::from_secs(3_600));
    assert_ne!(granted(&issuer, FORM).await.0, second);
}

#[tokio::test]
async fn tokens_from_before_are_neither_handed_out_nor_ended() {
    for mode in [ActiveTokens::Same, ActiveTokens::Newest] {
        let issuer = issuer();
        let (before, _) = granted(&issuer, FORM).await;
        issuer.set_active_tokens(mode);
        assert_ne!(granted(&issuer, FORM).await.0, before, "{mode:?}");
        assert!(issuer.is_active(&before), "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_at_the_same_time_gets_a_token_that_lives() {
    let issuer = issuer();
    issuer.set_active_tokens(ActiveTokens::Same);
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let issuer = issuer.clone();
        crowd.spawn(async move { granted(&issuer, FORM).await.0 });
    }
    for token in crowd.join_all().await {
        assert!(issuer.is_active(&token));
    }
}
