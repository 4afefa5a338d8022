//! One list, and where a token stands in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tower_oauth_jose::{KeySet, StatusList, Thumbprint};

/// A list is not asked for more often than this because of its own word (§11.5).
pub(super) const MIN_TTL: Duration = Duration::from_secs(5);
/// For a list that says nothing.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// What a list is kept under. A `uri` alone is not enough: another issuer may name the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(super) issuer: Arc<str>,
    pub(super) uri: Arc<str>,
}

/// Where a token's status stands.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) key: Key,
    pub(super) index: u64,
}

/// A list that was verified.
pub(super) struct Loaded {
    pub(super) list: Arc<StatusList>,
    /// The key that has signed it.
    pub(super) proven_by: Thumbprint,
    /// `iat`, in seconds since 1970.
    pub(super) issued_at: i64,
    /// From this second on it must not be used: `exp`, and the leeway.
    pub(super) dead_from: i64,
    /// When it was asked for: it is of that moment, or later.
    pub(super) asked: Instant,
    pub(super) ages: Ages,
    /// Which fetch it comes from; never 0.
    pub(super) seq: u64,
}

/// When a list is to be fetched anew.
#[derive(Clone, Copy)]
pub(super) struct Ages {
    pub(super) refresh_at: Instant,
    pub(super) fresh_until: Instant,
}

impl Loaded {
    /// Whether it may be used at all, fresh or not.
    pub(super) fn stands(&self, wall: i64, keys: Option<&KeySet>) -> bool {
        // Asked each time: a key that its issuer has withdrawn may have signed anything (a few comparisons).
        let held = keys
            .is_some_and(|keys| keys.keys().iter().any(|key| key.thumbprint() == self.proven_by));
        held && wall < self.dead_from
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now < self.ages.fresh_until
    }

    /// An older list than `before` is not news: a cache on the way, or somebody who has kept it, may send one.
    pub(super) fn not_older_than(mut self, before: &Self, wall: i64) -> Self {
        let same_key = self.proven_by == before.proven_by;
        if before.issued_at > self.issued_at && same_key && wall < before.dead_from {
            self.list = Arc::clone(&before.list);
            self.issued_at = before.issued_at;
            self.dead_from = before.dead_from;
        }
        self
    }
}

impl Ages {
    /// `left`: until `exp`; `chance` is from 0 to 1, so that a fleet does not fetch all at once.
    pub(super) fn new(
        asked: Instant,
        ttl: Option<Duration>,
        max_ttl: Duration,
        left: Duration,
        chance: f64,
    ) -> Self {
        let ttl = ttl.unwrap_or(DEFAULT_TTL).min(max_ttl).max(MIN_TTL);
        let fresh_for = ttl.min(left.max(MIN_TTL));
        let ahead = fresh_for.mul_f64(0.72 + 0.16 * chance);
        let after = |time| asked.checked_add(time).unwrap_or(asked);
        Self { refresh_at: after(ahead), fresh_until: after(fresh_for) }
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_list_is_fresh_for_its_ttl_within_bounds_and_not_beyond_its_exp() {
        let second = Duration::from_secs;
        let hour = second(3600);
        let day = second(24 * 3600);
        let now = SystemClock.now();
        for (ttl, max_ttl, left, expected) in [
            (None, hour, day, 60),
            (Some(second(60)), hour, day, 60),
            (Some(second(600)), hour, day, 600),
            (Some(day), hour, day, 3600),
            (Some(Duration::MAX), hour, Duration::MAX, 3600),
            (Some(second(1)), hour, day, 5),
            (Some(Duration::from_millis(1)), hour, day, 5),
            (None, second(10), day, 10),
            (Some(second(600)), hour, second(20), 20),
            (Some(second(600)), hour, Duration::ZERO, 5),
        ] {
            for chance in [0.0, 0.5, 1.0] {
                let ages = Ages::new(now, ttl, max_ttl, left, chance);
                assert_eq!(
                    ages.fresh_until - now,
                    second(expected),
                    "{ttl:?} {max_ttl:?} {left:?}"
                );
                let ahead = (ages.refresh_at - now).as_secs_f64() / expected as f64;
                assert!((0.71..0.89).contains(&ahead), "{ahead}");
            }
        }
    }
}
