//! The one place that changes the key set: every fetch starts here and lands here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};
use tower_layer::Layer;
use tower_oauth_core::{Clock, Error, ErrorKind};
use tower_oauth_jose::{KeyDiff, KeySet, SkipReason};
use tower_service::Service;
use tower_single_flight::{FlightError, ResponseFuture, SingleFlight, SingleFlightLayer};

use super::fetch::{Answer, Ask, Failed, Fetched, Fetcher, Why};
use super::limiter::{Absent, Misses, Refresh};
use super::snapshot::{Ages, Snapshot};

/// How many requests may wait for one fetch. They hold a token of up to 8 KiB each.
const MAX_WAITERS: usize = 8_192;
/// What the absent key of a token without a key id is remembered under; no key id is empty.
const NO_KID: &str = "";

/// The key set with its fetches.
pub(super) struct Store {
    shared: Arc<Shared>,
    flight: Flight,
}

/// All fetches have the one key `()`: at most one is in the air.
type Flight = SingleFlight<Fetcher, fn(&Ask), (), Fetched, Failed>;

/// What a flight needs when it lands.
struct Shared {
    snapshot: ArcSwapOption<Snapshot>,
    /// Held for arithmetic, and for setting a flight off; never across an await.
    gate: Mutex<Gate>,
    clock: Arc<dyn Clock>,
    stale_for: Duration,
}

/// Who may fetch, and when.
#[derive(Default)]
struct Gate {
    /// The number of the last fetch that was set off.
    started: u64,
    in_air: Option<(u64, Why)>,
    misses: Misses,
    /// For a set that grows old.
    refresh: Refresh,
    /// For a set that is not there.
    first: Refresh,
    absent: Absent,
    last_error: Option<ErrorKind>,
}

/// A place among those who wait for a fetch.
pub(crate) struct Wait {
    /// The last fetch that had been set off when the question came up.
    pub(crate) asked: u64,
    /// The fetch that is waited for.
    seq: u64,
    response: ResponseFuture<Fetched, Failed>,
}

/// What to do for a token whose key is not there.
pub(crate) enum Next<N> {
    /// The set has changed since it was looked at.
    LookAgain,
    /// A fetch is in the air.
    Wait(Wait),
    /// There is none, and will be none for this token.
    Refuse(N),
}

/// What came of waiting.
#[derive(Debug)]
pub(crate) enum Landed {
    /// The set was fetched after the question came up, from the issuer itself: its word is the last.
    Answered,
    /// A set was fetched, and may be from before the question.
    Earlier,
    /// There was no fetch, or it was lost with its runtime.
    Nothing,
    /// The fetch failed.
    Failed(Error),
}

// === impl Store ===

impl Store {
    pub(super) fn new(fetcher: Fetcher, clock: Arc<dyn Clock>, stale_for: Duration) -> Self {
        let shared = Arc::new(Shared {
            snapshot: ArcSwapOption::empty(),
            gate: Mutex::default(),
            clock,
            stale_for,
        });
        let landing = Arc::clone(&shared);
        let flight = SingleFlightLayer::new((|_| ()) as fn(&Ask))
            .max_waiters(MAX_WAITERS)
            .on_complete(move |(): &(), result: Result<&Fetched, &Failed>| landing.land(result))
            .layer(fetcher);
        Self { shared, flight }
    }

    pub(super) fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    pub(super) fn load(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.shared.snapshot.load()
    }

    pub(super) fn last_error(&self) -> Option<ErrorKind> {
        self.shared.gate().last_error
    }

