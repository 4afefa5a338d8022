//! Several addresses of one endpoint.

// What clippy allows in tests it takes for production code in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_oauth_core::{EndpointUri, Error, ErrorKind, OAuthCode};
use tower_oauth_endpoint::Locator;
use tower_oauth_test::ManualClock;

const DEADLINE: Duration = Duration::from_secs(6);

/// Three addresses, `a`, `b` and `c`, and what is wrong with each.
struct World {
    locator: Locator,
    clock: ManualClock,
    trouble: Mutex<HashMap<&'static str, Trouble>>,
    called: Mutex<String>,
}

#[derive(Clone, Copy)]
enum Trouble {
    Says(ErrorKind),
    Hangs,
}

fn uri(name: &str) -> EndpointUri {
    EndpointUri::parse(&format!("https://{name}.example/token")).unwrap()
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let locator = Locator::fixed(uri("a")).also_at(
            [uri("b"), uri("c")],
            Arc::new(clock.clone()),
            DEADLINE,
        );
        Self { locator, clock, trouble: Mutex::default(), called: Mutex::default() }
    }

    fn trouble(&self, names: &[&'static str], trouble: Trouble) {
        let mut all = self.trouble.lock().unwrap();
        all.extend(names.iter().map(|name| (*name, trouble)));
    }

    fn well(&self, name: &str) {
        self.trouble.lock().unwrap().remove(name);
    }

    /// The addresses that were called, and what came of it.
    async fn call(&self) -> (String, Result<(), ErrorKind>) {
        self.call_where(|_| true).await
    }

    async fn call_where(
        &self,
        may_repeat: impl Fn(&Error) -> bool,
    ) -> (String, Result<(), ErrorKind>) {
        let once = |uri: EndpointUri| async move {
            let name = &uri.host()[..1];
            self.called.lock().unwrap().push_str(name);
            let trouble = self.trouble.lock().unwrap().get(name).copied();
            match trouble {
                None => Ok(()),
                Some(Trouble::Says(kind)) => Err(Error::from(kind)),
                Some(Trouble::Hangs) => std::future::pending().await,
            }
        };
        let result = self.locator.call_where(once, may_repeat).await;
        (std::mem::take(&mut *self.called.lock().unwrap()), result.map_err(|error| error.kind()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_one_that_answers_is_remembered_and_the_first_is_tried_again_later() {
    let world = World::new();
    assert_eq!(world.call().await, ("a".into(), Ok(())));
    world.trouble(&["a", "b"], Trouble::Says(ErrorKind::Transport));
    assert_eq!(world.call().await, ("abc".into(), Ok(())));
    for _ in 0..3 {
        assert_eq!(world.call().await, ("c".into(), Ok(())));
    }
    // After 30 seconds, then 60, then more rarely.
    for pause in [30, 60, 120, 240, 300, 300] {
        world.clock.advance(Duration::from_secs(pause - 1));
        assert_eq!(world.call().await, ("c".into(), Ok(())), "{pause}");
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(
            world.call().await,
            ("ac".into(), Ok(())),
            "{pause}: the healthy one comes next"
        );
    }
    world.well("a");
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(world.call().await, ("a".into(), Ok(())));
    assert_eq!(world.call().await, ("a".into(), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn one_outage_is_one_failure_however_many_calls_it_meets() {
    let world = World::new();
    world.trouble(&["a"], Trouble::Says(ErrorKind::Transport));
    // A hundred that were under way when it began.
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let locator = world.locator.clone();
            tokio::spawn(async move {
                let once = |uri: EndpointUri| async move {
                    tokio::task::yield_now().await;
                    let is_first = uri.host().starts_with('a');
                    if is_first { Err(Error::from(ErrorKind::Transport)) } else { Ok(()) }
                };
                locator.call(once).await
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    world.well("a");
    world.clock.advance(Duration::from_secs(29));
    assert_eq!(world.call().await.0, "b");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.call().await.0, "a", "after 30 seconds, as after a single one");
}

#[tokio::test(start_paused = true)]
async fn only_trouble_that_passes_leads_on() {
    use ErrorKind::{
        Malformed, NarrowScope, OAuth, Redirect, Status, Timeout, TooLarge, Transport,
    };
    for (kind, called) in [
        (Transport, "ab"),
        (Timeout, "ab"),
        (TooLarge, "ab"),
        (Malformed("x"), "ab"),
        (Status(500), "ab"),
        (Status(503), "ab"),
        (Status(429), "ab"),
        (Status(404), "a"),
        (Redirect, "a"),
        (NarrowScope, "a"),
        (OAuth(OAuthCode::InvalidGrant), "a"),
        (OAuth(OAuthCode::InvalidClient), "a"),
    ] {
        let world = World::new();
        world.trouble(&["a"], Trouble::Says(kind));
        let result = if called == "a" { Err(kind) } else { Ok(()) };
        assert_eq!(world.call().await, (called.into(), result), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_in_trouble_is_the_last_ones_error_and_each_is_tried_once() {
    let world = World::new();
    world.trouble(&["a", "b"], Trouble::Says(ErrorKind::Transport));
    world.trouble(&["c"], Trouble::Says(ErrorKind::Status(502)));
    let (called, result) = world.call().await;
    assert_eq!((called.as_str(), result), ("abc", Err(ErrorKind::Status(502))));
    let (called, _) = world.call().await;
    assert_eq!(called.len(), 3, "{called}");
}

#[tokio::test(start_paused = true)]
async fn t01_one_that_hangs_leaves_time_for_the_next_and_the_deadline_holds_for_all() {
    let world = World::new();
    world.trouble(&["a"], Trouble::Hangs);
    let began = tokio::time::timeout(DEADLINE / 3 + Duration::from_millis(1), world.call());
    assert_eq!(began.await.unwrap(), ("ab".into(), Ok(())));
    assert_eq!(world.call().await, ("b".into(), Ok(())));

    let world = World::new();
    world.trouble(&["a", "b", "c"], Trouble::Hangs);
    // The manual clock stands still, as if no time were used up: the shares grow, and the caller's own deadline counts.
    let waited = tokio::time::timeout(DEADLINE * 2, world.call()).await;
    assert_eq!(waited.unwrap(), ("abc".into(), Err(ErrorKind::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_sent_twice_is_not() {
    let world = World::new();
    world.trouble(&["a"], Trouble::Says(ErrorKind::Timeout));
    let no = world.call_where(|error| error.kind() != ErrorKind::Timeout).await;
    assert_eq!(no, ("a".into(), Err(ErrorKind::Timeout)));
    assert_eq!(world.call().await, ("b".into(), Ok(())), "it is remembered all the same");
}
