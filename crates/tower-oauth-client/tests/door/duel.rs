//! Two devices, one account, one active token.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth_client::{
    ClientError, Error, ErrorKind, RetryInvalidTokenLayer, TokenCache, TokenEvent,
};
use tower_oauth_core::codec::TokenResponse;

use crate::rig::{TokioClock, authorization, invalid_token, ms, ok, request, sleep_ms};

/// An issuer that knows one active token, and the resource that asks it.
#[derive(Clone)]
struct OneActive {
    active: Arc<Mutex<Option<u64>>>,
    next: Arc<AtomicU64>,
    exchanges: Arc<AtomicUsize>,
    /// Whether a grant ends the token before it, or hands out the one that is active.
    grants_kill: bool,
}

type Door = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

struct Device {
    tokens: TokenCache,
    door: Door,
}

impl OneActive {
    fn new(grants_kill: bool) -> Self {
        let (active, next, exchanges) = Default::default();
        Self { active, next, exchanges, grants_kill }
    }

    fn grant(&self) -> TokenResponse {
        self.exchanges.fetch_add(1, SeqCst);
        let mut active = self.active.lock().unwrap();
        if self.grants_kill {
            *active = None;
        }
        let number = *active.get_or_insert_with(|| self.next.fetch_add(1, SeqCst));
        TokenResponse::bearer(format!("t{number}"), Some(ms(3_600_000)))
    }

    fn revoke(&self) {
        *self.active.lock().unwrap() = None;
    }

    fn exchanges(&self) -> usize {
        self.exchanges.load(SeqCst)
    }

