//! The laws of a flight, as tests. The numbers are those of the crate's documentation.

// What clippy allows in tests it takes for production code in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A flight is started in one runtime and waited for in another.
#![allow(clippy::async_yields_async)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, yield_now};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_single_flight::{DEFAULT_MAX_WAITERS, FlightError, SingleFlight, SingleFlightLayer};

// === the origin: an inner service that counts, and answers when it is let ===

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Debug)]
struct Down(usize);

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} found the origin down", self.0)
    }
}

impl Error for Down {}

/// Answers the number of the call. Each call waits for one permit of its gate.
#[derive(Clone)]
struct Origin {
    calls: Arc<AtomicUsize>,
    in_air: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    down: Arc<AtomicBool>,
}

impl Origin {
    fn closed() -> Self {
        Self {
            calls: Arc::default(),
            in_air: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            down: Arc::default(),
        }
    }

    fn open() -> Self {
        let origin = Self::closed();
        origin.let_go(Semaphore::MAX_PERMITS);
        origin
    }

    fn let_go(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

/// Counts a call as in the air for as long as its future lives.
struct InAir(Arc<AtomicUsize>);

impl InAir {
    fn enter(counter: &Arc<AtomicUsize>) -> (Self, usize) {
        let before = counter.fetch_add(1, SeqCst);
        (Self(Arc::clone(counter)), before)
    }
}

impl Drop for InAir {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Service<u64> for Origin {
    type Response = usize;
    type Error = Down;
    type Future = Boxed<Result<usize, Down>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self::Future {
        let call = self.calls.fetch_add(1, SeqCst) + 1;
        let (in_air, _) = InAir::enter(&self.in_air);
        let gate = Arc::clone(&self.gate);
        let down = Arc::clone(&self.down);
        Box::pin(async move {
            let _in_air = in_air;
            gate.acquire().await.expect("the gate is never closed").forget();
            if down.load(SeqCst) { Err(Down(call)) } else { Ok(call) }
        })
    }
}

type ByNumber<S, T, E> = SingleFlight<S, fn(&u64) -> u64, u64, T, E>;

fn number(request: &u64) -> u64 {
    *request
}

fn by_number<S: Service<u64>>(inner: S) -> ByNumber<S, S::Response, S::Error> {
    SingleFlight::new(inner, number as fn(&u64) -> u64)
}

fn is_service_error(error: &FlightError<Down>, call: usize) -> bool {
    matches!(error, FlightError::Service(down) if down.0 == call)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

// === law 1: one call for many callers ===

#[tokio::test]
async fn one_call_for_n_callers() {
    for n in [1, 2, 7, 500] {
        let origin = Origin::closed();
        let mut flight = by_number(origin.clone());
        let waits: Vec<_> = (0..n).map(|_| flight.call(1)).collect();
        origin.let_go(n);
        for wait in waits {
            assert_eq!(wait.await.unwrap(), 1, "{n} callers");
        }
        assert_eq!(origin.calls(), 1, "{n} callers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_waiters_make_one_call() {
    let origin = Origin::closed();
    let flight = by_number(origin.clone());
    let (joined, mut all_joined) = mpsc::unbounded_channel();
    let mut callers = JoinSet::new();
    for _ in 0..10_000 {
        let (mut flight, joined) = (flight.clone(), joined.clone());
        callers.spawn(async move {
            let wait = flight.call(1);
            joined.send(()).unwrap();
            wait.await.unwrap()
        });
    }
    for _ in 0..10_000 {
        all_joined.recv().await.unwrap();
    }
    origin.let_go(10_000);
    let answers = callers.join_all().await;
    assert_eq!(answers.len(), 10_000);
    assert!(answers.iter().all(|answer| *answer == 1));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_call_after_the_landing_is_a_new_call() {
    let origin = Origin::open();
    let mut flight = by_number(origin.clone());
    assert_eq!(flight.call(1).await.unwrap(), 1);
    assert_eq!(flight.call(1).await.unwrap(), 2);
}

// === law 2: detached ===

#[tokio::test]
async fn leader_dropped_call_completes() {
    // The leader goes away before its future was polled, or after.
    for polled in [false, true] {
        let origin = Origin::closed();
        let mut flight = by_number(origin.clone());
        let mut leader = flight.call(1);
        let joiner = flight.call(1);
        if polled {
            tokio::select! {
                biased;
                _ = &mut leader => panic!("the gate is closed"),
                () = yield_now() => {}
            }
        }
        drop(leader);
        origin.let_go(1);
        assert_eq!(joiner.await.unwrap(), 1, "polled: {polled}");
        assert_eq!(origin.calls(), 1, "polled: {polled}");
    }
}

#[tokio::test]
async fn all_waiters_dropped_result_still_stored() {
    let origin = Origin::closed();
    let (store, mut stored) = mpsc::unbounded_channel();
    let mut flight = SingleFlightLayer::new(number)
        .on_complete(move |key: &u64, result: Result<&usize, &Down>| {
            store.send((*key, *result.unwrap())).unwrap();
        })
        .layer(origin.clone());

    drop((flight.call(1), flight.call(1)));
    assert!(flight.is_in_flight(&1), "the flight goes on with nobody waiting");
    origin.let_go(1);
    assert_eq!(stored.recv().await, Some((1, 1)));
    assert!(!flight.is_in_flight(&1));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_flight_that_everybody_left_can_be_joined() {
    let origin = Origin::closed();
    let mut flight = by_number(origin.clone());
    drop(flight.call(1));
    let late = flight.call(1);
    origin.let_go(1);
    assert_eq!(late.await.unwrap(), 1);
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_flight_outlives_the_service() {
    let origin = Origin::closed();
    let mut flight = by_number(origin.clone());
    let wait = flight.call(1);
    drop(flight);
    origin.let_go(1);
    assert_eq!(wait.await.unwrap(), 1);
}

// === law 3: delivered inside the flight ===

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_complete_runs_before_waiters_and_before_the_slot_is_free() {
    for round in 1..=50 {
        let origin = Origin::closed();
        let stored = Arc::new(AtomicUsize::new(0));
        let (inside, mut hook_runs) = mpsc::unbounded_channel();
        let (resume, resumed) = std::sync::mpsc::channel();
        let resumed = Mutex::new(resumed);
        let store = Arc::clone(&stored);
        let flight = SingleFlightLayer::new(number)
            .on_complete(move |_: &u64, result: Result<&usize, &Down>| {
                inside.send(()).unwrap();
                resumed.lock().unwrap().recv().unwrap();
                store.store(*result.unwrap(), SeqCst);
            })
            .layer(origin.clone());

        let mut callers = JoinSet::new();
        let wait_and_look = |mut flight: SingleFlight<_, _, _, _, _>| {
            let stored = Arc::clone(&stored);
            let wait = flight.call(1);
            async move {
                let answer = wait.await.unwrap();
                (answer, stored.load(SeqCst))
            }
        };
        callers.spawn(wait_and_look(flight.clone()));
        callers.spawn(wait_and_look(flight.clone()));
        origin.let_go(1);
        hook_runs.recv().await.unwrap();
        // The hook is held up: the key is still in the air, and who comes now still joins.
        assert!(flight.is_in_flight(&1), "round {round}");
        callers.spawn(wait_and_look(flight.clone()));
        assert!(callers.try_join_next().is_none(), "round {round}: nobody has seen the result");
        resume.send(()).unwrap();
        assert_eq!(callers.join_all().await, [(1, 1); 3], "round {round}");
        assert!(!flight.is_in_flight(&1), "round {round}");
        assert_eq!(origin.calls(), 1, "round {round}");
    }
}

#[tokio::test]
async fn on_complete_sees_errors_too() {
    let origin = Origin::open();
    origin.down.store(true, SeqCst);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let mut flight = SingleFlightLayer::new(number)
        .on_complete(move |key: &u64, result: Result<&usize, &Down>| {
            note.lock().unwrap().push((*key, result.map_err(|down| down.0).copied()));
        })
        .layer(origin.clone());
    flight.call(7).await.unwrap_err();
    origin.down.store(false, SeqCst);
    flight.call(8).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(7, Err(1)), (8, Ok(2))]);
}

// === law 4: errors are shared, and not kept ===

#[tokio::test]
async fn error_is_shared_then_a_new_call_is_made() {
    let origin = Origin::closed();
    origin.down.store(true, SeqCst);
    let mut flight = by_number(origin.clone());
    let waits: Vec<_> = (0..5).map(|_| flight.call(1)).collect();
    origin.let_go(5);
    let mut errors = Vec::new();
    for wait in waits {
        match wait.await.unwrap_err() {
            FlightError::Service(error) => errors.push(error),
            other => panic!("{other:?}"),
        }
    }
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "it is one error");
    assert_eq!(origin.calls(), 1);

    assert!(is_service_error(&flight.call(1).await.unwrap_err(), 2));
    origin.down.store(false, SeqCst);
    assert_eq!(flight.call(1).await.unwrap(), 3);
}

#[tokio::test]
async fn an_error_of_readiness_is_shared_like_one_of_the_call() {
    #[derive(Clone)]
    struct NeverReady;
    impl Service<u64> for NeverReady {
        type Response = usize;
        type Error = Down;
        type Future = Boxed<Result<usize, Down>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> {
            Poll::Ready(Err(Down(0)))
        }
        fn call(&mut self, _: u64) -> Self::Future {
            panic!("called without being ready")
        }
    }
    let mut flight = by_number(NeverReady);
    let (leader, joiner) = (flight.call(1), flight.call(1));
    assert!(is_service_error(&leader.await.unwrap_err(), 0));
    assert!(is_service_error(&joiner.await.unwrap_err(), 0));
    assert!(!flight.is_in_flight(&1));
}

#[tokio::test]
async fn a_boxed_error_goes_on_as_a_boxed_error() {
    let origin = Origin::open();
    origin.down.store(true, SeqCst);
    let inner = ServiceBuilder::new().map_err(BoxError::from).service(origin);
    let stack = ServiceBuilder::new()
        .map_err(FlightError::<BoxError>::into_boxed)
        .layer(SingleFlightLayer::new(number))
        .service(inner);
    let error: BoxError = stack.oneshot(1).await.unwrap_err();
    assert!(error.source().is_some_and(|source| source.is::<Down>()));
}

// === law 5: a panic is an error ===

/// Where an inner service, or the hook, panics the first time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    PollReady,
    Call,
    FuturesFirstPoll,
    FuturesLaterPoll,
    FuturesDrop,
    OnComplete,
}

#[derive(Clone)]
struct Fragile {
    at: At,
    broken: Arc<AtomicBool>,
}

impl Fragile {
    fn breaks(&self, at: At) {
        if self.at == at && self.broken.swap(false, SeqCst) {
            panic!("broken on purpose at {at:?}");
        }
    }
}

impl Service<u64> for Fragile {
    type Response = &'static str;
    type Error = Infallible;
    type Future = Boxed<Result<&'static str, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.breaks(At::PollReady);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self::Future {
        struct BreaksOnDrop(Fragile);
        impl Drop for BreaksOnDrop {
            fn drop(&mut self) {
                self.0.breaks(At::FuturesDrop);
            }
        }
        self.breaks(At::Call);
        let this = BreaksOnDrop(self.clone());
        Box::pin(async move {
            this.0.breaks(At::FuturesFirstPoll);
            yield_now().await;
            this.0.breaks(At::FuturesLaterPoll);
            Ok("whole")
        })
    }
}

#[tokio::test]
async fn panic_frees_the_slot_and_is_an_error() {
    for at in [
        At::PollReady,
        At::Call,
        At::FuturesFirstPoll,
        At::FuturesLaterPoll,
        At::FuturesDrop,
        At::OnComplete,
    ] {
        let inner = Fragile { at, broken: Arc::new(AtomicBool::new(true)) };
        let hooked = inner.clone();
        let mut flight = SingleFlightLayer::new(number)
            .on_complete(move |_: &u64, _: Result<&&'static str, &Infallible>| {
                hooked.breaks(At::OnComplete);
            })
            .layer(inner);
        let waits = [flight.call(1), flight.call(1), flight.call(1)];
        for wait in waits {
            assert!(matches!(wait.await, Err(FlightError::Panicked)), "{at:?}");
        }
        assert!(!flight.is_in_flight(&1), "{at:?}");
        assert_eq!(flight.call(1).await.unwrap(), "whole", "{at:?}: the next call is a new one");
    }
}

#[tokio::test]
async fn a_panic_of_the_inner_services_clone_is_the_leaders_and_frees_the_slot() {
    struct Uncloneable(Arc<AtomicUsize>);
    impl Clone for Uncloneable {
        fn clone(&self) -> Self {
            assert_ne!(self.0.fetch_add(1, SeqCst), 0, "the first clone breaks on purpose");
            Self(Arc::clone(&self.0))
        }
    }
    impl Service<u64> for Uncloneable {
        type Response = u64;
        type Error = Infallible;
        type Future = std::future::Ready<Result<u64, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: u64) -> Self::Future {
            std::future::ready(Ok(request))
        }
    }
    let mut flight = by_number(Uncloneable(Arc::default()));
    let leader = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(flight.call(1))));
    assert!(leader.is_err());
    assert!(!flight.is_in_flight(&1));
    assert_eq!(flight.call(1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_panic_of_the_key_closure_touches_nobody_else() {
    let origin = Origin::closed();
    let mut flight = SingleFlight::new(origin.clone(), |request: &u64| {
        assert_ne!(*request, 13, "broken on purpose");
        1_u64
    });
    let before = flight.call(1);
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(flight.call(13))));
    assert!(broken.is_err());
    let after = flight.call(2);
    origin.let_go(1);
    assert_eq!((before.await.unwrap(), after.await.unwrap()), (1, 1));
}

#[tokio::test]
async fn a_panic_under_the_lock_is_survived() {
    #[derive(Clone)]
    struct Key(u64);
    impl PartialEq for Key {
        fn eq(&self, other: &Self) -> bool {
            assert_ne!(self.0, 13, "broken on purpose");
            self.0 == other.0
        }
    }
    impl Eq for Key {}
    impl std::hash::Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            assert_ne!(self.0, 13, "broken on purpose");
            self.0.hash(state);
        }
    }
    let origin = Origin::closed();
    let mut flight = SingleFlight::new(origin.clone(), |request: &u64| Key(*request));
    let before = flight.call(1);
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(flight.call(13))));
    assert!(broken.is_err(), "the lock is poisoned now");
    let after = flight.call(1);
    origin.let_go(1);
    assert_eq!((before.await.unwrap(), after.await.unwrap()), (1, 1));
    assert!(!flight.is_in_flight(&Key(1)));
}

