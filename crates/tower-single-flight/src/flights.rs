//! The calls in the air: who leads, who joins, and what happens when one lands.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use crate::FlightError;
use crate::flight::{Flight, Outcome, Place};

/// Sees each result before anybody else does.
pub(crate) type Hook<K, T, E> = Arc<dyn Fn(&K, Result<&T, &E>) + Send + Sync>;

/// The calls in the air, by key.
pub(crate) struct Flights<K, T, E> {
    in_air: Mutex<HashMap<K, Arc<Flight<T, E>>>>,
    max_waiters: usize,
    on_complete: Option<Hook<K, T, E>>,
}

/// What a caller has to do.
pub(crate) enum Entry<K: Eq + Hash, T, E> {
    /// Wait.
    Joins(Place<T, E>),
    /// Start the call in `runtime`, hand it the `landing`, and wait.
    Leads { place: Place<T, E>, runtime: Handle, landing: Landing<K, T, E> },
    /// Go away.
    Refused(FlightError<E>),
}

/// Held by a call. Its key is in the air until the landing is completed or dropped.
pub(crate) struct Landing<K: Eq + Hash, T, E> {
    flights: Arc<Flights<K, T, E>>,
    flight: Arc<Flight<T, E>>,
    /// Taken on landing.
    key: Option<K>,
}

// === impl Flights ===

impl<K, T, E> Flights<K, T, E> {
    pub(crate) fn new(max_waiters: usize, on_complete: Option<Hook<K, T, E>>) -> Self {
        Self { in_air: Mutex::default(), max_waiters, on_complete }
    }

    pub(crate) fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q> + Eq + Hash,
        Q: Eq + Hash + ?Sized,
    {
        self.lock().contains_key(key)
    }

    /// Joins the flight of `key`, or puts it in the air.
    pub(crate) fn enter(self: &Arc<Self>, key: K) -> Entry<K, T, E>
    where
        K: Eq + Hash + Clone,
    {
        let mut in_air = self.lock();
        if let Some(flight) = in_air.get(&key) {
            // Places are only ever taken under this lock, so two callers cannot take the last one.
            return if flight.waiters() < self.max_waiters {
                Entry::Joins(flight.take_place())
            } else {
                Entry::Refused(FlightError::TooManyWaiters)
            };
        }
        // Asked for before the key is taken, so that nobody joins a flight that cannot start.
        let Ok(runtime) = Handle::try_current() else {
            return Entry::Refused(FlightError::NoRuntime);
        };
        let flight = Arc::new(Flight::new());
        let place = flight.take_place();
        in_air.insert(key.clone(), Arc::clone(&flight));
        drop(in_air);
        let landing = Landing { flights: Arc::clone(self), flight, key: Some(key) };
        Entry::Leads { place, runtime, landing }
    }

    /// A panic under the lock can only come from the key's `Hash`, `Eq` or `Clone`, and leaves the
    /// map whole, so poisoning is passed over.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Flight<T, E>>>> {
        self.in_air.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T, E> fmt::Debug for Flights<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("in_air", &self.lock().len())
            .field("max_waiters", &self.max_waiters)
            .field("on_complete", &self.on_complete.is_some())
            .finish()
    }
}

// === impl Landing ===

impl<K: Eq + Hash, T, E> Landing<K, T, E> {
    /// Lands with the result of the call. If the hook panics, the drop below lands instead.
    pub(crate) fn complete(mut self, result: Result<T, E>) {
        if let (Some(hook), Some(key)) = (&self.flights.on_complete, &self.key) {
            hook(key, result.as_ref());
        }
        self.land(result.map_err(|error| FlightError::Service(Arc::new(error))));
    }

    fn land(&mut self, outcome: Outcome<T, E>) {
        let Some(key) = self.key.take() else { return };
        // First the key is freed and then the outcome published: whoever has seen the outcome and
        // calls again must not join the flight that it came from.
        let removed = self.flights.lock().remove_entry(&key);
        // The lock is released by now, so that no destructor of a key runs under it.
        drop(removed);
        self.flight.publish(outcome);
    }
}

impl<K: Eq + Hash, T, E> Drop for Landing<K, T, E> {
    /// A landing that is dropped in the air is either unwound by a panic of the call, or dropped by
    /// a runtime that ends. (If the thread that drops the runtime is itself unwinding, that is told
    /// as a panic, too: an error in any case.)
    fn drop(&mut self) {
        self.land(Err(if std::thread::panicking() {
            FlightError::Panicked
        } else {
            FlightError::Lost
        }));
    }
}
