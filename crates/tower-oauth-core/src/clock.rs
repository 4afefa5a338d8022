use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time, twice: what lasts is measured on the monotonic clock, what a token claims is
/// compared with the wall clock.
///
/// A wall clock may jump (NTP, suspend); a cache that measured its life on it would keep a dead
/// entry or drop a live one. A token's `exp`, though, is a date. Every part of tower-oauth that
/// needs either takes a `Clock`, so that tests can pass a manual one.
pub trait Clock: Send + Sync + 'static {
    /// Now, for measuring how long something has lasted.
    fn now(&self) -> Instant;

    /// Now, in seconds since 1970-01-01T00:00:00Z (RFC 7519 `NumericDate`).
    fn unix_seconds(&self) -> i64;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn unix_seconds(&self) -> i64 {
        (**self).unix_seconds()
    }
}

/// The clock of the operating system: the default everywhere.
#[derive(Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    // The one place where the clock is read.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[allow(clippy::disallowed_methods)]
    fn unix_seconds(&self) -> i64 {
        // A clock set before 1970 reads as 1970: every token is then "not yet valid", which fails closed.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemClock")
    }
}
