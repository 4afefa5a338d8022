//! One call in the air, and those who wait for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::FlightError;

/// What a flight ends with; every waiter gets a clone of it.
pub(crate) type Outcome<T, E> = Result<T, FlightError<E>>;

/// One call in the air.
pub(crate) struct Flight<T, E> {
    outcome: OnceLock<Outcome<T, E>>,
    landed: Notify,
    /// The number of places taken.
    waiters: AtomicUsize,
}

/// A caller's place among the waiters of a flight, free again when dropped.
pub(crate) struct Place<T, E> {
    flight: Arc<Flight<T, E>>,
}

// === impl Flight ===

impl<T, E> Flight<T, E> {
    pub(crate) fn new() -> Self {
        Self { outcome: OnceLock::new(), landed: Notify::new(), waiters: AtomicUsize::new(0) }
    }

    pub(crate) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    pub(crate) fn take_place(self: &Arc<Self>) -> Place<T, E> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        Place { flight: Arc::clone(self) }
    }

    /// Tells everybody. Only the first outcome counts, and a landing publishes only one.
    pub(crate) fn publish(&self, outcome: Outcome<T, E>) {
        if self.outcome.set(outcome).is_ok() {
            self.landed.notify_waiters();
        }
    }
}

// === impl Place ===

impl<T: Clone, E> Place<T, E> {
    /// Waits until the flight has landed.
    pub(crate) async fn outcome(self) -> Outcome<T, E> {
        // First listen and then look: `Notified` hears of every landing after its making, polled or
        // not, so that none slips through between the look and the wait.
        let landed = self.flight.landed.notified();
        if self.flight.outcome.get().is_none() {
            landed.await;
        }
        // Each waiter makes its own copy, in its own task and under no lock. The outcome is there,
        // as it is set before anybody is told; were it not, the flight would be lost indeed.
        self.flight.outcome.get().cloned().unwrap_or(Err(FlightError::Lost))
    }
}

impl<T, E> Drop for Place<T, E> {
    fn drop(&mut self) {
        self.flight.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}
