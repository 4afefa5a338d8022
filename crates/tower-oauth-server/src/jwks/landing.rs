//! Where every fetch lands: the one place that changes the key set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tower_oauth_core::Clock;
use tower_oauth_jose::{KeyDiff, KeySet, SkipReason};

use super::fetch::{Answer, Failed, Fetched, Why};
use super::file::{Job, SnapshotFile};
use super::gate::{Dropped, Gate};
use super::snapshot::{Ages, Snapshot};
use super::status::JwksLoad;

/// What a flight needs when it lands.
pub(super) struct Shared {
    pub(super) snapshot: ArcSwapOption<Snapshot>,
    pub(super) last_load: ArcSwapOption<JwksLoad>,
    /// Held for arithmetic, and for setting a flight off; never across an await.
    gate: Mutex<Gate>,
    pub(super) clock: Arc<dyn Clock>,
    stale_for: Duration,
    /// Goes up with everything that lands or is dropped, for those who watch.
    pub(super) news: watch::Sender<u64>,
    file: Option<SnapshotFile>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        stale_for: Duration,
        file: Option<SnapshotFile>,
    ) -> Self {
        let shared = Self {
            snapshot: ArcSwapOption::empty(),
            last_load: ArcSwapOption::empty(),
            gate: Mutex::default(),
            clock,
            stale_for,
            news: watch::Sender::new(0),
            file,
        };
        shared.seed();
        shared
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        // Nothing under the lock can panic half-way; poisoning says nothing.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate, unless somebody else has it.
    pub(super) fn try_gate(&self) -> Option<MutexGuard<'_, Gate>> {
        match self.gate.try_lock() {
            Ok(gate) => Some(gate),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What the snapshot file holds, before the first request.
    fn seed(&self) {
        let Some(file) = &self.file else { return };
        let seed = match file.read(self.clock.unix_seconds()) {
            Ok(Some(seed)) => seed,
            Ok(None) => return,
            Err(reason) => {
                tracing::warn!(target: "tower_oauth::jwks", outcome = "snapshot_ignored", reason);
                return;
            }
        };
        let now = self.clock.now();
        let ages = Ages::seeded(now, seed.fresh_for, seed.age, self.stale_for);
        if now >= ages.serves_until {
            let reason = "too old";
            tracing::warn!(target: "tower_oauth::jwks", outcome = "snapshot_ignored", reason);
            return;
        }
        let mut gate = self.gate();
        gate.generation += 1;
        let snapshot = Arc::new(Snapshot {
            keys: Arc::new(seed.keys),
            generation: gate.generation,
            seq: 0,
            etag: None,
            ages: Some(ages),
        });
        // Past its freshness it may hold a key that was withdrawn while nobody was looking. A process
        // that starts can ask the issuer first, and needs the file only if there is no answer.
        let is_fresh = now < ages.fresh_until;
        let keys = snapshot.keys.keys().len();
        if is_fresh {
            self.snapshot.store(Some(snapshot));
        } else {
            gate.fallback = Some(snapshot);
        }
        drop(gate);
        tracing::info!(
            target: "tower_oauth::jwks",
            outcome = "snapshot_read",
            keys,
            is_fresh,
            age_s = seed.age.as_secs(),
        );
    }

    /// Drops the keys under `kid`; says whether there were any.
    pub(super) fn evict(&self, kid: &str) -> bool {
        let mut gate = self.gate();
        let fallback = gate.fallback.take_if(|set| set.holds(kid));
        let before = self.snapshot.load_full().filter(|set| set.holds(kid));
        if before.is_none() && fallback.is_none() {
            return false;
        }
        let started = gate.started;
        gate.dropped.key(kid, started);
        if let Some(fallback) = fallback {
            gate.fallback = fallback.without(kid, fallback.generation).map(Arc::new);
        }
        if let Some(before) = before {
            gate.generation += 1;
            self.snapshot.store(before.without(kid, gate.generation).map(Arc::new));
        }
        // The next token under this id shall ask the issuer, not our memory.
        gate.absent.forget();
        let job = self.file.as_ref().map(SnapshotFile::forget);
        drop(gate);
        self.dropped("evicted", job);
        true
    }

    /// Drops everything.
    pub(super) fn clear(&self) {
        let mut gate = self.gate();
        let started = gate.started;
        gate.dropped.all(started);
        gate.fallback = None;
        gate.absent.forget();
        self.snapshot.store(None);
        let job = self.file.as_ref().map(SnapshotFile::forget);
        drop(gate);
        self.dropped("cleared", job);
    }

    fn dropped(&self, outcome: &'static str, job: Option<Job>) {
        tracing::info!(target: "tower_oauth::jwks", outcome);
        self.tell_watchers(job);
    }

    /// After the gate is released: files are slow, and a subscriber is foreign code.
    fn tell_watchers(&self, job: Option<Job>) {
        if let Some(job) = job {
            job.run_in_background();
        }
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    pub(super) fn serves(&self, now: Instant) -> bool {
        self.snapshot.load().as_deref().is_some_and(|snapshot| snapshot.serves(now))
    }

    /// Runs inside the flight: what is stored here is stored before anybody who waits looks again.
    pub(super) fn land(&self, result: Result<&Fetched, &Failed>) {
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
        gate.fallback = None;
        let (keys, etag, fresh_for, body) = match (&fetched.answer, before) {
            (Answer::Set { keys, etag, fresh_for, body }, _) => {
                (Arc::clone(keys), etag.clone(), *fresh_for, Some(body))
            }
            (Answer::Same { fresh_for }, Some(before)) => {
                (Arc::clone(&before.keys), before.etag.clone(), *fresh_for, None)
            }
            // A condition is only sent for a set at hand; it may have been dropped since.
            (Answer::Same { .. } | Answer::NotAsked, _) => return,
        };
        let (keys, etag, body) = match gate.dropped.by(fetched.seq) {
            Dropped::Nothing => (keys, etag, body),
            // The condition of the next fetch must not be for the set with the key.
            Dropped::Keys { kids, .. } => {
                let keys = kids.iter().fold(keys, |keys, kid| Arc::new(keys.without(kid)));
                (keys, None, None)
            }
            Dropped::All { .. } => return,
        };
        if keys.is_empty() {
            // All that the issuer has was dropped by hand meanwhile: what is left here, it has withdrawn.
            self.snapshot.store(None);
            drop(gate);
            self.tell_watchers(None);
            return;
        }
        let nothing = KeySet::default();
        let diff = before.map_or(&nothing, Snapshot::keys).diff(&keys);
        if !diff.is_empty() {
            gate.absent.forget();
            // Tokens of the keys that are gone are still about, and the issuer has just been asked; unless
            // it was a cache on the way, which may be behind the keys that it seems to take away.
            let gone = diff.removed().iter().chain(diff.changed());
            for kid in gone.filter(|_| fetched.why.bypasses_caches()) {
                gate.absent.insert(kid, now);
            }
            gate.generation += 1;
        }
        let is_news = !diff.added().is_empty() || !diff.changed().is_empty();
        if is_news && matches!(fetched.why, Why::Miss(_)) {
            gate.misses.fruitful(now);
        }
        let generation = gate.generation;
        let ages = Ages::new(now, fresh_for, self.stale_for, fastrand::f64());
        let fresh_for = ages.fresh_until.saturating_duration_since(now);
        self.snapshot.store(Some(Arc::new(Snapshot {
            keys: Arc::clone(&keys),
            generation,
            seq: fetched.seq,
            etag,
            ages: Some(ages),
        })));
        self.last_load.store(Some(Arc::new(JwksLoad::new(generation, &keys, &diff))));
        // Made under the gate, so that the files are written in the order of the sets.
        let fetched_at = self.clock.unix_seconds();
        let job = self.file.as_ref().and_then(|file| match body {
            // RFC 7517 §9: what should not have been published is not copied to the disk as well.
            Some(_) if publishes_private(&keys) => Some(file.forget()),
            Some(body) => Some(file.keep(body.clone(), fetched_at, fresh_for)),
            None => file.keep_on(fetched_at, fresh_for),
        });
        drop(gate);
        self.tell_watchers(job);
        tell(fetched.why, &keys, &diff, fresh_for);
    }

    fn landed_badly(&self, failed: &Failed) {
        let now = self.clock.now();
        let mut gate = self.gate();
        gate.in_air = None;
        gate.last_error = Some(failed.error.kind());
        let asked = failed.error.retry_after();
        if !self.serves(now) {
            // Better than nothing, for as long as it would have served without the restart.
            if let Some(fallback) = gate.fallback.take().filter(|set| set.serves(now)) {
                self.snapshot.store(Some(fallback));
            }
        }
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
        self.tell_watchers(None);
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
    if publishes_private(keys) {
        // RFC 7517 §9: whoever can read the set can sign. Somebody has to be woken.
        let private = skipped.iter().filter(|key| key.reason() == SkipReason::Private).count();
        tracing::error!(target: "tower_oauth::jwks", outcome = "private_key_published", private);
    }
}

fn publishes_private(keys: &KeySet) -> bool {
    keys.skipped().iter().any(|key| key.reason() == SkipReason::Private)
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
