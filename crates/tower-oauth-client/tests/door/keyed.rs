//! One cache for each key, over one token endpoint.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::task::JoinSet;
use tower::service_fn;
use tower_oauth_client::{
    BuildError, Error, ErrorKind, Flush, Need, Report, Scopes, Secret, TokenCache, TokenCaches,
    TokenKey, TokenSource, TokenStatus,
};
use tower_oauth_core::codec::{TokenRequest, TokenResponse};

use crate::rig::{Mint, TokioClock, ms, sleep_ms};

/// A token endpoint that answers with the scope and a number, after a while.
#[derive(Clone, Default)]
struct Echo {
    asked: Arc<Mutex<Vec<String>>>,
    takes_ms: u64,
}

impl Echo {
    fn caches(&self) -> TokenCaches<String> {
        let echo = self.clone();
        let service = service_fn(move |request: TokenRequest| {
            let echo = echo.clone();
            async move {
                let scope = request.scopes.to_string();
                sleep_ms(echo.takes_ms).await;
                let mut asked = echo.asked.lock().unwrap();
                asked.push(scope.clone());
                Ok::<_, Error>(TokenResponse::bearer(
                    format!("{scope}-{}", asked.len()),
                    Some(ms(3_600_000)),
                ))
            }
        });
        let builder = TokenCache::builder().token_service(service).clock(TokioClock::new());
        let keyed = builder.build_keyed(|scope: &String, mut request| {
            request.scopes = Scopes::new([scope])?;
            Ok(request)
        });
        keyed.unwrap()
    }

