//! When a fetch may be made: pure arithmetic, time comes in as a value.
//!
//! Two budgets that do not know each other, so that a flood of forged tokens cannot starve the
//! refresh of an expired set, and a dead issuer does not spend what a rotation needs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The longest pause between two fruitless misses. It bounds how late a rotation is seen.
const MISS_MAX: Duration = Duration::from_secs(30);
/// After this long without a miss the next one is allowed at once.
const QUIET: Duration = Duration::from_secs(60);
/// The longest pause after a miss whose fetch failed. Short, since a valid caller may be waiting for
/// the new key; the fetches of forged tokens are as many.
const MISS_FAILED_MAX: Duration = Duration::from_secs(5);
/// The longest pause that an issuer in trouble can ask of somebody who waits for a key.
pub(crate) const WAITING_RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The longest pause between refreshes that fail, while the old set goes on serving.
const REFRESH_MAX: Duration = Duration::from_secs(60);
/// How many key ids that were looked for in vain are remembered.
const ABSENT_MAX: usize = 1_000;

/// `1 s, 2 s, 4 s, ..`, at most `max`.
fn doubling(step: u32, max: Duration) -> Duration {
    SECOND.checked_mul(1 << step.min(16)).unwrap_or(max).min(max)
}

/// Up to a fifth shorter: never longer than the law that the pause stands for.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - 0.2 * fastrand::f64())
}

/// Whether `until` lies ahead.
fn ahead(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now < until)
}

// === Misses ===

/// The budget of fetches for a key that the set does not have.
///
/// At once after a quiet spell; fruitless ones at 0, 1, 3, 7, 15, 31, 61, 91 s and so on.
#[derive(Clone, Debug, Default)]
pub(super) struct Misses {
    spent: Spent,
    failures: u32,
    failed_until: Option<Instant>,
    last_miss: Option<Instant>,
    last_fruitful: Option<Instant>,
}

/// What a fetch takes from the budget, and gets back if it fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    step: u32,
    not_before: Option<Instant>,
}

impl Misses {
    /// Somebody misses a key. Says whether to fetch, and if so what to give back should that fail.
    pub(super) fn spend(&mut self, now: Instant) -> Option<Spent> {
        self.note(now);
        if ahead(self.spent.not_before, now) || ahead(self.failed_until, now) {
            return None;
        }
        let before = self.spent;
        self.spent.not_before = Some(now + doubling(before.step, MISS_MAX));
        self.spent.step = before.step.saturating_add(1);
        Some(before)
    }

    /// Somebody misses a key and needs no budget, since a fetch is in the air.
    pub(super) fn note(&mut self, now: Instant) {
        let quiet = self.last_miss.is_some_and(|last| now.duration_since(last) >= QUIET);
        self.last_miss = Some(now);
        if quiet {
            self.spent = Spent::default();
        }
    }

    /// The fetch for a miss brought a new key.
    ///
    /// The next miss is free; but an issuer whose machines disagree would bring "news" for ever, so
    /// that a second time within a minute costs a second.
    pub(super) fn fruitful(&mut self, now: Instant) {
        let again = self.last_fruitful.is_some_and(|last| now.duration_since(last) < QUIET);
        self.last_fruitful = Some(now);
        self.spent = Spent { step: 0, not_before: again.then(|| now + SECOND) };
    }

    /// The flight was lost before it told anything.
    pub(super) fn give_back(&mut self, spent: Spent) {
        self.spent = spent;
    }

    /// The fetch failed: that is not the fault of the key, and has a pause of its own.
    pub(super) fn failed(&mut self, spent: Spent, now: Instant, asked: Option<Duration>) {
        self.spent = spent;
        let pause = jittered(doubling(self.failures, MISS_FAILED_MAX));
        let asked = asked.unwrap_or_default().min(WAITING_RETRY_AFTER_MAX);
        self.failures = self.failures.saturating_add(1);
        self.failed_until = Some(now + pause.max(asked));
    }

