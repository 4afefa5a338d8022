//! The set at hand, and how old it may become.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tower_oauth_jose::KeySet;

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const UNSAID: Duration = Duration::from_secs(10 * 60);

/// One state of the key set. It never changes; a newer one takes its place.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) keys: Arc<KeySet>,
    /// Goes up when the keys change.
    pub(super) generation: u64,
    /// The fetch that it comes from.
    pub(super) seq: u64,
    pub(super) etag: Option<HeaderValue>,
    /// `None` for a fixed set.
    pub(super) ages: Option<Ages>,
}

/// When a snapshot is to be refreshed, and when it is too old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    pub(super) refresh_at: Instant,
    pub(super) fresh_until: Instant,
    pub(super) serves_until: Instant,
}

impl Snapshot {
    /// The keys.
    pub(crate) fn keys(&self) -> &KeySet {
        &self.keys
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn holds(&self, kid: &str) -> bool {
        self.keys.keys().iter().any(|key| key.kid() == Some(kid))
    }

    /// The same set less the keys under `kid`; `None` if no key is left.
    ///
    /// Without its entity tag: a 304 would say that the set with the key is still the one.
    pub(super) fn without(&self, kid: &str, generation: u64) -> Option<Self> {
        let keys = Arc::new(self.keys.without(kid));
        let rest = Self { keys, generation, seq: self.seq, etag: None, ages: self.ages };
        (!rest.keys.is_empty()).then_some(rest)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.ages.is_some_and(|ages| now >= ages.refresh_at)
    }

    pub(super) fn serves(&self, now: Instant) -> bool {
        self.ages.is_none_or(|ages| now < ages.serves_until)
    }
}

impl Ages {
    /// The one place where it is decided.
    ///
    /// `said` is what the headers say: at least a minute, at most a day, ten minutes if nothing. The
    /// refresh is due at 80 % of that, up to a tenth of it earlier or later as `jitter` goes from 0
    /// to 1, so that machines that were started together do not ask together.
    pub(super) fn new(
        now: Instant,
        said: Option<Duration>,
        stale_for: Duration,
        jitter: f64,
    ) -> Self {
        let fresh_for = said.unwrap_or(UNSAID).clamp(SHORTEST, LONGEST);
        let fresh_until = now + fresh_for;
        Self {
            refresh_at: now + fresh_for.mul_f64(0.8 * (0.9 + 0.2 * jitter)),
            fresh_until,
            serves_until: fresh_until + stale_for,
        }
    }

    /// Of a set that was fetched `age` ago by a process that is gone. It is due at once: the issuer
    /// may have changed its keys while nobody was looking.
    pub(super) fn seeded(
        now: Instant,
        fresh_for: Duration,
        age: Duration,
        stale_for: Duration,
    ) -> Self {
        // The clamp of a fetch holds for what a file says, too.
        let fresh_for = fresh_for.clamp(SHORTEST, LONGEST);
        let fresh_until = now + fresh_for.saturating_sub(age);
        let serves_until = now + (fresh_for + stale_for).saturating_sub(age);
        Self { refresh_at: now, fresh_until, serves_until }
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::{Clock, SystemClock};

    use super::*;

    #[test]
    fn k12_case_12_freshness_is_clamped_at_both_ends() {
        let now = SystemClock.now();
        for (said, expected) in [
            (None, 600),
            (Some(0), 60),
            (Some(15), 60),
            (Some(300), 300),
            (Some(86_400), 86_400),
            (Some(315_360_000), 86_400),
            (Some(u64::MAX), 86_400),
        ] {
            let ages = Ages::new(now, said.map(Duration::from_secs), Duration::ZERO, 0.5);
            assert_eq!(ages.fresh_until - now, Duration::from_secs(expected), "{said:?}");
            assert_eq!(ages.serves_until, ages.fresh_until);
        }
    }

    #[test]
    fn case_14_the_refresh_is_spread_around_four_fifths() {
        let now = SystemClock.now();
        for (jitter, expected) in [(0.0, 72), (0.5, 80), (1.0, 88)] {
            let ages = Ages::new(now, Some(Duration::from_secs(100)), LONGEST, jitter);
            let found = (ages.refresh_at - now).as_secs_f64();
            assert!((found - f64::from(expected)).abs() < 0.01, "{jitter} {found}");
            assert_eq!(ages.serves_until - ages.fresh_until, LONGEST);
        }
    }
}
