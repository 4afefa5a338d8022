//! Several addresses of one endpoint: an active and a passive one, regions.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::{Clock, EndpointUri, Error, ErrorKind};

/// How long another address is used before the first one is tried again; doubles up to [`LONGEST`].
const PROBE_AFTER: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);

/// The addresses of an endpoint after the first one, and which of all of them is well.
///
/// [`Locator::also_at`](crate::Locator::also_at) has one inside; this is for who finds the first address in another way.
pub struct FurtherAddresses {
    uris: Vec<EndpointUri>,
    health: Mutex<Health>,
    clock: Arc<dyn Clock>,
    /// Of all tries together.
    deadline: Duration,
}

#[derive(Default)]
struct Health {
    /// The address that answered last; 0 is the first one.
    healthy: usize,
    /// When the first one is tried again.
    probe_at: Option<Instant>,
    /// How often it has failed in a row.
    failures: u32,
}

impl FurtherAddresses {
    /// These addresses, in this order. `deadline` is the time for all tries of a call together.
    #[must_use]
    pub fn new(uris: Vec<EndpointUri>, clock: Arc<dyn Clock>, deadline: Duration) -> Self {
        Self { uris, health: Mutex::default(), clock, deadline }
    }

    /// Tries the addresses in turn: the one that answered last, or the first one (`None`) when its time has come, then the
    /// rest in their order. Each gets an equal share of the time that is left, so that one that hangs leaves some for the next.
    ///
    /// # Errors
    /// Of the last address that was tried: the first error that does not pass, or that `may_repeat` does not allow to
    /// go on after, or that of the last address there is.
    pub async fn call<T, F>(
        &self,
        call: impl Fn(Option<EndpointUri>) -> F,
        may_repeat: impl Fn(&Error) -> bool,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = self.clock.now();
        let order = self.order(began);
        let mut left = u32::try_from(order.len()).unwrap_or(u32::MAX);
        loop {
            let index = order.get(order.len() - left as usize).copied().unwrap_or_default();
            let spent = self.clock.now().saturating_duration_since(began);
            let share = self.deadline.saturating_sub(spent) / left.max(1);
            let uri = index.checked_sub(1).and_then(|other| self.uris.get(other)).cloned();
            let answer = tokio::time::timeout(share, call(uri)).await;
            let result = answer.unwrap_or_else(|_| Err(ErrorKind::Timeout.into()));
            left = left.saturating_sub(1);
            match &result {
                // It is in trouble. (A refusal is none: who refuses is well.)
                Err(error) if error.is_transient() => {
                    self.failed(index);
                    if left > 0 && may_repeat(error) {
                        continue;
                    }
                }
                _ => self.answered(index),
            }
            return result;
        }
    }

    fn order(&self, now: Instant) -> Vec<usize> {
        let health = self.health();
        let first = match health.probe_at {
            Some(at) if now < at => health.healthy,
            _ => 0,
        };
        let mut order = vec![first, health.healthy];
        order.extend(0..=self.uris.len());
        let mut seen = Vec::with_capacity(order.len());
        order.retain(|index| {
            let is_new = !seen.contains(index);
            seen.push(*index);
            is_new
        });
        order
    }

    fn answered(&self, index: usize) {
        let mut health = self.health();
        health.healthy = index;
        if index == 0 {
            *health = Health::default();
        }
    }

    fn failed(&self, index: usize) {
        let now = self.clock.now();
        let mut health = self.health();
        // Many calls meet one outage; what fails before the next probe is due is still the last one.
        if index == 0 && health.probe_at.is_none_or(|at| now >= at) {
            let pause = PROBE_AFTER.saturating_mul(2_u32.saturating_pow(health.failures.min(8)));
            health.probe_at = now.checked_add(pause.min(LONGEST));
            health.failures = health.failures.saturating_add(1);
        }
        if health.healthy == index {
            // The next call begins with the one after it, whether or not this one gets so far.
            health.healthy = (index + 1) % (self.uris.len() + 1);
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FurtherAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FurtherAddresses").field(&self.uris).finish()
    }
}
