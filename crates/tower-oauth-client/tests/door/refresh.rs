//! Refreshed ahead, in the background; used until its end, and not a moment longer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tower_oauth_client::{ErrorKind, Need, TokenSource};
use tower_oauth_core::{Clock, SystemClock};
use tower_oauth_test::{Endpoint, Fault, ManualClock};

use crate::rig::{Mint, Rig, ms, sleep_ms};

#[tokio::test(start_paused = true)]
async fn the_refresh_is_in_the_background_and_the_old_token_comes_at_once() {
    let mint = Mint::new().takes(ms(50)).life(Some(100));
    let tokens = mint.cache();
    let old = tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(69_000).await;
    assert_eq!((tokens.peek().unwrap().id(), mint.exchanges()), (old.id(), 1));
    // 80 % of its life are over: every draw of the dice has come.
    sleep_ms(11_001).await;
    for _ in 0..100 {
        assert_eq!(tokens.peek().unwrap().id(), old.id());
        tokio::task::yield_now().await;
    }
    assert_eq!(mint.exchanges(), 2, "one refresh, however many look");
    sleep_ms(51).await;
    assert_eq!(tokens.peek().unwrap().header(), "Bearer t2");
    assert_eq!(mint.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_nobody_refreshes() {
    let mint = Mint::new().life(Some(100));
    let tokens = mint.cache();
    tokens.fetch(Need::Any).await.unwrap();
    sleep_ms(10_000_000).await;
    assert_eq!(mint.exchanges(), 1);
    assert!(tokens.peek().is_none());
}

#[tokio::test(start_paused = true)]
async fn t01_a_live_token_is_used_while_the_server_is_away_and_a_dead_one_is_not() {
    let rig = Rig::with(|issuer| issuer.token_life(std::time::Duration::from_secs(100)));
    let tokens = rig.tokens();
    let old = tokens.fetch(Need::Any).await.unwrap();
    rig.issuer.reset_calls();
    rig.issuer.fault(Endpoint::Token, Fault::Reset);
    for second in 1..90 {
        sleep_ms(1000).await;
        let token = tokens.peek().or(tokens.fetch(Need::Any).await.ok());
        assert_eq!(token.map(|token| token.id()), Some(old.id()), "second {second}");
    }
    assert!((4..=10).contains(&rig.exchanges()), "{} calls in 20 s", rig.exchanges());
    sleep_ms(1000).await;
    assert!(tokens.peek().is_none(), "10 seconds before its end it is not sent any more");
    assert_eq!(tokens.fetch(Need::Any).await.unwrap_err().kind(), ErrorKind::Transport);

    rig.issuer.heal(Endpoint::Token);
    sleep_ms(30_000).await;
    assert!(tokens.fetch(Need::Any).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn r04_the_same_token_with_a_new_life_keeps_its_name() {
    let mint = Mint::new().life(Some(100));
    mint.then_token("same").then_token("same");
    let tokens = mint.cache();
    let first = tokens.fetch(Need::Any).await.unwrap();
    first.mark_accepted();
    sleep_ms(85_000).await;
    tokens.peek();
    sleep_ms(10_000).await;
    let second = tokens.peek().expect("the new life");
    assert_eq!((mint.exchanges(), second.id()), (2, first.id()));
    assert!(second.was_accepted());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_holds_nobody_up() {
    let rig = Rig::with(|issuer| issuer.token_life(std::time::Duration::from_secs(100)));
    let tokens = rig.tokens();
    tokens.fetch(Need::Any).await.unwrap();
    rig.issuer.fault(Endpoint::Token, Fault::Hang);
    sleep_ms(85_000).await;
    let before = rig.clock.ms();
    for _ in 0..100 {
        assert!(tokens.peek().is_some());
        assert!(tokens.fetch(Need::Any).await.is_ok());
    }
    assert_eq!(rig.clock.ms(), before);
}

/// A clock whose next look can be held up.
#[derive(Clone)]
struct Gated {
    clock: ManualClock,
    gate: Arc<Mutex<Option<Gate>>>,
}

/// Says that somebody has come, and waits for leave to go on.
type Gate = (Sender<()>, Receiver<()>);

impl Clock for Gated {
    fn now(&self) -> Instant {
        let gate = self.gate.lock().unwrap().take();
        if let Some((reached, go_on)) = gate {
            reached.send(()).unwrap();
            go_on.recv().unwrap();
        }
        self.clock.now()
    }

    fn unix_seconds(&self) -> i64 {
        SystemClock.unix_seconds()
    }
}

/// A thread has loaded its snapshot, sees that a refresh is due, and is held up; meanwhile the refresh
/// of another thread lands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_older_than_a_refresh_does_not_start_another_one() {
    let clock = Gated { clock: ManualClock::new(), gate: Arc::default() };
    let mint = Mint::new().life(Some(100));
    let tokens = mint.cache_with(clock.clone());
    let old = tokens.fetch(Need::Any).await.unwrap();
    clock.clock.advance(ms(85_000));

    let (reached, is_reached) = channel();
    let (go_on, may_go_on) = channel();
    *clock.gate.lock().unwrap() = Some((reached, may_go_on));
    let runtime = tokio::runtime::Handle::current();
    let slow = std::thread::spawn({
        let tokens = tokens.clone();
        move || {
            let _runtime = runtime.enter();
            tokens.peek().unwrap().id()
        }
    });
    is_reached.recv().unwrap();
    tokens.peek();
    let new = loop {
        let token = tokens.peek().unwrap();
        if token.id() != old.id() {
            break token;
        }
        tokio::task::yield_now().await;
    };
    go_on.send(()).unwrap();
    assert_eq!(slow.join().unwrap(), old.id());
    // A second refresh, if there were one, would be joined here, or have landed already.
    assert_eq!(tokens.fetch(Need::Unlike(new.id())).await.unwrap().header(), "Bearer t3");
    assert_eq!(mint.last_request().unlike, Some(new.id()));
}