    /// A device: its cache, with an exchange of this many milliseconds, and a resource that looks at the token and answers in five.
    fn device(&self, exchange_ms: u64) -> Device {
        let issuer = self.clone();
        let issue = service_fn(move |_| {
            let issuer = issuer.clone();
            async move {
                sleep_ms(exchange_ms / 2).await;
                let granted = issuer.grant();
                sleep_ms(exchange_ms / 2).await;
                Ok::<_, Error>(granted)
            }
        });
        let active = Arc::clone(&self.active);
        let resource = service_fn(move |request: Request<Full<Bytes>>| {
            let active = Arc::clone(&active);
            async move {
                let living = active.lock().unwrap().map(|number| format!("Bearer t{number}"));
                let is_good = authorization(request.headers()) == living.as_deref();
                sleep_ms(5).await;
                Ok::<_, BoxError>(if is_good { ok() } else { invalid_token() })
            }
        });
        let tokens =
            TokenCache::builder().token_service(issue).clock(TokioClock::new()).build().unwrap();
        let door = RetryInvalidTokenLayer::new(tokens.clone()).layer(resource);
        Device { tokens, door: BoxCloneSyncService::new(door.map_err(BoxError::from)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Served,
    /// In a typed error that names the duel.
    Told,
    Lost,
}

async fn call(door: Door) -> Outcome {
    let is_duel = |error: &Error| error.kind() == ErrorKind::Duel;
    match door.oneshot(request()).await {
        Ok(answer) if answer.status() == 200 => Outcome::Served,
        Ok(answer) if answer.extensions().get().is_some_and(is_duel) => Outcome::Told,
        Ok(_) => Outcome::Lost,
        Err(error) => match error.downcast_ref() {
            Some(ClientError::Token(none)) if is_duel(none.error()) => Outcome::Told,
            _ => Outcome::Lost,
        },
    }
}

/// Fifty calls a second until it is told to stop; what became of each.
async fn fifty_a_second(door: Door, stop: Arc<AtomicBool>) -> Vec<(Outcome, u64)> {
    let clock = TokioClock::new();
    let mut calls = tokio::task::JoinSet::new();
    while !stop.load(SeqCst) {
        let door = door.clone();
        calls.spawn(async move {
            let sent = clock.ms();
            (call(door).await, clock.ms() - sent)
        });
        sleep_ms(20).await;
    }
    calls.join_all().await
}

#[tokio::test(start_paused = true)]
async fn two_devices_where_the_active_token_is_handed_out_log_out_a_thousand_times_and_lose_nothing()
 {
    let issuer = OneActive::new(false);
    let devices = [issuer.device(20), issuer.device(20)];
    for round in 0..1000 {
        let before = issuer.exchanges();
        // The one logs out, which ends the token of the other; it logs in again at its next request.
        issuer.revoke();
        devices[round % 2].tokens.flush();
        for device in devices.iter().chain(&devices) {
            assert_eq!(call(device.door.clone()).await, Outcome::Served, "log-out {round}");
        }
        assert!(issuer.exchanges() - before <= 2, "log-out {round}");
        // As often as somebody can press the button. Nobody can tell faster ones from a duel.
        sleep_ms(1000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_devices_where_each_grant_kills_the_former_token_are_told_of_a_duel() {
    for (seed, exchange_ms) in (0..8).zip([2, 10, 20, 40, 50, 60, 80, 100]) {
        fastrand::seed(seed);
        let issuer = OneActive::new(true);
        let devices = [issuer.device(exchange_ms), issuer.device(exchange_ms)];
        let news = devices.each_ref().map(|device| {
            let mut events = device.tokens.subscribe();
            tokio::spawn(tokio::time::timeout(ms(2000), async move {
                while !matches!(events.next().await, Some(TokenEvent::DuelSuspected { .. })) {}
            }))
        });
        let stops: [Arc<AtomicBool>; 2] = Default::default();
        let load = |nr: usize| {
            tokio::spawn(fifty_a_second(devices[nr].door.clone(), Arc::clone(&stops[nr])))
        };
        // Out of step, as two devices are.
        let first = load(0);
        sleep_ms(7).await;
        let loads = [first, load(1)];
        sleep_ms(4993).await;

        let exchanges = issuer.exchanges();
        assert!(exchanges <= 20, "{exchanges} token requests at {exchange_ms} ms");
        for told in news {
            assert!(told.await.unwrap().is_ok(), "no event in 2 s at {exchange_ms} ms");
        }

        // The one stops, and the other is whole again.
        stops[0].store(true, SeqCst);
        sleep_ms(1000).await;
        for _ in 0..50 {
            assert_eq!(call(devices[1].door.clone()).await, Outcome::Served, "{exchange_ms} ms");
            sleep_ms(20).await;
        }
        stops[1].store(true, SeqCst);
        for load in loads {
            for (outcome, took) in load.await.unwrap() {
                assert_ne!(outcome, Outcome::Lost, "{exchange_ms} ms");
                // Two attempts, and an exchange before each, the second after one that was in the air.
                assert!(took <= 3 * exchange_ms + 15, "{outcome:?} after {took} ms");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_duel_costs_less_and_less() {
    let issuer = OneActive::new(true);
    let devices = [issuer.device(20), issuer.device(20)];
    let stop: Arc<AtomicBool> = Arc::default();
    let loads = devices
        .each_ref()
        .map(|device| tokio::spawn(fifty_a_second(device.door.clone(), Arc::clone(&stop))));
    sleep_ms(60_000).await;
    let first = issuer.exchanges();
    sleep_ms(60_000).await;
    stop.store(true, SeqCst);
    for load in loads {
        load.await.unwrap();
    }
    assert!(first <= 60, "{first} token requests in the first minute");
    assert!(issuer.exchanges() - first <= 2 * 13, "{} in the second", issuer.exchanges() - first);
}

/// A server that restarts is no second holder: nobody is told of a duel, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn elsewhere_a_restarts_are_no_duel() {
    for (restarts, every) in [(3, 3300), (5, 4000), (2, 2000), (20, 1000)] {
        let issuer = OneActive::new(true);
        let device = issuer.device(50);
        let mut events = device.tokens.subscribe();
        let stop: Arc<AtomicBool> = Arc::default();
        let load = tokio::spawn(fifty_a_second(device.door.clone(), Arc::clone(&stop)));
        for _ in 0..restarts {
            sleep_ms(every).await;
            issuer.revoke();
        }
        sleep_ms(200).await;
        stop.store(true, SeqCst);
        let calls = load.await.unwrap();
        assert!(calls.iter().all(|(outcome, _)| *outcome == Outcome::Served));
        assert_eq!(issuer.exchanges(), restarts + 1);
        drop(device);
        while let Some(event) = events.next().await {
            assert!(!matches!(event, TokenEvent::DuelSuspected { .. }), "every {every} ms");
        }
    }
}