    /// For how long a fetch that has failed keeps everybody from the next one, if it does.
    pub(super) fn failing(&self, now: Instant) -> Option<Duration> {
        let until = self.failed_until.filter(|until| now < *until)?;
        Some(until.saturating_duration_since(now))
    }

    /// The issuer answers again.
    pub(super) fn healed(&mut self) {
        self.failures = 0;
        self.failed_until = None;
    }
}

// === Refresh ===

/// The budget of fetches that replace a set which grows old, or the first one.
#[derive(Clone, Debug, Default)]
pub(super) struct Refresh {
    failures: u32,
    not_before: Option<Instant>,
}

impl Refresh {
    /// Whether to fetch. A fetch that never reports back (a panic) still leaves a pause of a second.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let allowed = !ahead(self.not_before, now);
        if allowed {
            self.not_before = Some(now + SECOND);
        }
        allowed
    }

    /// The fetch failed while an old set serves: 1 s, 2 s, .. 60 s, or what the issuer asks.
    pub(super) fn failed_behind_a_set(&mut self, now: Instant, asked: Option<Duration>) {
        let pause = jittered(doubling(self.failures, REFRESH_MAX));
        self.pause(now, pause.max(asked.unwrap_or_default()));
    }

    /// The fetch failed and there is nothing to serve: a second at most, since everybody waits for
    /// the issuer to come back; or what the issuer asks, up to half a minute.
    pub(super) fn failed_without_a_set(&mut self, now: Instant, asked: Option<Duration>) {
        let asked = asked.unwrap_or_default().min(WAITING_RETRY_AFTER_MAX);
        self.pause(now, jittered(SECOND).max(asked));
    }

    fn pause(&mut self, now: Instant, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
    }

    /// The flight was lost, or the issuer answers: no pause.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How long until the next attempt is allowed.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

// === Absent ===

/// The key ids that were looked for and not found, so that the next token with one costs nothing.
///
/// An id is looked for again after 1 s, 2 s, 4 s, .. 30 s: a key that the issuer publishes some time
/// after it began to sign with it is found no later than twice that time. Anybody can put an id in
/// here, also one that the issuer will use tomorrow; hence the 30 s.
#[derive(Debug, Default)]
pub(super) struct Absent(HashMap<Box<str>, AbsentKid>);

#[derive(Debug)]
struct AbsentKid {
    times: u32,
    until: Instant,
}

impl Absent {
    pub(super) fn holds(&self, kid: &str, now: Instant) -> bool {
        self.0.get(kid).is_some_and(|absent| now < absent.until)
    }

    pub(super) fn insert(&mut self, kid: &str, now: Instant) {
        if let Some(absent) = self.0.get_mut(kid) {
            // Everybody who waited for the same fetch says so; it was looked for once.
            if now >= absent.until {
                absent.times = absent.times.saturating_add(1);
                absent.until = now + doubling(absent.times, MISS_MAX);
            }
            return;
        }
        // A flood fills this with rubbish. To begin anew costs a question to the limiter, which is
        // what bounds the fetches; to sort out what is old would cost each of the flood's tokens.
        if self.0.len() >= ABSENT_MAX {
            self.0.clear();
        }
        self.0.insert(kid.into(), AbsentKid { times: 0, until: now + SECOND });
    }

    /// The set has changed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::{Clock, SystemClock};

    use super::*;

    /// The seconds at which a miss is allowed, if one comes every 100 ms.
    fn allowed(misses: &mut Misses, start: Instant, seconds: u64) -> Vec<u64> {
        (0..seconds * 10)
            .map(|tenth| Duration::from_millis(tenth * 100))
            .filter(|passed| misses.spend(start + *passed).is_some())
            .map(|passed| passed.as_secs())
            .collect()
    }

