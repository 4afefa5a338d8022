//! The calls in the air: who leads, who joins, and what happens when one lands.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::FlightError;

/// What a flight ends with; every waiter gets a clone of it.
pub(crate) type Outcome<T, E> = Result<T, FlightError<E>>;
/// Sees each result before anybody else does.
pub(crate) type Hook<K, T, E> = Arc<dyn Fn(&K, Result<&T, &E>) + Send + Sync>;
/// Says `None` until the flight has landed. The number of its receivers is the number of the waiters.
type Sender<T, E> = watch::Sender<Option<Outcome<T, E>>>;
pub(crate) type Receiver<T, E> = watch::Receiver<Option<Outcome<T, E>>>;

/// The calls in the air, by key.
pub(crate) struct Flights<K, T, E> {
    in_air: Mutex<HashMap<K, Sender<T, E>>>,
    max_waiters: usize,
    on_complete: Option<Hook<K, T, E>>,
}

/// What a caller has to do.
pub(crate) enum Entry<K: Eq + Hash, T, E> {
    /// Wait.
    Joins(Receiver<T, E>),
    /// Start the call in `runtime`, hand it the `landing`, and wait.
    Leads { receiver: Receiver<T, E>, runtime: Handle, landing: Landing<K, T, E> },
    /// Go away.
    Refused(FlightError<E>),
}

/// Held by a flight. The key is in the air until the landing is completed or dropped.
pub(crate) struct Landing<K: Eq + Hash, T, E> {
    flights: Arc<Flights<K, T, E>>,
    /// Taken on landing.
    key: Option<K>,
    sender: Sender<T, E>,
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
        if let Some(sender) = in_air.get(&key) {
            // Counting and joining are one step: receivers are only ever made under this lock.
            return if sender.receiver_count() < self.max_waiters {
                Entry::Joins(sender.subscribe())
            } else {
                Entry::Refused(FlightError::TooManyWaiters)
            };
        }
        // Asked for before the key is taken, so that nobody joins a flight that cannot start.
        let Ok(runtime) = Handle::try_current() else {
            return Entry::Refused(FlightError::NoRuntime);
        };
        let (sender, receiver) = watch::channel(None);
        in_air.insert(key.clone(), sender.clone());
        drop(in_air);
        let landing = Landing { flights: Arc::clone(self), key: Some(key), sender };
        Entry::Leads { receiver, runtime, landing }
    }

    /// A panic under the lock can only come from the key's `Hash`, `Eq` or `Clone`, and leaves the map whole; poisoning says nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Sender<T, E>>> {
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
        // First the key is freed and then the outcome published: whoever has seen the outcome and calls again must not join
        // the flight that it came from. Whoever joined under the lock is a receiver by now, and misses nothing.
        let removed = self.flights.lock().remove_entry(&key);
        // The lock is gone by now, so that no destructor of a key runs under it.
        drop(removed);
        self.sender.send_replace(Some(outcome));
    }
}

impl<K: Eq + Hash, T, E> Drop for Landing<K, T, E> {
    /// A landing that is dropped in the air is either unwound by a panic of the call, or dropped by a runtime that ends. (A runtime that
    /// is dropped by a thread that panics for reasons of its own is told as a panic, too: an error in any case.)
    fn drop(&mut self) {
        self.land(Err(if std::thread::panicking() {
            FlightError::Panicked
        } else {
            FlightError::Lost
        }));
    }
}