    /// Sets a refresh off, if it is time for one. Nobody waits for it.
    pub(super) fn refresh_in_background(&self, now: Instant) {
        // Another request that holds the gate does the same, or something better.
        let mut gate = match self.shared.gate.try_lock() {
            Ok(gate) => gate,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Asked again, since a refresh may have landed between the look and the gate.
        let is_due = self.load().as_deref().is_some_and(|snapshot| snapshot.is_due(now));
        if is_due && !self.flight.is_in_flight(&()) && gate.refresh.spend(now) {
            drop(self.lead(&mut gate, Why::Refresh));
        }
    }

    /// Waits for the first set; or tells why not to, and for how long.
    pub(super) fn first(&self, asked: Option<u64>) -> Next<(ErrorKind, Duration)> {
        let now = self.now();
        let mut gate = self.shared.gate();
        if self.shared.serves(now) {
            return Next::LookAgain;
        }
        let asked = asked.unwrap_or(gate.started);
        if self.flight.is_in_flight(&()) {
            Next::Wait(self.join(&gate, asked))
        } else if gate.first.spend(now) {
            Next::Wait(self.wait(&mut gate, asked, Why::First))
        } else {
            let cause = gate.last_error.unwrap_or(ErrorKind::Lost);
            Next::Refuse((cause, gate.first.left(now)))
        }
    }

    /// Waits for a set that has the key which the set of the fetch `seen` has not, if a fetch is in
    /// the air or in the budget.
    pub(super) fn miss(&self, kid: Option<&str>, seen: u64, asked: Option<u64>) -> Next<()> {
        let now = self.now();
        let mut gate = self.shared.gate();
        // Sets change under the gate: what was not there a moment ago may be there now, and to ask
        // the limiter for it would refuse somebody whose key is at hand.
        if self.load().as_deref().is_none_or(|snapshot| snapshot.seq != seen) {
            return Next::LookAgain;
        }
        let asked = asked.unwrap_or(gate.started);
        if self.flight.is_in_flight(&()) {
            gate.misses.note(now);
            return Next::Wait(self.join(&gate, asked));
        }
        if gate.absent.holds(kid.unwrap_or(NO_KID), now) {
            return Next::Refuse(());
        }
        match gate.misses.spend(now) {
            Some(spent) => Next::Wait(self.wait(&mut gate, asked, Why::Miss(spent))),
            None => Next::Refuse(()),
        }
    }

    /// The key was looked for in a set from after the question, and is not there.
    pub(super) fn absent(&self, kid: Option<&str>) {
        let now = self.now();
        self.shared.gate().absent.insert(kid.unwrap_or(NO_KID), now);
    }

    /// Waits for a fetch that was set off after `asked`; there is no limit to them.
    pub(super) fn manual(&self, asked: Option<u64>) -> Wait {
        let mut gate = self.shared.gate();
        let asked = asked.unwrap_or(gate.started);
        if self.flight.is_in_flight(&()) {
            self.join(&gate, asked)
        } else {
            self.wait(&mut gate, asked, Why::Manual)
        }
    }

    /// The answer of a fetch.
    pub(super) async fn landed(&self, wait: Wait) -> Landed {
        let error = match wait.response.await {
            Ok(Fetched { answer: Answer::NotAsked, .. }) => return Landed::Nothing,
            Ok(fetched) if fetched.seq > wait.asked && fetched.why.bypasses_caches() => {
                return Landed::Answered;
            }
            Ok(_) => return Landed::Earlier,
            Err(FlightError::Service(failed)) => return Landed::Failed(failed.error.clone()),
            Err(FlightError::Lost) => {
                self.shared.gate().lost(wait.seq);
                return Landed::Nothing;
            }
            Err(FlightError::NoRuntime) => {
                self.shared.gate().lost(wait.seq);
                ErrorKind::NoRuntime
            }
            Err(FlightError::TooManyWaiters) => ErrorKind::TooManyWaiters,
            Err(_) => ErrorKind::Panicked,
        };
        Landed::Failed(error.into())
    }

    fn join(&self, gate: &Gate, asked: u64) -> Wait {
        // Between the look and the call the flight may land; `Join` then sets off a flight that does
        // nothing, so that no fetch is made outside of a budget.
        let ask = Ask { seq: gate.started, why: Why::Join, etag: None };
        Wait { asked, seq: gate.started, response: self.flight.clone().call(ask) }
    }

    fn wait(&self, gate: &mut Gate, asked: u64, why: Why) -> Wait {
        let response = self.lead(gate, why);
        Wait { asked, seq: gate.started, response }
    }

    /// The gate is held from the look that nothing is in the air to the call that puts it there:
    /// two hundred who miss at once are one fetch.
    fn lead(&self, gate: &mut Gate, why: Why) -> ResponseFuture<Fetched, Failed> {
        gate.started += 1;
        gate.in_air = Some((gate.started, why));
        let etag = self.load().as_deref().and_then(|snapshot| snapshot.etag.clone());
        self.flight.clone().call(Ask { seq: gate.started, why, etag })
    }
}

// === impl Gate ===

impl Gate {
    /// The flight ended without a word; whoever comes next may lead at once.
    fn lost(&mut self, seq: u64) {
        if let Some((_, why)) = self.in_air.take_if(|(in_air, _)| *in_air == seq) {
            match why {
                Why::Miss(spent) => self.misses.give_back(spent),
                Why::First => self.first.clear(),
                Why::Refresh => self.refresh.clear(),
                Why::Manual | Why::Join => {}
            }
        }
    }

