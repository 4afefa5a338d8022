//! One exchange for everybody, whoever goes away meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::HeaderValue;
use std::time::Duration;
use tokio::task::JoinSet;
use tower_oauth_client::{Error, ErrorKind, Need, Token, TokenCache, TokenSource};
use tower_oauth_core::BoxFuture;

use crate::rig::{Mint, TokioClock, ms, sleep_ms};

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_make_one_exchange() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        callers.spawn(tokens.clone().fetch(Need::Any));
    }
    let got = callers.join_all().await;
    let first = got[0].clone().unwrap();
    assert_eq!(first.header(), "Bearer t1");
    assert!(got.into_iter().all(|token| token.unwrap().id() == first.id()));
    assert_eq!(tokens.peek().unwrap().id(), first.id());
    assert_eq!(mint.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cold_callers_on_two_threads_make_one_exchange() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let tokens = tokens.clone();
        callers.spawn(async move { tokens.fetch(Need::Any).await.unwrap().id() });
    }
    let ids = callers.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(mint.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn r16_the_exchange_outlives_the_leader_and_its_token_is_stored() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    let leader = tokio::spawn(tokens.fetch(Need::Any));
    sleep_ms(10).await;
    leader.abort();
    let second = tokens.fetch(Need::Any);
    assert_eq!(second.await.unwrap().header(), "Bearer t1");
    assert_eq!(mint.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn r16_the_exchange_outlives_all_its_callers() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    for _ in 0..10 {
        // Not even polled.
        drop(tokens.fetch(Need::Any));
    }
    assert!(tokens.peek().is_none());
    sleep_ms(51).await;
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t1");
    assert_eq!(mint.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn r16_the_exchange_outlives_the_cache_itself() {
    let mint = Mint::new().takes(ms(50));
    let waiting = mint.cache().fetch(Need::Any);
    assert_eq!(waiting.await.unwrap().header(), "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn callers_with_less_patience_than_an_exchange_takes_are_served_after_the_first() {
    let mint = Mint::new().takes(ms(50));
    let tokens = mint.cache();
    let mut served = 0;
    for _ in 0..100 {
        let wait = tokio::time::timeout(ms(40), tokens.fetch(Need::Any));
        served += usize::from(wait.await.is_ok_and(|token| token.is_ok()));
        sleep_ms(20).await;
    }
    assert_eq!((served, mint.exchanges()), (99, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_named_to_the_token_service() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let first = tokens.fetch(Need::Any).await.unwrap();
    assert_eq!(mint.last_request().unlike, None);
    let second = tokens.fetch(Need::Unlike(first.id())).await.unwrap();
    assert_eq!(
        (second.header(), mint.last_request().unlike),
        (&"Bearer t2".parse::<HeaderValue>().unwrap(), Some(first.id()))
    );
}

#[tokio::test(start_paused = true)]
async fn r04_a_server_that_gives_the_refused_token_again_is_asked_once() {
    let mint = Mint::new();
    for _ in 0..9 {
        mint.then_token("same");
    }
    let tokens = mint.cache();
    let token = tokens.fetch(Need::Any).await.unwrap();
    token.mark_accepted();
    let told = tokens.fetch(Need::Unlike(token.id())).await.unwrap_err();
    assert_eq!((told.kind(), mint.exchanges()), (ErrorKind::NotRenewable, 2));
    assert_eq!(tokens.peek().unwrap().id(), token.id(), "what there is goes on being used");
}

#[tokio::test(start_paused = true)]
async fn elsewhere_b_r03_a_hundred_late_refusals_cost_nothing() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let old = tokens.fetch(Need::Any).await.unwrap();
    let new = tokens.fetch(Need::Unlike(old.id())).await.unwrap();
    for _ in 0..100 {
        assert_eq!(tokens.fetch(Need::Unlike(old.id())).await.unwrap().id(), new.id());
    }
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_while_a_refresh_is_in_the_air_joins_it() {
    let mint = Mint::new().takes(ms(50)).life(Some(100));
    let tokens = mint.cache();
    let first = tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(85_000).await;
    assert_eq!(tokens.peek().unwrap().id(), first.id(), "the refresh sets off");
    sleep_ms(10).await;
    let second = tokens.fetch(Need::Unlike(first.id()));
    assert!(tokens.peek().is_none(), "refused: withheld");
    assert_eq!(second.await.unwrap().header(), "Bearer t2");
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn t05_a_life_of_nothing_is_used_once_by_all_who_wait() {
    let mint = Mint::new().takes(ms(50)).life(Some(0));
    let tokens = mint.cache();
    for round in 1..=3 {
        let (one, two) = tokio::join!(tokens.fetch(Need::Any), tokens.fetch(Need::Any));
        assert_eq!(one.unwrap().id(), two.unwrap().id());
        assert!(tokens.peek().is_none());
        assert_eq!(mint.exchanges(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn t05_a_token_without_a_life_lives_a_minute() {
    let mint = Mint::new().life(None);
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(41_000).await;
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t1");
    assert_eq!(mint.exchanges(), 1, "70 % of a minute are not over");
    sleep_ms(9_000).await;
    assert!(tokens.peek().is_none(), "the last 10 seconds are not used");
}

#[tokio::test(start_paused = true)]
async fn clones_share_everything() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let clone = tokens.clone();
    let token = tokens.fetch(Need::Any).await.unwrap();
    assert_eq!(clone.peek().unwrap().id(), token.id());
    assert_eq!(clone.recognise(token.header()).unwrap().id(), token.id());
}

// === sources over sources ===

/// Counts, and hands on.
struct Counting {
    tokens: TokenCache,
    peeks: Arc<AtomicUsize>,
}

impl TokenSource for Counting {
    fn peek(&self) -> Option<Token> {
        self.peeks.fetch_add(1, SeqCst);
        self.tokens.peek()
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        self.tokens.fetch(need)
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.tokens.recognise(authorization)
    }
}

/// The first source that has something.
struct Either(Counting, Arc<dyn TokenSource>);

impl TokenSource for Either {
    fn peek(&self) -> Option<Token> {
        self.0.peek().or_else(|| self.1.peek())
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        let (first, second) = (self.0.fetch(need), Arc::clone(&self.1));
        Box::pin(async move {
            match first.await {
                Err(_) => second.fetch(need).await,
                token => token,
            }
        })
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.0.recognise(authorization).or_else(|| self.1.recognise(authorization))
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_keeps_its_id_however_many_sources_hand_it_on() {
    let mint = Mint::new();
    let tokens = mint.cache();
    let peeks = Arc::default();
    let counting = Counting { tokens: tokens.clone(), peeks: Arc::clone(&peeks) };
    let fallback = Token::bearer("fallback").unwrap();
    let either: Arc<dyn TokenSource> = Arc::new(Either(counting, Arc::new(fallback.clone())));

    assert_eq!(either.peek().unwrap().id(), fallback.id(), "the cache is cold");
    let first = either.fetch(Need::Any).await.unwrap();
    for peeked in [tokens.peek(), either.peek(), either.recognise(first.header())] {
        assert_eq!(peeked.unwrap().id(), first.id());
    }
    let second = either.fetch(Need::Unlike(first.id())).await.unwrap();
    assert_eq!(second.header(), "Bearer t2", "a refusal reaches the cache through all of them");
    assert_eq!(tokens.peek().unwrap().id(), second.id());
    assert_eq!(either.fetch(Need::Unlike(first.id())).await.unwrap().id(), second.id());
    assert_eq!(mint.exchanges(), 2);
    assert!(peeks.load(SeqCst) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_takes_over_where_the_cache_has_nothing() {
    let mint = Mint::new();
    mint.then(Err(ErrorKind::Status(400).into()));
    let counting = Counting { tokens: mint.cache(), peeks: Arc::default() };
    let fallback = Token::bearer("fallback").unwrap();
    let either = Either(counting, Arc::new(fallback.clone()));
    assert_eq!(either.fetch(Need::Any).await.unwrap().id(), fallback.id());
    let refused = either.fetch(Need::Unlike(fallback.id())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotRenewable, "a fixed token cannot be replaced");
}

/// A service of the user's own, which has no deadline of its own.
#[tokio::test(start_paused = true)]
async fn an_exchange_that_never_ends_is_a_timeout_and_blocks_nobody() {
    let hangs = tower::service_fn(|_| std::future::pending::<Result<_, Error>>());
    let tokens = TokenCache::builder()
        .token_service(hangs)
        .deadline(Duration::from_secs(3))
        .clock(TokioClock::new())
        .build()
        .unwrap();
    for _ in 0..3 {
        let answer = tokio::time::timeout(Duration::from_secs(20), tokens.fetch(Need::Any)).await;
        assert_eq!(answer.expect("it hangs").unwrap_err().kind(), ErrorKind::Timeout);
    }
}