// === law 6: runtimes ===

#[test]
fn runtime_shut_down_is_lost_not_a_hang() {
    // The leader's runtime is shut down when the call is in the air, or before it was polled.
    for polled in [true, false] {
        let origin = Origin::closed();
        let mut flight = by_number(origin.clone());
        let (theirs, ours) = (current_thread(), current_thread());
        let leader = theirs.block_on(async {
            let leader = flight.call(1);
            if polled {
                yield_now().await;
                assert_eq!(origin.in_air.load(SeqCst), 1);
            }
            leader
        });
        let joiner = ours.block_on(async { flight.call(1) });
        let joiner = ours.spawn(joiner);
        theirs.shutdown_background();
        let lost = ours.block_on(joiner).unwrap();
        assert!(matches!(lost, Err(FlightError::Lost)), "polled: {polled}");
        assert!(matches!(ours.block_on(leader), Err(FlightError::Lost)), "polled: {polled}");
        assert!(!flight.is_in_flight(&1), "polled: {polled}");

        // Who is told `Lost` may lead a flight on its own runtime.
        origin.let_go(1);
        let again = ours.block_on(async { flight.call(1).await });
        assert_eq!(again.unwrap(), if polled { 2 } else { 1 }, "polled: {polled}");
    }
}

#[test]
fn a_call_cut_short_is_gone_before_its_key_is_free() {
    type IsInFlight = Box<dyn Fn() -> bool + Send + Sync>;
    struct LooksOnDrop(Arc<OnceLock<IsInFlight>>, std::sync::mpsc::Sender<bool>);
    impl Drop for LooksOnDrop {
        fn drop(&mut self) {
            self.1.send(self.0.get().unwrap()()).unwrap();
        }
    }
    // The call is cut short by a panic, or by the end of its runtime.
    for panics in [true, false] {
        let is_in_flight = Arc::new(OnceLock::new());
        let (look, looked) = std::sync::mpsc::channel();
        let looks = Arc::clone(&is_in_flight);
        let inner = service_fn(move |_: u64| {
            let looks = LooksOnDrop(Arc::clone(&looks), look.clone());
            async move {
                let _looks = looks;
                assert!(!panics, "broken on purpose");
                std::future::pending::<Result<usize, Down>>().await
            }
        });
        let mut flight = by_number(inner);
        let shared = flight.clone();
        is_in_flight.set(Box::new(move || shared.is_in_flight(&1)) as IsInFlight).ok().unwrap();
        let runtime = current_thread();
        runtime.block_on(async {
            drop(flight.call(1));
            yield_now().await;
        });
        drop(runtime);
        assert!(looked.recv().unwrap(), "panics: {panics}: the key was free too early");
        assert!(!flight.is_in_flight(&1), "panics: {panics}");
    }
}