    fn healed(&mut self) {
        self.misses.healed();
        self.first.clear();
        self.refresh.clear();
        self.last_error = None;
    }
}

// === impl Shared ===

impl Shared {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Nothing under the lock can panic half-way; poisoning says nothing.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serves(&self, now: Instant) -> bool {
        self.snapshot.load().as_deref().is_some_and(|snapshot| snapshot.serves(now))
    }

    /// Runs inside the flight: what is stored here is stored before anybody who waits looks again.
    fn land(&self, result: Result<&Fetched, &Failed>) {
        match result {
            Ok(Fetched { answer: Answer::NotAsked, .. }) => {}
            Ok(fetched) => self.landed_well(fetched),
            Err(failed) => self.landed_badly(failed),
        }
    }

    fn landed_well(&self, fetched: &Fetched) {
        let now = self.clock.now();
        let mut gate = self.gate();
        gate.in_air = None;
        gate.healed();
        let before = self.snapshot.load_full();
        let before = before.as_deref();
        // One flight at a time makes this true; it is cheap to be sure that an answer that was
        // overtaken never brings a withdrawn key back.
        if before.is_some_and(|before| before.seq > fetched.seq) {
            return;
        }
        let (keys, etag, fresh_for) = match (&fetched.answer, before) {
            (Answer::Set { keys, etag, fresh_for }, _) => (keys, etag, *fresh_for),
            (Answer::Same { fresh_for }, Some(before)) => (&before.keys, &before.etag, *fresh_for),
            // A condition is only sent for a set at hand.
            (Answer::Same { .. } | Answer::NotAsked, _) => return,
        };
        let nothing = KeySet::default();
        let diff = before.map_or(&nothing, Snapshot::keys).diff(keys);
        if !diff.is_empty() {
            gate.absent.forget();
            // Tokens of the keys that are gone are still about. This set has just been asked.
            for kid in diff.removed().iter().chain(diff.changed()) {
                gate.absent.insert(kid, now);
            }
        }
        let is_news = !diff.added().is_empty() || !diff.changed().is_empty();
        if is_news && matches!(fetched.why, Why::Miss(_)) {
            gate.misses.fruitful(now);
        }
        let generation = before.map_or(0, |before| before.generation) + u64::from(!diff.is_empty());
        let ages = Ages::new(now, fresh_for, self.stale_for, fastrand::f64());
        self.snapshot.store(Some(Arc::new(Snapshot {
            keys: Arc::clone(keys),
            generation,
            seq: fetched.seq,
            etag: etag.clone(),
            ages: Some(ages),
        })));
        // A subscriber is foreign code: it does not run under the lock.
        drop(gate);
        tell(fetched.why, keys, &diff, ages.fresh_until.saturating_duration_since(now));
    }

