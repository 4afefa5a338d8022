use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::{Clock, SystemClock};

/// A clock that stands still until a test moves it.
///
/// Clones share the time: keep one in the test and give the others away. Under paused tokio time
/// move both: timers obey tokio, freshness and `exp` obey this clock.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_core::Clock;
/// use tower_oauth_test::ManualClock;
///
/// let clock = ManualClock::at(1_800_000_000);
/// let begin = clock.now();
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now() - begin, Duration::from_secs(90));
/// assert_eq!(clock.unix_seconds(), 1_800_000_090);
///
/// // The administrator sets the wall clock back: nothing has lasted any longer or shorter.
/// clock.step_wall(-3600);
/// assert_eq!(clock.now() - begin, Duration::from_secs(90));
/// assert_eq!(clock.unix_seconds(), 1_799_996_490);
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Clone, Copy)]
struct Hands {
    monotonic: Instant,
    /// Kept with its fraction, so that ten steps of 100 ms are a second of the wall clock too.
    wall: i64,
    wall_fraction: Duration,
}

impl ManualClock {
    /// Stands at the time of its creation.
    #[must_use]
    pub fn new() -> Self {
        Self::at(SystemClock.unix_seconds())
    }

    /// Its wall clock stands at this second since 1970.
    #[must_use]
    pub fn at(unix_seconds: i64) -> Self {
        Self(Arc::new(Mutex::new(Hands {
            monotonic: SystemClock.now(),
            wall: unix_seconds,
            wall_fraction: Duration::ZERO,
        })))
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, by: Duration) {
        self.with(|hands| {
            hands.monotonic = hands.monotonic.checked_add(by).unwrap_or(hands.monotonic);
            let passed = hands.wall_fraction.saturating_add(by);
            hands.wall = hands.wall.saturating_add_unsigned(passed.as_secs());
            hands.wall_fraction = Duration::from_nanos(u64::from(passed.subsec_nanos()));
        });
    }

    /// Sets the wall clock forward or back, in seconds, while no time passes.
    pub fn step_wall(&self, seconds: i64) {
        self.with(|hands| hands.wall = hands.wall.saturating_add(seconds));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Hands) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.with(|hands| hands.monotonic)
    }

    fn unix_seconds(&self) -> i64 {
        self.with(|hands| hands.wall)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("unix_seconds", &self.unix_seconds()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time() {
        let clock = ManualClock::at(100);
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!((other.unix_seconds(), other.now()), (105, clock.now()));
    }

    #[test]
    fn fractions_of_a_second_add_up() {
        let clock = ManualClock::at(0);
        for _ in 0..25 {
            clock.advance(Duration::from_millis(100));
        }
        assert_eq!(clock.unix_seconds(), 2);
    }

    #[test]
    fn a_new_clock_shows_the_time_of_day() {
        let before = SystemClock.unix_seconds();
        let shown = ManualClock::new().unix_seconds();
        assert!((before..=before + 60).contains(&shown));
    }

    #[test]
    fn no_step_makes_it_panic() {
        let clock = ManualClock::at(i64::MAX);
        clock.step_wall(i64::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.unix_seconds(), i64::MAX);
        clock.step_wall(i64::MIN);
        clock.step_wall(i64::MIN);
        assert_eq!(clock.unix_seconds(), i64::MIN);
    }
}
