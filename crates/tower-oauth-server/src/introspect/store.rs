//! The two caches: of tokens that are active, and of tokens that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tower_oauth_core::Clock;
use tower_oauth_jose::InvalidToken;

use super::key::Key;
use super::known::{Asked, Known};
use super::table::Table;

const EPOCHS: usize = 256;

/// What was learnt from one question.
pub(super) struct Landed<C> {
    pub(super) verdict: Result<Remembered<C>, InvalidToken>,
    /// `None` if nothing was asked, since the cache knew by then.
    pub(super) asked: Option<Asked>,
}

/// An active token, and until when nobody need ask about it again.
pub(super) struct Remembered<C> {
    pub(super) known: Arc<Known<C>>,
    pub(super) fresh_until: Instant,
}

/// Verdicts by token. The refused have a table of their own, or random tokens would push the good ones out.
pub(super) struct Store<C> {
    active: Table<Remembered<C>>,
    refused: Table<(InvalidToken, Instant)>,
    negative_ttl: Duration,
    /// By the first byte of the key: what is forgotten of one token shall not make the answers about all others useless.
    epochs: [AtomicU64; EPOCHS],
    clock: Arc<dyn Clock>,
}

impl<C> Store<C> {
    pub(super) fn new(max_entries: usize, negative_ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            active: Table::new(max_entries),
            refused: Table::new(max_entries),
            negative_ttl,
            epochs: [const { AtomicU64::new(0) }; EPOCHS],
            clock,
        }
    }

    /// A question about this token that is asked now.
    pub(super) fn asked(&self, key: &Key) -> Asked {
        Asked { epoch: self.epoch(key), at: self.clock.now(), wall: self.clock.unix_seconds() }
    }

    /// The verdict over this token, if it is known and still holds.
    pub(super) fn find(
        &self,
        key: &Key,
        now: Instant,
    ) -> Option<Result<Remembered<C>, InvalidToken>> {
        if let Some(found) = self.active.find(key)
            && now < found.fresh_until
            // On the wall clock, whatever was reckoned when the answer came.
            && !found.known.has_expired(self.clock.unix_seconds())
        {
            return Some(Ok(found));
        }
        let (reason, until) = self.refused.find(key)?;
        (now < until).then_some(Err(reason))
    }

    /// Whether the token was active when it was last asked about, and may still be.
    pub(super) fn was_active(&self, key: &Key) -> bool {
        let found = self.active.find(key);
        found.is_some_and(|found| !found.known.has_expired(self.clock.unix_seconds()))
    }

    /// An active token whose verdict may be out of date by so much, though never beyond its `exp`; and how
    /// much of that is left.
    pub(super) fn find_stale(
        &self,
        key: &Key,
        now: Instant,
        bound: Duration,
    ) -> Option<(Arc<Known<C>>, Duration)> {
        let found = self.active.find(key)?;
        let end = found.fresh_until.checked_add(bound)?;
        let serves = now < end && !found.known.has_expired(self.clock.unix_seconds());
        serves.then(|| (found.known, end.saturating_duration_since(now)))
    }

    /// Remembers an answer; called before anybody uses it.
    pub(super) fn learn(&self, key: &Key, landed: &Landed<C>) {
        let Some(asked) = landed.asked else { return };
        // Whoever came after that has asked again, and has the newer answer.
        if self.epoch(key) != asked.epoch {
            return;
        }
        match &landed.verdict {
            Ok(active) => {
                self.refused.remove(key);
                if asked.at < active.fresh_until {
                    self.active.put(*key, active.clone());
                } else {
                    self.active.remove(key);
                }
            }
            Err(reason) => {
                // Also for the grace of an outage that comes later.
                self.active.remove(key);
                let until = asked.at.checked_add(self.negative_ttl).unwrap_or(asked.at);
                if asked.at < until {
                    self.refused.put(*key, (*reason, until));
                }
            }
        }
        // Looked at last: if somebody has forgotten on purpose since the question, either this sees it or that
        // removes what was put in above.
        if self.epoch(key) != asked.epoch {
            self.active.remove(key);
            self.refused.remove(key);
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        if let Some(epoch) = self.epochs.get(key.shard(EPOCHS)) {
            epoch.fetch_add(1, Ordering::SeqCst);
        }
        self.active.remove(key);
        self.refused.remove(key);
    }

    pub(super) fn clear(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(1, Ordering::SeqCst);
        }
        self.active.clear();
        self.refused.clear();
    }

    fn epoch(&self, key: &Key) -> u64 {
        self.epochs.get(key.shard(EPOCHS)).map_or(0, |epoch| epoch.load(Ordering::SeqCst))
    }

    /// How many verdicts are remembered: of active tokens, and of others.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.active.len(), self.refused.len())
    }
}

// Derived, these would ask for `C: Clone`.
impl<C> Clone for Remembered<C> {
    fn clone(&self) -> Self {
        Self { known: Arc::clone(&self.known), fresh_until: self.fresh_until }
    }
}

impl<C> Clone for Landed<C> {
    fn clone(&self) -> Self {
        Self { verdict: self.verdict.clone(), asked: self.asked }
    }
}