#[test]
fn a_multi_threaded_runtime_that_is_dropped_loses_its_flights() {
    let origin = Origin::closed();
    let mut flight = by_number(origin);
    let theirs = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let waits: Vec<_> = theirs.block_on(async { (0..100).map(|key| flight.call(key)).collect() });
    drop(theirs);
    let ours = current_thread();
    for (key, wait) in (0..).zip(waits) {
        assert!(matches!(ours.block_on(wait), Err(FlightError::Lost)), "{key}");
        assert!(!flight.is_in_flight(&key));
    }
}

#[test]
fn a_flight_that_starts_on_a_runtime_already_shut_down_is_lost() {
    let mut flight = by_number(Origin::open());
    let gone = current_thread();
    let handle = gone.handle().clone();
    drop(gone);
    let wait = {
        let _entered = handle.enter();
        flight.call(1)
    };
    let ours = current_thread();
    assert!(matches!(ours.block_on(wait), Err(FlightError::Lost)));
    assert_eq!(ours.block_on(async { flight.call(1).await }).unwrap(), 1);
}

#[test]
fn no_runtime_is_an_error() {
    let origin = Origin::closed();
    let mut flight = by_number(origin.clone());
    let mut refused = flight.call(1);
    assert!(!flight.is_in_flight(&1));
    let runtime = current_thread();
    assert!(matches!(runtime.block_on(&mut refused), Err(FlightError::NoRuntime)));
    assert_eq!(origin.calls(), 0);

    // To join needs no runtime, only to lead does.
    let leader = runtime.block_on(async { flight.call(1) });
    let joiner = flight.call(1);
    origin.let_go(1);
    assert_eq!(runtime.block_on(leader).unwrap(), 1);
    assert_eq!(runtime.block_on(joiner).unwrap(), 1);
}

