//! Switches, storms, addresses and duels, where they meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    Error, ErrorKind, HttpClient, Need, RetryInvalidTokenLayer, TokenCache, TokenSource,
};
use tower_oauth_core::codec::TokenResponse;

use crate::rig::{Mint, TokioClock, authorization, invalid_token, ms, ok, request, sleep_ms};

/// A resource that takes tokens `t{from}` and later ones.
fn takes_from(from: &Arc<AtomicU64>) -> impl Fn(&Request<Full<Bytes>>) -> bool + Clone + use<> {
    let from = Arc::clone(from);
    move |request| {
        let number =
            authorization(request.headers()).and_then(|text| text.strip_prefix("Bearer t"));
        number
            .and_then(|number| number.parse().ok())
            .is_some_and(|number: u64| number >= from.load(SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn without_caching_a_load_is_served_by_one_exchange_after_the_other() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.builder().without_caching().build().unwrap();
    let from = Arc::new(AtomicU64::new(0));
    let takes = takes_from(&from);
    let resource = service_fn(move |request| {
        let good = takes(&request);
        async move {
            sleep_ms(20).await;
            Ok::<_, std::io::Error>(if good { ok() } else { invalid_token() })
        }
    });
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(resource);
    let mut sent = JoinSet::new();
    for millisecond in 0..5000 {
        if millisecond % 1000 == 999 {
            // A restart: whatever was given until now is dead; the exchange in the air brings the first one that is not.
            from.store(mint.exchanges() as u64, SeqCst);
        }
        sent.spawn(service.clone().oneshot(request()));
        sleep_ms(1).await;
    }
    let got = sent.join_all().await;
    assert!(got.into_iter().all(|answer| answer.unwrap().status() == 200));
    // One in 50 ms, and those that replace a token beside them.
    assert!(mint.exchanges() <= 110, "{} exchanges in 5 s", mint.exchanges());
    assert!(tokens.peek().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_greatest_age_is_kept_and_renewed_ahead_whatever_becomes_of_the_exchange() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.builder().max_token_age(ms(60_000)).build().unwrap();
    tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(50_000).await;
    // Renewal ahead of the age fails; the token goes on to its age, and not beyond.
    for _ in 0..4 {
        mint.then(Err(ErrorKind::Status(500).into()));
    }
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t1");
    sleep_ms(4000).await;
    assert_eq!(
        (tokens.peek().unwrap().header(), mint.exchanges()),
        (&"Bearer t1".parse().unwrap(), 5)
    );
    sleep_ms(5_000).await;
    assert!(tokens.peek().is_some(), "the probe sets off behind this");
    sleep_ms(51).await;
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t6");

    // A refusal while the refresh is in the air joins it, and the age of what comes counts from there.
    sleep_ms(50_000).await;
    let held = tokens.peek().unwrap();
    held.mark_accepted();
    sleep_ms(10).await;
    let next = tokens.fetch(Need::Unlike(held.id())).await.unwrap();
    assert_eq!((next.header(), mint.exchanges()), (&"Bearer t7".parse().unwrap(), 7));
    sleep_ms(59_999).await;
    assert!(tokens.peek().is_some());
    sleep_ms(100).await;
    assert_eq!(tokens.fetch(Need::Any).await.unwrap().header(), "Bearer t8");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_goes_down_in_the_middle_of_a_storm_costs_nobody_an_answer() {
    let (first_is_down, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (down, count) = (Arc::clone(&first_is_down), Arc::clone(&asked));
    let http = HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
        let (down, number) = (Arc::clone(&down), count.fetch_add(1, SeqCst) + 1);
        async move {
            sleep_ms(50).await;
            if request.uri().host() == Some("a.example") && down.load(SeqCst) {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            }
            let body = format!(
                r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":3600}}"#
            );
            let builder = Response::builder().header("content-type", "application/json");
            Ok(builder.body(Full::new(Bytes::from(body))).unwrap())
        }
    }));
    let tokens = TokenCache::builder()
        .token_endpoint("https://a.example/token")
        .also_at("https://b.example/token")
        .client_credentials("orders", "s3cret")
        .http_client(http)
        .clock(TokioClock::new())
        .build()
        .unwrap();
    let from = Arc::new(AtomicU64::new(0));
    let takes = takes_from(&from);
    let resource = service_fn(move |request| {
        let takes = takes.clone();
        async move {
            sleep_ms(20).await;
            Ok::<_, std::io::Error>(if takes(&request) { ok() } else { invalid_token() })
        }
    });
    let service = RetryInvalidTokenLayer::new(tokens).layer(resource);
    service.clone().oneshot(request()).await.unwrap();
    let mut sent = JoinSet::new();
    for _ in 0..1000 {
        sent.spawn(service.clone().oneshot(request()));
    }
    sleep_ms(1).await;
    from.store(2, SeqCst);
    // It goes down while it is asked for the new one.
    sleep_ms(40).await;
    first_is_down.store(true, SeqCst);
    let got = sent.join_all().await;
    assert!(got.into_iter().all(|answer| answer.unwrap().status() == 200));
    assert_eq!(asked.load(SeqCst), 3, "the first token, once in vain, once at the other address");
}

/// In a duel the server asks for a pause: that long nobody asks, and the pause of the duel is none beside it.
#[tokio::test(start_paused = true)]
async fn a_wish_of_the_server_outlasts_the_pause_of_a_duel_and_both_end() {
    let (exchanges, alive) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let busy = Arc::new(AtomicBool::new(false));
    let (count, is_busy) = (Arc::clone(&exchanges), Arc::clone(&busy));
    let issue = service_fn(move |_| {
        let number = count.fetch_add(1, SeqCst) + 1;
        let is_busy = is_busy.load(SeqCst);
        async move {
            sleep_ms(10).await;
            if is_busy {
                let error = Error::from(ErrorKind::Status(503));
                return Err(error.with_retry_after(Some(ms(20_000))));
            }
            Ok(TokenResponse::bearer(format!("t{number}"), Some(ms(3_600_000))))
        }
    });
    let clock = TokioClock::new();
    let tokens = TokenCache::builder().token_service(issue).clock(clock).build().unwrap();
    let takes = takes_from(&alive);
    let resource = service_fn(move |request| {
        let good = takes(&request);
        async move { Ok::<_, std::io::Error>(if good { ok() } else { invalid_token() }) }
    });
    let service = RetryInvalidTokenLayer::new(tokens).layer(resource);
    // The other holder ends each token a tenth of a second after it was issued.
    let rival = Arc::new(AtomicBool::new(true));
    tokio::spawn({
        let (exchanges, alive, rival) =
            (Arc::clone(&exchanges), Arc::clone(&alive), Arc::clone(&rival));
        async move {
            while rival.load(SeqCst) {
                let seen = exchanges.load(SeqCst);
                sleep_ms(100).await;
                alive.store(seen + 1, SeqCst);
            }
        }
    });
    let mut is_duel = false;
    while !is_duel {
        let answer = service.clone().oneshot(request()).await;
        is_duel = answer.is_ok_and(|it| {
            it.extensions().get().is_some_and(|e: &Error| e.kind() == ErrorKind::Duel)
        });
        sleep_ms(20).await;
        assert!(clock.ms() < 10_000, "no duel was seen");
    }
    busy.store(true, SeqCst);
    let before = exchanges.load(SeqCst);
    let busy_from = clock.ms();
    while clock.ms() < busy_from + 15_000 {
        drop(service.clone().oneshot(request()).await);
        sleep_ms(20).await;
    }
    assert_eq!(exchanges.load(SeqCst) - before, 1, "asked once, and told when to come back");
    busy.store(false, SeqCst);
    rival.store(false, SeqCst);
    sleep_ms(9_000).await;
    assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), 200, "whole again");
    assert_eq!(exchanges.load(SeqCst) - before, 2);
}
