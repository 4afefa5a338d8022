//! A credential library as the source.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use tower_oauth_client::{
    ErrorKind, ForeignToken, Need, RetryInvalidTokenLayer, TokenCache, TokenEvent, TokenSource,
    source_fn,
};

use crate::rig::{Strict, TokioClock, ms, request, sleep_ms};

/// A library with a cache of its own, which may or may not forget what it is told to.
#[derive(Clone, Default)]
struct Library {
    calls: Arc<AtomicUsize>,
    held: Arc<Mutex<Option<String>>>,
    forgets: bool,
}

impl Library {
    fn tokens(&self) -> TokenCache {
        let library = self.clone();
        let source = source_fn(move |need| {
            let library = library.clone();
            async move {
                sleep_ms(50).await;
                let calls = library.calls.fetch_add(1, SeqCst) + 1;
                let mut held = library.held.lock().unwrap();
                if matches!(need, Need::Unlike(_)) && library.forgets {
                    *held = None;
                }
                let text = held.get_or_insert_with(|| format!("t{calls}")).clone();
                Ok::<_, io::Error>(ForeignToken::bearer(text).expires_in(ms(3_600_000)))
            }
        });
        source.clock(TokioClock::new()).build().unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn elsewhere_c_a_rejection_reaches_through_to_a_library_that_can_forget() {
    let library = Library { forgets: true, ..Library::default() };
    let strict = Strict::that_likes(|token| token != "Bearer t1");
    let service = RetryInvalidTokenLayer::new(library.tokens()).layer(strict.clone());
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!((library.calls(), strict.seen().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn elsewhere_c_r04_a_library_that_gives_the_rejected_token_again_makes_no_replay_and_no_loop()
{
    let library = Library::default();
    let tokens = library.tokens();
    let mut events = tokens.subscribe();
    let strict = Strict::that_likes(|_| false);
    let service = RetryInvalidTokenLayer::new(tokens.clone()).layer(strict.clone());
    for _ in 0..1000 {
        let answer = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), 401);
        let why = answer.extensions().get::<tower_oauth_client::Error>().unwrap();
        assert!(matches!(why.kind(), ErrorKind::NotRenewable | ErrorKind::BudgetSpent), "{why}");
        sleep_ms(10).await;
    }
    assert_eq!(strict.seen().len(), 1000, "no replay");
    assert!(library.calls() <= 8, "{} calls in 10 s", library.calls());
    let mut same = 0;
    while let Ok(Some(event)) = tokio::time::timeout(ms(1), events.next()).await {
        same += usize::from(matches!(event, TokenEvent::SameTokenAgain { .. }));
    }
    assert_eq!(same, library.calls() - 1, "each time it was asked for another");
    // The library's own cache ends: the new one is found within the back-off.
    *library.held.lock().unwrap() = Some("new".to_owned());
    sleep_ms(30_000).await;
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 401);
    assert_eq!(tokens.peek().unwrap().header(), "Bearer new");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_are_one_call_of_the_library() {
    let library = Library::default();
    let tokens = library.tokens();
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        callers.spawn(tokens.fetch(Need::Any));
    }
    assert!(callers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(library.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_library_says_is_the_source_of_the_error() {
    let fails = |_| async { Err::<ForeignToken, _>(io::Error::other("no managed identity")) };
    let tokens = source_fn(fails).clock(TokioClock::new()).build().unwrap();
    let error = tokens.fetch(Need::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign);
    assert_eq!(error.to_string(), "the credential library failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no managed identity");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_foreign_token_is_taken_in_any_form() {
    let clock = TokioClock::new();
    let now = tower_oauth_core::Clock::unix_seconds(&clock);
    for (token, lives_s) in [
        (ForeignToken::bearer("t"), 60),
        (ForeignToken::bearer("t").expires_in(ms(300_000)), 300),
        (ForeignToken::bearer("t").expires_at(now + 300), 300),
        (ForeignToken::bearer("t").expires_at(now - 1), 0),
        (ForeignToken::bearer("t").expires_at(i64::MAX), 86_400),
        (ForeignToken::bearer("t").expires_at(i64::MIN), 0),
    ] {
        let shown = format!("{token:?}");
        assert!(!shown.contains("\"t\""), "{shown}");
        let answer = token.clone();
        let tokens = source_fn(move |_| std::future::ready(Ok::<_, io::Error>(answer.clone())));
        let tokens = tokens.clock(clock).build().unwrap();
        let got = tokens.fetch(Need::Any).await.unwrap();
        let life = got.expires_at().unwrap() - got.obtained_at().unwrap();
        assert_eq!(life.as_secs(), lives_s, "{token:?}");
    }
}