// === law 7: nobody gets an answer twice ===

/// Callers come at the very moment at which flights land, on several threads; some go away at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_at_the_moment_of_landing_get_a_later_answer_and_calls_never_overlap() {
    const ROUNDS: usize = 200;
    const CALLERS: usize = 16;
    let calls = Arc::new(AtomicUsize::new(0));
    let in_air = Arc::new(AtomicUsize::new(0));
    let landed = Arc::new(AtomicUsize::new(0));
    let overlaps = Arc::new(AtomicUsize::new(0));

    let inner = {
        let (calls, in_air) = (Arc::clone(&calls), Arc::clone(&in_air));
        let overlaps = Arc::clone(&overlaps);
        service_fn(move |_: u64| {
            let (guard, before) = InAir::enter(&in_air);
            overlaps.fetch_add(before, SeqCst);
            let call = calls.fetch_add(1, SeqCst) + 1;
            async move {
                let _guard = guard;
                for _ in 0..call % 3 {
                    yield_now().await;
                }
                // Every seventh call fails, every eleventh panics.
                assert_ne!(call % 11, 0, "broken on purpose");
                if call.is_multiple_of(7) { Err(Down(call)) } else { Ok(call) }
            }
        })
    };
    let flight = {
        let landed = Arc::clone(&landed);
        SingleFlightLayer::new(number)
            .on_complete(move |_: &u64, result: Result<&usize, &Down>| {
                landed.store(*result.unwrap_or_else(|down| &down.0), SeqCst);
            })
            .layer(inner)
    };

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (mut flight, landed) = (flight.clone(), Arc::clone(&landed));
        callers.spawn(async move {
            let (mut last, mut answers) = (0, 0);
            for round in 0..ROUNDS {
                let wait = flight.call(1);
                if (round + caller) % 5 == 0 {
                    drop(wait);
                    continue;
                }
                answers += 1;
                let answer = match wait.await {
                    Ok(call) => call,
                    Err(FlightError::Service(down)) => down.0,
                    Err(FlightError::Panicked) => continue,
                    Err(other) => panic!("{other:?}"),
                };
                assert!(answer > last, "{answer} was given after {last}");
                assert!(landed.load(SeqCst) >= answer, "seen before it was delivered");
                last = answer;
            }
            answers
        });
    }
    let answers: usize = callers.join_all().await.iter().sum();
    assert_eq!(answers, CALLERS * ROUNDS * 4 / 5, "every caller that stayed got an answer");
    assert_eq!(overlaps.load(SeqCst), 0, "two calls of one key were in the air");
    assert!(calls.load(SeqCst) <= CALLERS * ROUNDS);
}

