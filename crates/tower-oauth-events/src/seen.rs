//! The names of what has come before (`jti`), so that it has no second effect.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A bounded memory. A name is in it for at least `life`, unless there are too many, and then the oldest ones go: what they name would have the
/// effect that it has had, since a revocation is idempotent.
///
/// Names are held as keyed hashes of 128 bits, in a young and an old half. When the young one is full, or old enough, it becomes
/// the old one.
#[derive(Debug)]
pub(crate) struct SeenNames {
    hashers: [RandomState; 2],
    life: Duration,
    half: usize,
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashSet<u128>,
    old: HashSet<u128>,
    turns_at: Option<Instant>,
}

impl SeenNames {
    pub(crate) fn new(capacity: usize, life: Duration) -> Self {
        let (hashers, halves) = (Default::default(), Mutex::default());
        Self { hashers, life, half: (capacity / 2).max(1), halves }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        let hash = self.hash(name);
        let halves = self.halves();
        halves.young.contains(&hash) || halves.old.contains(&hash)
    }

    pub(crate) fn insert(&self, name: &str, now: Instant) {
        let hash = self.hash(name);
        let mut halves = self.halves();
        let turns_at = *halves.turns_at.get_or_insert(now + self.life);
        let mut gone = HashSet::new();
        if now >= turns_at || halves.young.len() >= self.half {
            let full = mem::take(&mut halves.young);
            gone = mem::replace(&mut halves.old, full);
            halves.turns_at = Some(now + self.life);
        }
        halves.young.insert(hash);
        drop(halves);
        // Not under the lock: there may be many.
        drop(gone);
    }

    fn hash(&self, name: &str) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|state| state.hash_one(name));
        (u128::from(high) << 64) | u128::from(low)
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::Clock as _;
    use tower_oauth_test::ManualClock;

    use super::*;

    const LIFE: Duration = Duration::from_secs(100);

    #[test]
    fn e04_a_name_is_known_for_its_life_and_not_much_longer() {
        let (seen, clock) = (SeenNames::new(1_000, LIFE), ManualClock::new());
        seen.insert("first", clock.now());
        for step in 1..=40_u32 {
            clock.advance(Duration::from_secs(10));
            let name = step.to_string();
            assert!(!seen.contains(&name));
            seen.insert(&name, clock.now());
            let age = Duration::from_secs(10) * step;
            let known = seen.contains("first");
            assert!(known || age >= LIFE, "forgotten after {age:?}");
            assert!(!known || age < 3 * LIFE, "known after {age:?}");
        }
    }

    #[test]
    fn e08_the_memory_is_bounded_whatever_comes() {
        let (seen, clock) = (SeenNames::new(100, LIFE), ManualClock::new());
        for n in 0..10_000 {
            seen.insert(&n.to_string(), clock.now());
            assert!(seen.contains(&n.to_string()));
            let halves = seen.halves.lock().unwrap();
            assert!(halves.young.len() + halves.old.len() <= 100);
        }
        assert!(!seen.contains("0") && seen.contains("9950"));
    }
}