    #[test]
    fn k09_a_flood_is_allowed_six_fetches_in_its_first_minute_and_two_in_each_after() {
        let start = SystemClock.now();
        let found = allowed(&mut Misses::default(), start, 240);
        assert_eq!(found, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181, 211]);
    }

    #[test]
    fn after_a_quiet_minute_a_miss_is_allowed_at_once() {
        let start = SystemClock.now();
        let mut misses = Misses::default();
        allowed(&mut misses, start, 50);
        let last = start + Duration::from_millis(49_900);
        let mut too_soon = misses.clone();
        assert!(too_soon.spend(last + Duration::from_secs(5)).is_none());
        assert!(misses.spend(last + QUIET).is_some());
    }

    #[test]
    fn a_fruitful_miss_is_followed_by_a_free_one_unless_news_come_all_the_time() {
        let now = SystemClock.now();
        let mut misses = Misses::default();
        assert!(misses.spend(now).is_some());
        misses.fruitful(now);
        assert!(misses.spend(now).is_some());
        misses.fruitful(now);
        assert!(misses.spend(now).is_none());
        assert!(misses.spend(now + SECOND).is_some());
    }

    #[test]
    fn case_23_a_failed_fetch_gives_the_budget_back_and_has_its_own_pause() {
        let start = SystemClock.now();
        let mut misses = Misses::default();
        let mut now = start;
        for _ in 0..20 {
            let spent = misses.spend(now).unwrap();
            assert_eq!(spent.step, 0);
            misses.failed(spent, now, None);
            assert!(misses.spend(now).is_none());
            now += MISS_FAILED_MAX;
        }
        // The issuer is back: the ladder stands where it stood before the failures.
        misses.healed();
        assert!(misses.spend(now).is_some());
        assert!(misses.spend(now + SECOND).is_some());
    }

    #[test]
    fn what_the_issuer_asks_is_honoured_and_bounded_for_those_who_wait() {
        let now = SystemClock.now();
        let asked = Some(Duration::from_secs(300));
        let mut refresh = Refresh::default();
        refresh.failed_behind_a_set(now, asked);
        assert_eq!(refresh.left(now), Duration::from_secs(300));
        refresh.failed_without_a_set(now, asked);
        assert_eq!(refresh.left(now), WAITING_RETRY_AFTER_MAX);
        let mut misses = Misses::default();
        let spent = misses.spend(now).unwrap();
        misses.failed(spent, now, asked);
        assert!(misses.spend(now + Duration::from_secs(29)).is_none());
        assert!(misses.spend(now + WAITING_RETRY_AFTER_MAX).is_some());
    }

    #[test]
    fn a_refresh_that_fails_doubles_its_pause_up_to_a_minute() {
        let now = SystemClock.now();
        let mut refresh = Refresh::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let full = Duration::from_secs(seconds);
            refresh.failed_behind_a_set(now, None);
            assert!((full.mul_f64(0.8)..=full).contains(&refresh.left(now)), "{seconds}");
            assert!(!refresh.clone().spend(now) && refresh.clone().spend(now + full));
        }
    }

    #[test]
    fn without_a_set_an_issuer_that_is_back_is_asked_within_a_second() {
        let now = SystemClock.now();
        let mut refresh = Refresh::default();
        for _ in 0..50 {
            refresh.failed_without_a_set(now, None);
            assert!(refresh.left(now) <= SECOND);
            assert!(refresh.left(now) >= SECOND.mul_f64(0.8));
        }
    }

    #[test]
    fn case_25_absent_ids_are_bounded_and_looked_for_again_no_later_than_twice_as_late() {
        let start = SystemClock.now();
        let mut absent = Absent::default();
        absent.insert("a", start);
        absent.insert("a", start);
        assert!(absent.holds("a", start) && !absent.holds("b", start));
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert!(absent.holds("a", now));
            now += Duration::from_secs(seconds);
            assert!(!absent.holds("a", now));
            absent.insert("a", now);
        }
        for n in 0..10 * ABSENT_MAX {
            absent.insert(&n.to_string(), start);
            assert!(absent.0.len() <= ABSENT_MAX);
        }
        absent.forget();
        assert!(absent.0.is_empty());
    }

    #[test]
    fn no_number_of_steps_overflows() {
        assert_eq!(doubling(u32::MAX, MISS_MAX), MISS_MAX);
        assert_eq!(doubling(0, MISS_MAX), SECOND);
    }
}