/// The same while the runtimes of the leaders are shut down in the midst of it.
#[test]
fn every_caller_gets_an_answer_while_runtimes_come_and_go() {
    let ours = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let origin = Origin::open();
    let flight = by_number(origin.clone());
    for round in 0..200 {
        let theirs = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (led, mut leads) = mpsc::unbounded_channel();
        let mut leader = flight.clone();
        theirs.spawn(async move {
            loop {
                let wait = leader.call(1);
                led.send(()).ok();
                wait.await.ok();
            }
        });
        ours.block_on(leads.recv()).unwrap();
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let mut caller = flight.clone();
            callers.spawn_on(
                async move {
                    let mut answers = Vec::new();
                    for _ in 0..8 {
                        answers.push(caller.call(1).await);
                    }
                    answers
                },
                ours.handle(),
            );
        }
        drop(theirs);
        for answer in ours.block_on(callers.join_all()).into_iter().flatten() {
            assert!(matches!(answer, Ok(_) | Err(FlightError::Lost)), "round {round}: {answer:?}");
        }
    }
    assert_eq!(ours.block_on(flight.clone().oneshot(1)).unwrap(), origin.calls());
    assert_eq!(origin.in_air.load(SeqCst), 0);
}

// === law 8: waiters are bounded ===

#[tokio::test]
async fn too_many_waiters_are_refused_at_once() {
    // (bound, callers of one key, of them refused)
    for (bound, callers, refused) in [(0, 3, 2), (1, 3, 2), (2, 3, 1), (3, 3, 0), (10, 100, 90)] {
        let origin = Origin::closed();
        let mut flight = SingleFlightLayer::new(number).max_waiters(bound).layer(origin.clone());
        let mut waits: Vec<_> = (0..callers).map(|_| flight.call(1)).collect();
        let other_key = flight.call(2);
        for wait in waits.split_off(callers - refused) {
            // The gate is closed: a refusal that waited would hang here.
            assert!(matches!(wait.await, Err(FlightError::TooManyWaiters)), "bound {bound}");
        }
        origin.let_go(2);
        for wait in waits {
            wait.await.unwrap();
        }
        other_key.await.unwrap();
        assert_eq!(origin.calls(), 2, "bound {bound}");
    }
}