    fn landed_badly(&self, failed: &Failed) {
        let now = self.clock.now();
        let mut gate = self.gate();
        gate.in_air = None;
        gate.last_error = Some(failed.error.kind());
        let asked = failed.error.retry_after();
        let serves = self.serves(now);
        match failed.why {
            Why::Miss(spent) => gate.misses.failed(spent, now, asked),
            Why::First | Why::Refresh | Why::Manual | Why::Join if serves => {
                gate.refresh.failed_behind_a_set(now, asked);
            }
            Why::First | Why::Refresh | Why::Manual | Why::Join => {
                gate.first.failed_without_a_set(now, asked);
            }
        }
        drop(gate);
        tracing::warn!(
            target: "tower_oauth::jwks",
            why = name(failed.why),
            outcome = "failed",
            cause = %failed.error.kind(),
            serving_last_good = serves,
        );
    }
}

/// One event for each load that really ran. Counts only: a key id is the issuer's text.
fn tell(why: Why, keys: &KeySet, diff: &KeyDiff, fresh_for: Duration) {
    let skipped = keys.skipped();
    let private = skipped.iter().filter(|key| key.reason() == SkipReason::Private).count();
    let outcome = if diff.is_empty() { "unchanged" } else { "changed" };
    tracing::info!(
        target: "tower_oauth::jwks",
        why = name(why),
        outcome,
        keys = keys.keys().len(),
        added = diff.added().len(),
        changed = diff.changed().len(),
        removed = diff.removed().len(),
        skipped = skipped.len(),
        fresh_for_s = fresh_for.as_secs(),
    );
    if private > 0 {
        // RFC 7517 §9: whoever can read the set can sign. Somebody has to be woken.
        tracing::error!(target: "tower_oauth::jwks", outcome = "private_key_published", private);
    }
}

/// For log fields and metric labels.
pub(super) const fn name(why: Why) -> &'static str {
    match why {
        Why::First => "first",
        Why::Refresh => "refresh",
        Why::Miss(_) => "miss",
        Why::Manual => "manual",
        Why::Join => "join",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Full;
    use tower_oauth_core::{EndpointUri, SystemClock};
    use tower_oauth_endpoint::HttpClient;
    use tower_oauth_jose::NoKey;

    use super::*;
    use crate::jwks::fetch::Source;

    const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn set(kid: &str) -> Answer {
        let keys = KeySet::from_jwks(format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{ED25519}"}}]}}"#
        ));
        Answer::Set { keys: Arc::new(keys.unwrap()), etag: None, fresh_for: None }
    }

    fn store() -> Store {
        let http = HttpClient::new(tower::service_fn(|_: http::Request<Full<Bytes>>| async {
            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::new())))
        }));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = Source::Uri(EndpointUri::parse("https://idp.example/jwks").unwrap());
        let fetcher = Fetcher::new(source, http, Arc::clone(&clock));
        Store::new(fetcher, clock, Duration::ZERO)
    }

    #[test]
    fn case_09_an_answer_that_was_overtaken_does_not_bring_a_withdrawn_key_back() {
        use tower_oauth_jose::Algorithm::EdDSA;
        let store = store();
        let land = |seq, answer| {
            store.shared.land(Ok(&Fetched { seq, why: Why::Refresh, answer }));
        };
        land(2, set("new"));
        land(1, set("old"));
        land(1, Answer::Same { fresh_for: Some(Duration::MAX) });
        let snapshot = store.load();
        let snapshot = snapshot.as_deref().unwrap();
        assert!(snapshot.keys().candidates(Some("new"), EdDSA).is_ok());
        let old = snapshot.keys().candidates(Some("old"), EdDSA);
        assert_eq!(old.unwrap_err(), NoKey::UnknownKid);
        assert_eq!((snapshot.seq, snapshot.generation), (2, 1));
    }

    #[test]
    fn case_18_a_set_that_is_only_written_otherwise_is_no_change() {
        let store = store();
        for seq in 1..4 {
            store.shared.land(Ok(&Fetched { seq, why: Why::Refresh, answer: set("a") }));
        }
        assert_eq!(store.load().as_deref().unwrap().generation, 1);
    }

    #[tokio::test]
    async fn who_wants_to_join_a_fetch_that_has_landed_sets_no_other_off() {
        let store = store();
        let wait = store.join(&store.shared.gate(), 0);
        assert!(matches!(store.landed(wait).await, Landed::Nothing));
        assert!(store.load().is_none() && store.last_error().is_none());
    }
}
