//! The key set with its fetches: every one of them starts here. They land in `landing`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use tokio::sync::watch;
use tower_layer::Layer;
use tower_oauth_core::{Clock, Error, ErrorKind};
use tower_service::Service;
use tower_single_flight::{FlightError, ResponseFuture, SingleFlight, SingleFlightLayer};

use super::fetch::{Answer, Ask, Failed, Fetched, Fetcher, Why};
use super::file::SnapshotFile;
use super::gate::Gate;
use super::landing::Shared;
use super::snapshot::Snapshot;
use super::status::JwksLoad;

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

/// Why no fetch is made for a missing key.
#[derive(Debug)]
pub(crate) enum NoFetch {
    /// It was looked for just now: the issuer does not have it. Keys that never change have no other, either.
    Absent,
    /// Forged tokens have used up the fetches.
    NoBudget,
    /// A fetch for a missing key has just failed, so that nobody knows; how, and when to come again.
    Failing(ErrorKind, Duration),
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
    pub(super) fn new(
        fetcher: Fetcher,
        clock: Arc<dyn Clock>,
        stale_for: Duration,
        file: Option<SnapshotFile>,
    ) -> Self {
        let shared = Arc::new(Shared::new(clock, stale_for, file));
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

    pub(super) fn last_load(&self) -> Option<Arc<JwksLoad>> {
        self.shared.last_load.load_full()
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// See [`Jwks::evict`](super::Jwks::evict).
    pub(super) fn evict(&self, kid: &str) -> bool {
        self.shared.evict(kid)
    }

    /// See [`Jwks::clear`](super::Jwks::clear).
    pub(super) fn clear(&self) {
        self.shared.clear();
    }

    /// Sets a refresh off, if it is time for one. Nobody waits for it.
    pub(super) fn refresh_in_background(&self, now: Instant) {
        // Another request that holds the gate does the same, or something better.
        let Some(mut gate) = self.shared.try_gate() else { return };
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
    pub(super) fn miss(&self, kid: Option<&str>, seen: u64, asked: Option<u64>) -> Next<NoFetch> {
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
            return Next::Refuse(NoFetch::Absent);
        }
        if let Some(spent) = gate.misses.spend(now) {
            return Next::Wait(self.wait(&mut gate, asked, Why::Miss(spent)));
        }
        let cause = gate.last_error.unwrap_or(ErrorKind::Lost);
        let failing = gate.misses.failing(now);
        Next::Refuse(failing.map_or(NoFetch::NoBudget, |left| NoFetch::Failing(cause, left)))
    }

    /// Whether [`miss`](Self::miss) would say now that the issuer does not have this key. It spends nothing.
    pub(super) fn is_absent(&self, kid: &str, seen: u64) -> bool {
        let now = self.now();
        let gate = self.shared.gate();
        // The set that may have it now has come, or is in the air.
        let is_news = self.load().as_deref().is_none_or(|snapshot| snapshot.seq != seen)
            || self.flight.is_in_flight(&());
        !is_news && gate.absent.holds(kid, now)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::Full;
    use tower_oauth_core::{EndpointUri, SystemClock};
    use tower_oauth_endpoint::HttpClient;
    use tower_oauth_jose::{KeySet, NoKey};

    use super::*;
    use tower_oauth_endpoint::Locator;

    const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn set(kid: &str) -> Answer {
        let keys = KeySet::from_jwks(format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{ED25519}"}}]}}"#
        ));
        Answer::Set {
            keys: Arc::new(keys.unwrap()),
            etag: None,
            fresh_for: None,
            body: Bytes::new(),
        }
    }

    fn store() -> Store {
        let http = HttpClient::new(tower::service_fn(|_: http::Request<Full<Bytes>>| async {
            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::new())))
        }));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = Locator::fixed(EndpointUri::parse("https://idp.example/jwks").unwrap());
        let fetcher = Fetcher::new(source, http, Arc::clone(&clock));
        Store::new(fetcher, clock, Duration::ZERO, None)
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
    fn k14_a_withdrawn_key_goes_also_where_the_only_other_one_was_dropped_by_hand() {
        let store = store();
        let both = format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{ED25519}"}},{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{ED25519}"}}]}}"#
        );
        let both = Answer::Set {
            keys: Arc::new(KeySet::from_jwks(both).unwrap()),
            etag: None,
            fresh_for: None,
            body: Bytes::new(),
        };
        let land = |seq, answer| {
            store.shared.land(Ok(&Fetched { seq, why: Why::Refresh, answer }));
        };
        land(1, both);
        // A fetch is in the air that shows that `a` was withdrawn.
        store.shared.gate().started = 2;
        assert!(store.evict("k"));
        land(2, set("k"));
        assert!(store.load().is_none(), "neither of them serves");
        land(3, set("k"));
        assert!(store.load().as_deref().unwrap().holds("k"), "the issuer stands by it");
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