#[tokio::test]
async fn the_default_bound_of_waiters_is_65_536() {
    assert_eq!(DEFAULT_MAX_WAITERS, 65_536);
    let flights = [
        by_number(Origin::closed()),
        SingleFlightLayer::new(number as fn(&u64) -> u64).layer(Origin::closed()),
    ];
    for mut flight in flights {
        let waits: Vec<_> = (0..DEFAULT_MAX_WAITERS).map(|_| flight.call(1)).collect();
        assert!(matches!(flight.call(1).await, Err(FlightError::TooManyWaiters)));
        flight.get_ref().let_go(1);
        for wait in waits {
            assert_eq!(wait.await.unwrap(), 1);
        }
    }
}

#[tokio::test]
async fn waiter_dropped_frees_its_place() {
    let origin = Origin::closed();
    let mut flight = SingleFlightLayer::new(number).max_waiters(2).layer(origin.clone());
    let leader = flight.call(1);
    let mut joiner = flight.call(1);
    assert!(matches!(flight.call(1).await, Err(FlightError::TooManyWaiters)));

    // One that never polled, one that waits in earnest, and the leader.
    drop(joiner);
    joiner = flight.call(1);
    tokio::select! {
        biased;
        _ = &mut joiner => panic!("the gate is closed"),
        () = yield_now() => {}
    }
    assert!(matches!(flight.call(1).await, Err(FlightError::TooManyWaiters)));
    drop(joiner);
    let second = flight.call(1);
    drop(leader);
    let third = flight.call(1);
    assert!(matches!(flight.call(1).await, Err(FlightError::TooManyWaiters)));

    origin.let_go(1);
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (1, 1));
    assert_eq!(origin.calls(), 1);
}

