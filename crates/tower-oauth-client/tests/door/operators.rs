//! What operators see of a token, and the switches they have.

use tower::{Layer, ServiceExt};
use tower_oauth_client::{
    ErrorKind, Need, OAuthCode, RetryInvalidTokenLayer, TokenCache, TokenEvent, TokenEvents,
    TokenSource, TokenStatus,
};

use crate::rig::{Mint, Strict, ms, request, sleep_ms};

/// The events that are there already.
async fn told(events: &mut TokenEvents) -> Vec<TokenEvent> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(ms(1), events.next()).await {
        told.push(event);
    }
    told
}

fn names(told: &[TokenEvent]) -> Vec<String> {
    let name = |event: &TokenEvent| {
        let text = format!("{event:?}");
        text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
    };
    told.iter().map(name).collect()
}

fn status(tokens: &TokenCache) -> TokenStatus {
    tokens.health().status
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_token_is_told_in_order() {
    let mint = Mint::new().life(Some(1000));
    let tokens = mint.cache();
    let mut events = tokens.subscribe();
    let strict = Strict::that_likes(|token| token != "Bearer t2");
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(strict);
    service.clone().oneshot(request()).await.unwrap();
    sleep_ms(850_000).await;
    // Refreshed behind this one, to a token that is rejected when the next one uses it.
    service.clone().oneshot(request()).await.unwrap();
    sleep_ms(1000).await;
    let old = tokens.recognise(&"Bearer t1".parse().unwrap()).unwrap();
    service.clone().oneshot(request()).await.unwrap();
    for _ in 0..100 {
        tokens.fetch(Need::Unlike(old.id())).await.unwrap();
    }
    mint.then(Err(ErrorKind::OAuth(OAuthCode::InvalidClient).into()));
    tokens.flush();
    tokens.fetch(Need::Any).await.unwrap_err();
    let told = told(&mut events).await;
    assert_eq!(
        names(&told),
        [
            "Issued",
            "Refreshed",
            "Rejected",
            "Replaced",
            "Healed",
            "LateRejectionIgnored", // once, not a hundred times
            "Flushed",
            "ExchangeFailed",
        ],
        "{told:?}"
    );
    assert!(matches!(told[2], TokenEvent::Rejected { was_accepted: false, .. }), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_is_told_what_it_missed_and_a_dropped_cache_ends_the_events() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let mut events = tokens.subscribe();
    for _ in 0..100 {
        tokens.flush();
    }
    assert_eq!(events.next().await, Some(TokenEvent::Missed { events: 36 }));
    for _ in 0..TokenEvents::CAPACITY {
        assert_eq!(events.next().await, Some(TokenEvent::Flushed { by: None }));
    }
    drop(tokens);
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn health_says_what_there_is_and_for_how_long() {
    let mint = Mint::new().takes(ms(50)).life(Some(1000));
    let tokens = mint.cache();
    assert_eq!(status(&tokens), TokenStatus::Idle);
    let flight = tokens.fetch(Need::Any);
    assert_eq!(status(&tokens), TokenStatus::Refreshing { is_serving: false });
    let token = flight.await.unwrap();
    sleep_ms(10_000).await;
    assert_eq!(status(&tokens), TokenStatus::Fresh { left: Some(ms(980_000)) });
    assert_eq!(tokens.health().since, ms(10_000));

    // The server is away when the refresh is due.
    for _ in 0..4 {
        mint.then(Err(ErrorKind::Status(500).into()));
    }
    sleep_ms(800_000).await;
    tokens.peek().unwrap();
    assert_eq!(status(&tokens), TokenStatus::Refreshing { is_serving: true });
    sleep_ms(3000).await;
    let cause = ErrorKind::Status(500);
    assert!(
        matches!(status(&tokens), TokenStatus::Stale { cause: told, .. } if told == cause),
        "{:?}",
        tokens.health()
    );
    assert!(status(&tokens).is_well());

    // And it refuses when the token is rejected.
    mint.then(Err(ErrorKind::OAuth(OAuthCode::InvalidGrant).into()));
    tokens.fetch(Need::Unlike(token.id())).await.unwrap_err();
    let cause = ErrorKind::OAuth(OAuthCode::InvalidGrant);
    assert_eq!(status(&tokens), TokenStatus::Failing { cause });
    assert!(!status(&tokens).is_well());
    sleep_ms(1000).await;
    let token = tokens.fetch(Need::Unlike(token.id())).await.unwrap();
    assert!(matches!(status(&tokens), TokenStatus::Fresh { .. }));
    // Long after, nobody has asked for anything.
    sleep_ms(2_000_000).await;
    assert_eq!(status(&tokens), TokenStatus::Idle);
    assert!(token.expires_at().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_every_back_off_and_an_exchange_in_the_air_is_not_kept() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    mint.then(Err(ErrorKind::OAuth(OAuthCode::InvalidClient).into()));
    tokens.fetch(Need::Any).await.unwrap_err();
    tokens.fetch(Need::Any).await.unwrap_err();
    assert_eq!(mint.exchanges(), 1);
    // The secret has been put right.
    tokens.flush();
    let flight = tokens.fetch(Need::Any);
    sleep_ms(10).await;
    tokens.flush();
    assert_eq!(flight.await.unwrap().header(), "Bearer t2", "for those who wait");
    assert!(tokens.peek().is_none(), "and for nobody else");
    assert_eq!(tokens.fetch(Need::Any).await.unwrap().header(), "Bearer t3");
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t3");
}

#[tokio::test(start_paused = true)]
async fn t11_who_asks_after_a_flush_gets_nothing_of_an_exchange_from_before() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    // What the server said before the operator put it right.
    mint.then(Err(ErrorKind::OAuth(OAuthCode::InvalidClient).into()));
    let before = tokio::spawn(tokens.fetch(Need::Any));
    sleep_ms(10).await;
    tokens.flush();
    let after = tokio::spawn(tokens.fetch(Need::Any));
    assert!(before.await.unwrap().is_err());
    assert_eq!(after.await.unwrap().unwrap().header(), "Bearer t2");
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t2");

    // A token that comes late is known again, and that is all.
    tokens.flush();
    let before = tokio::spawn(tokens.fetch(Need::Any));
    sleep_ms(10).await;
    tokens.flush();
    sleep_ms(10).await;
    let after = tokio::spawn(tokens.fetch(Need::Any));
    let old = before.await.unwrap().unwrap();
    assert!(tokens.peek().is_none());
    assert_eq!(after.await.unwrap().unwrap().header(), "Bearer t4");
    assert_eq!(tokens.recognise(old.header()).unwrap().id(), old.id());
    assert_eq!(tokens.fetch(Need::Unlike(old.id())).await.unwrap().header(), "Bearer t4");
    assert_eq!(mint.exchanges(), 4);
}

#[tokio::test(start_paused = true)]
async fn no_token_grows_older_than_the_operator_allows() {
    let mint = Mint::new();
    let tokens = mint.builder().max_token_age(ms(60_000)).build().unwrap();
    tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(41_000).await;
    tokens.peek().unwrap();
    sleep_ms(1).await;
    assert_eq!(mint.exchanges(), 1, "70 % of the age are not over");
    sleep_ms(8_000).await;
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t1", "80 % are: refreshed behind this");
    sleep_ms(1).await;
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t2");
    sleep_ms(60_000).await;
    assert!(tokens.peek().is_none());
}

#[tokio::test(start_paused = true)]
async fn without_caching_a_token_is_for_those_who_wait_for_it() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.builder().without_caching().build().unwrap();
    let strict = Strict::that_likes(|token| token != "Bearer t3");
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(strict.clone());
    let two = || async {
        let (one, two) =
            tokio::join!(service.clone().oneshot(request()), service.clone().oneshot(request()));
        (one.unwrap().status().as_u16(), two.unwrap().status().as_u16())
    };
    assert_eq!((two().await, mint.exchanges()), ((200, 200), 1), "together");
    assert_eq!((two().await, mint.exchanges()), ((200, 200), 2), "not kept");
    assert_eq!((two().await, mint.exchanges()), ((200, 200), 4), "rejected, replaced, healed");
    assert!(tokens.peek().is_none());
}