    fn exchanges(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn text(cache: &TokenCache) -> String {
    cache.fetch(Need::Any).await.unwrap().header().to_str().unwrap().to_owned()
}

fn key(text: &str) -> String {
    text.to_owned()
}

#[tokio::test(start_paused = true)]
async fn elsewhere_h_two_scopes_at_once_get_two_answers() {
    let echo = Echo { takes_ms: 50, ..Echo::default() };
    let caches = echo.caches();
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        let scope = if caller % 2 == 0 { "read" } else { "write" };
        let cache = caches.get(&key(scope));
        callers.spawn(async move { (scope, text(&cache).await) });
    }
    for (scope, got) in callers.join_all().await {
        assert!(got.starts_with(&format!("Bearer {scope}-")), "{scope} got {got}");
    }
    assert_eq!(echo.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_one_key_leaves_the_others_alone_and_a_flush_of_all_does_not() {
    let echo = Echo::default();
    let caches = echo.caches();
    for scope in ["a", "b"] {
        text(&caches.get(&key(scope))).await;
    }
    caches.flush(&key("a"));
    caches.flush(&key("never seen"));
    assert!(caches.get(&key("a")).peek().is_none());
    assert_eq!(caches.get(&key("b")).peek().unwrap().header(), "Bearer b-2");
    assert_eq!(text(&caches.get(&key("a"))).await, "Bearer a-3");
    caches.flush_all();
    assert!(caches.get(&key("a")).peek().is_none() && caches.get(&key("b")).peek().is_none());
    assert_eq!(caches.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_is_bounded_and_evicts_no_exchange_in_the_air() {
    let echo = Echo { takes_ms: 1000, ..Echo::default() };
    let caches = echo.caches().with_capacity(10);
    let waiting = caches.get(&key("busy")).fetch(Need::Any);
    for flood in 0..10_000 {
        drop(caches.get(&format!("k{flood}")));
        assert!(caches.len() <= 10);
    }
    // Joins the exchange that is in the air.
    let again = caches.get(&key("busy")).fetch(Need::Any);
    assert_eq!(waiting.await.unwrap().id(), again.await.unwrap().id());
    assert_eq!(echo.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_all_are_busy_a_new_key_is_told_at_once_that_there_is_no_room() {
    let echo = Echo { takes_ms: 1000, ..Echo::default() };
    let caches = echo.caches().with_capacity(2);
    let flights = [key("a"), key("b")].map(|key| caches.get(&key).fetch(Need::Any));
    let clock = TokioClock::new();
    assert_eq!(caches.try_get(&key("c")).unwrap_err().kind(), ErrorKind::Full);
    let told = caches.get(&key("c")).fetch(Need::Any).await.unwrap_err();
    assert_eq!((told.kind(), clock.ms()), (ErrorKind::Full, 0));
    for flight in flights {
        flight.await.unwrap();
    }
    assert_eq!(text(&caches.get(&key("c"))).await, "Bearer c-3", "they are idle now");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_built_is_its_own_trouble() {
    let caches = Echo::default().caches();
    let told = caches.get(&key("not one scope")).fetch(Need::Any).await.unwrap_err();
    assert!(matches!(told.kind(), ErrorKind::Configuration(_)));
    let source = std::error::Error::source(&told).unwrap();
    assert!(source.downcast_ref::<BuildError>().is_some(), "{source}");
    assert!(caches.is_empty(), "and is not kept");
    assert_eq!(text(&caches.get(&key("fine"))).await, "Bearer fine-1");
}

#[tokio::test(start_paused = true)]
async fn a_policy_reaches_as_far_as_it_says() {
    let echo = Echo::default();
    let all = ["amy.read", "amy.write", "bob.read"].map(key);
    for (flush, dead) in [
        (Flush::Token, [false, false, false]),
        (Flush::Subject, [true, true, false]),
        (Flush::Issuer, [true, true, true]),
    ] {
        let user = |key: &str| key.split('.').next().unwrap().to_owned();
        let caches = echo.caches().with_subjects(move |one, other| user(one) == user(other));
        let mut first = None;
        for key in &all {
            let token = caches.get(key).fetch(Need::Any).await.unwrap();
            first.get_or_insert(token);
        }
        let report = Report::Flush(first.unwrap().id(), flush);
        // Tokens that are as young as the news stay: no way to make an exchange for each answer.
        caches.get(&all[0]).report(report);
        assert!(all.iter().all(|key| caches.get(key).peek().is_some()), "{flush:?}");
        sleep_ms(1001).await;
        caches.get(&all[0]).report(report);
        assert_eq!(all.each_ref().map(|key| caches.get(key).peek().is_none()), dead, "{flush:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_with_issuers_of_their_own() {
    let built = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&built);
    let caches = TokenCaches::from_builder(move |tenant: &&'static str| {
        count.fetch_add(1, SeqCst);
        let tenant = *tenant;
        let service = service_fn(move |_| async move {
            let access_token = Secret::new(tenant);
            Ok::<_, Error>(TokenResponse::bearer(access_token, None))
        });
        Ok(TokenCache::builder().token_service(service).clock(TokioClock::new()))
    });
    for tenant in ["a", "b", "a"] {
        assert_eq!(text(&caches.get(&tenant)).await, format!("Bearer {tenant}"));
    }
    assert_eq!(built.load(SeqCst), 2);
    let health = caches.health();
    assert_eq!(health.len(), 2);
    assert!(health.iter().all(|(_, h)| matches!(h.status, TokenStatus::Fresh { .. })));
}

#[tokio::test(start_paused = true)]
async fn on_behalf_of_each_caller_gets_a_token_of_its_own() {
    // Two inbound tokens that share all but the last byte, and a tenant whose name holds the separator.
    let mint = Mint::new();
    let make = mint.clone();
    let caches = TokenCaches::from_builder(move |_: &TokenKey| Ok(make.builder()));
    let on_behalf = |tenant: &str, token: &str| {
        TokenKey::new().with("tenant", tenant).with_secret("subject_token", &Secret::new(token))
    };
    let keys = [on_behalf("t", "abc1"), on_behalf("t", "abc2"), on_behalf("t4:abc1", "")];
    let mut seen = Vec::new();
    for key in keys.iter().chain(&keys) {
        seen.push(text(&caches.get(key)).await);
    }
    assert_eq!(seen[..3], seen[3..], "each its own, again");
    assert_eq!(mint.exchanges(), 3);
}
