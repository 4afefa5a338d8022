//! The lists at hand, and why others are not: bounded, and read without a lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tower_oauth_core::Error;

use super::list::{Key, Loaded};

/// The pauses after failures: 1, 2, 4, 8, then every 10 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The pauses between fetches that were to bring a longer list and did not: 1, 2, 4, .. 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After so long without one the pauses begin anew.
const QUIET: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

type Lists = HashMap<Key, Arc<Slot>>;

/// Lists by issuer and address.
pub(super) struct Store {
    lists: ArcSwap<Lists>,
    max_lists: usize,
    /// Goes up with every list that lands: the time that lists are ordered by.
    tick: AtomicU64,
    state: Mutex<State>,
}

struct Slot {
    list: Arc<Loaded>,
    /// The tick at which it was last asked for.
    used: AtomicU64,
}

/// Held for arithmetic only; whoever changes the lists holds it.
#[derive(Default)]
struct State {
    troubles: HashMap<Key, Trouble>,
    misses: HashMap<Key, Pause>,
    /// What is forgotten on purpose is not kept by a fetch from before that.
    epoch: u64,
    seq: u64,
}

struct Trouble {
    until: Instant,
    pause: Duration,
    error: Error,
}

struct Pause {
    until: Instant,
    pause: Duration,
}

// === impl Store ===

impl Store {
    pub(super) fn new(max_lists: usize) -> Self {
        Self {
            lists: ArcSwap::from_pointee(HashMap::new()),
            max_lists,
            tick: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// The list, whatever its age.
    pub(super) fn find(&self, key: &Key) -> Option<Arc<Loaded>> {
        let lists = self.lists.load();
        let slot = lists.get(key)?;
        let tick = self.tick.load(Ordering::Relaxed);
        // Written seldom, so that requests do not pass the line from core to core.
        if slot.used.load(Ordering::Relaxed) != tick {
            slot.used.store(tick, Ordering::Relaxed);
        }
        Some(Arc::clone(&slot.list))
    }

    /// The same key as the one in use, so that a token that is remembered has no copy of its own.
    pub(super) fn intern(&self, key: Key) -> Key {
        self.lists.load().get_key_value(&key).map_or(key, |(known, _)| known.clone())
    }

    /// Why the list is not asked for now.
    pub(super) fn pause(&self, key: &Key, now: Instant) -> Option<Error> {
        let state = self.state();
        let trouble = state.troubles.get(key).filter(|trouble| now < trouble.until)?;
        let left = trouble.until.saturating_duration_since(now);
        Some(trouble.error.clone().with_retry_after(Some(left)))
    }

    /// Whether the list may be fetched now because an index is not in it.
    pub(super) fn spend_on_a_miss(&self, key: &Key, now: Instant) -> bool {
        let mut state = self.state();
        let last = state.misses.get(key);
        let pause = match last {
            Some(last) if now < last.until => return false,
            Some(last) if now.saturating_duration_since(last.until) < QUIET => {
                last.pause.saturating_mul(2).min(LONGEST_WAIT)
            }
            _ => SECOND,
        };
        let until = now.checked_add(pause).unwrap_or(now);
        // Only for lists at hand, so that there are no more of these than of those.
        if self.lists.load().contains_key(key) {
            state.misses.insert(key.clone(), Pause { until, pause });
        }
        true
    }

    pub(super) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// Keeps a list, before anybody uses it.
    pub(super) fn landed(
        &self,
        key: Key,
        mut loaded: Loaded,
        wall: i64,
        epoch: u64,
    ) -> Arc<Loaded> {
        let mut state = self.state();
        state.troubles.remove(&key);
        state.seq += 1;
        loaded.seq = state.seq;
        let before = self.lists.load_full();
        if let Some(slot) = before.get(&key) {
            loaded = loaded.not_older_than(&slot.list, wall);
            if loaded.list.len() > slot.list.list.len() {
                state.misses.remove(&key);
            }
        }
        let loaded = Arc::new(loaded);
        if state.epoch == epoch {
            let used = AtomicU64::new(self.tick.fetch_add(1, Ordering::Relaxed));
            let mut lists = (*before).clone();
            if lists.len() >= self.max_lists && !lists.contains_key(&key) {
                // A walk over all of them, for a list that has just cost a fetch.
                let used = |slot: &Slot| slot.used.load(Ordering::Relaxed);
                if let Some((gone, _)) = before.iter().min_by_key(|(_, slot)| used(slot)) {
                    lists.remove(gone);
                    state.misses.remove(gone);
                }
            }
            lists.insert(key, Arc::new(Slot { list: Arc::clone(&loaded), used }));
            self.lists.store(Arc::new(lists));
        }
        drop(state);
        loaded
    }

    /// Remembers a failure. Says whether it is the first in a row.
    pub(super) fn failed(&self, key: &Key, error: &Error, now: Instant) -> bool {
        let mut state = self.state();
        let last = state.troubles.get(key).map(|trouble| trouble.pause);
        let pause = last.map_or(SECOND, |last| last.saturating_mul(2).min(LONGEST_PAUSE));
        let wait = error.retry_after().unwrap_or_default().max(pause);
        let until = now.checked_add(wait).unwrap_or(now);
        if state.troubles.len() >= self.max_lists && !state.troubles.contains_key(key) {
            let first = state.troubles.iter().min_by_key(|(_, trouble)| trouble.until);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                state.troubles.remove(&first);
            }
        }
        state.troubles.insert(key.clone(), Trouble { until, pause, error: error.clone() });
        last.is_none()
    }

    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.misses.clear();
        state.troubles.clear();
        self.lists.store(Arc::default());
    }

    pub(super) fn len(&self) -> usize {
        self.lists.load().len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way; poisoning says nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