// === law 9: keys do not wait for each other ===

#[tokio::test]
async fn distinct_keys_do_not_wait_for_each_other() {
    let slow_gate = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&slow_gate);
    let inner = service_fn(move |key: u64| {
        let gate = Arc::clone(&gate);
        async move {
            if key == 0 {
                gate.acquire().await.unwrap().forget();
            }
            Ok::<_, Infallible>(key)
        }
    });
    let mut flight = by_number(inner);
    let slow = flight.call(0);
    for key in 1..100 {
        assert_eq!(flight.call(key).await.unwrap(), key);
    }
    assert!(flight.is_in_flight(&0));
    slow_gate.add_permits(1);
    assert_eq!(slow.await.unwrap(), 0);
}

#[tokio::test]
async fn the_key_decides_who_shares() {
    let origin = Origin::closed();
    let mut flight = SingleFlight::new(origin.clone(), |request: &u64| format!("{}", request % 3));
    let waits: Vec<_> = (0..9).map(|request| flight.call(request)).collect();
    assert!(flight.is_in_flight("2"), "a key is asked for as in a map");
    assert!(!flight.is_in_flight("3"));
    origin.let_go(9);
    let mut answers = HashSet::new();
    for wait in waits {
        answers.insert(wait.await.unwrap());
    }
    assert_eq!((answers.len(), origin.calls()), (3, 3));
}

// === law 10: always ready, and the inner service is readied before it is called ===

/// Is ready at the second asking, forgets it when cloned, and panics when called without.
#[derive(Default)]
struct Strict {
    asked: usize,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { asked: 0, calls: Arc::clone(&self.calls) }
    }
}

impl Service<u64> for Strict {
    type Response = u64;
    type Error = Infallible;
    type Future = std::future::Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        if self.asked < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        assert!(self.asked >= 2, "called without being ready");
        self.asked = 0;
        self.calls.fetch_add(1, SeqCst);
        std::future::ready(Ok(request))
    }
}

#[tokio::test]
async fn inner_is_readied_before_call() {
    let strict = Strict::default();
    let calls = Arc::clone(&strict.calls);
    let mut flight = by_number(strict);
    for key in 0..3 {
        assert_eq!(flight.ready().await.unwrap().call(key).await.unwrap(), key);
    }
    // The flight is ready by itself, so that it may even be called unasked.
    assert_eq!(flight.call(3).await.unwrap(), 3);
    assert_eq!(calls.load(SeqCst), 4);
}

#[tokio::test]
async fn clone_drops_readiness() {
    let mut strict = Strict::default();
    strict.ready().await.unwrap();
    // The flight's own inner service is ready; the clones that fly are not, and have to be readied.
    let mut flight = by_number(strict);
    let mut clone = flight.ready().await.unwrap().clone();
    assert_eq!(clone.call(1).await.unwrap(), 1);
    assert_eq!(flight.call(2).await.unwrap(), 2);
    assert_eq!(flight.get_ref().asked, 2, "the original was not touched");
}

#[tokio::test]
async fn an_inner_service_that_is_never_ready_does_not_make_the_flight_unready() {
    #[derive(Clone)]
    struct Stuck;
    impl Service<u64> for Stuck {
        type Response = u64;
        type Error = Infallible;
        type Future = std::future::Ready<Result<u64, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }
        fn call(&mut self, _: u64) -> Self::Future {
            panic!("called without being ready")
        }
    }
    let mut flight = by_number(Stuck);
    let _wait = flight.ready().await.unwrap().call(1);
    yield_now().await;
    flight.ready().await.unwrap();
    assert!(flight.is_in_flight(&1));
}

// === law 11: clones share, layers do not ===

#[tokio::test]
async fn clones_share_flights() {
    let origin = Origin::closed();
    let mut flight = by_number(origin.clone());
    let (one, two) = (flight.clone().call(1), flight.clone().clone().call(1));
    assert!(flight.is_in_flight(&1));
    let three = flight.call(1);
    origin.let_go(1);
    assert_eq!((one.await.unwrap(), two.await.unwrap(), three.await.unwrap()), (1, 1, 1));
}

#[tokio::test]
async fn services_of_one_layer_do_not_share_flights() {
    let origin = Origin::closed();
    let layer = SingleFlightLayer::new(number);
    let (mut one, mut two) = (layer.layer(origin.clone()), layer.clone().layer(origin.clone()));
    let (first, second) = (one.call(1), two.call(1));
    origin.let_go(2);
    let answers = HashSet::from([first.await.unwrap(), second.await.unwrap()]);
    assert_eq!(answers, HashSet::from([1, 2]));
}

// === constructors, and what the types promise ===

#[tokio::test]
async fn every_constructor_makes_a_flight_that_flies() {
    let hooks = Arc::new(AtomicUsize::new(0));
    let hook = || {
        let hooks = Arc::clone(&hooks);
        move |_: &u64, _: Result<&usize, &Down>| {
            hooks.fetch_add(1, SeqCst);
        }
    };
    let plain = SingleFlightLayer::new(number);
    let hooked = SingleFlightLayer::new(number).on_complete(hook()).max_waiters(5);
    let replaced = SingleFlightLayer::new(number).on_complete(|_, _| panic!()).on_complete(hook());
    let flights = [
        ("SingleFlight::new", SingleFlight::new(Origin::open(), number), 0),
        ("SingleFlightLayer::new", plain.layer(Origin::open()), 0),
        ("on_complete, max_waiters", hooked.layer(Origin::open()), 1),
        ("a clone of the layer keeps both", hooked.clone().layer(Origin::open()), 1),
        ("the last hook counts", replaced.layer(Origin::open()), 1),
    ];
    for (name, flight, hooks_run) in flights {
        hooks.store(0, SeqCst);
        assert_eq!(flight.oneshot(1).await.unwrap(), 1, "{name}");
        assert_eq!(hooks.load(SeqCst), hooks_run, "{name}");
    }
}

#[tokio::test]
async fn the_inner_service_is_within_reach() {
    let mut flight = by_number(Origin::open());
    flight.get_ref().down.store(true, SeqCst);
    flight.call(1).await.unwrap_err();
    *flight.get_mut() = Origin::open();
    assert_eq!(flight.call(1).await.unwrap(), 1);
    assert_eq!(flight.into_inner().calls(), 1);
}

#[tokio::test]
async fn the_types_ask_for_no_more_than_they_need() {
    // An error that is nothing at all, a key that only can be a key.
    struct Bare;
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Key(&'static str);
    fn is_static_and_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let inner = service_fn(|_: &'static str| async { Err::<u8, _>(Bare) });
    let flight = SingleFlight::new(inner, |request: &&'static str| Key(request));
    let wait = is_static_and_send(flight.clone().call("one"));
    assert!(matches!(wait.await, Err(FlightError::Service(_))));
}

#[tokio::test]
async fn debug_shows_no_key_and_no_answer() {
    let inner = service_fn(|token: &'static str| async move { Ok::<_, Infallible>(token) });
    let layer = SingleFlightLayer::new(|token: &&'static str| *token).max_waiters(3);
    assert_eq!(
        format!("{layer:?}"),
        "SingleFlightLayer { max_waiters: 3, on_complete: false, .. }"
    );
    let mut flight = layer.layer(inner);
    let wait = flight.call("hunter2");
    assert_eq!(format!("{wait:?}"), "ResponseFuture { .. }");
    let shown = format!("{flight:?}");
    assert!(shown.contains("in_air: 1") && shown.contains("max_waiters: 3"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(wait.await.unwrap(), "hunter2");
}
