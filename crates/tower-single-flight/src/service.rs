//! The service: join the flight of the key, or start it.

use std::borrow::Borrow;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::flights::{Entry, Flights, Landing};
use crate::{DEFAULT_MAX_WAITERS, FlightError, ResponseFuture};

/// Makes one call of `S` for all callers of a key that come while the call is in the air.
///
/// A clone is cheap and shares the flights, so `flights.clone().call(request)` works through
/// `&self`. The future that comes back borrows nothing.
///
/// Made by [`SingleFlightLayer`](crate::SingleFlightLayer), or with the defaults by
/// [`SingleFlight::new`]. With a function for `F` the type can be written down, say in a struct:
/// `SingleFlight<Fetch, fn(&Request) -> Key, Key, Token, Error>`.
pub struct SingleFlight<S, F, K, T, E> {
    inner: S,
    key: F,
    flights: Arc<Flights<K, T, E>>,
}

impl<S, F, K, T, E> SingleFlight<S, F, K, T, E> {
    /// Single flight over `inner`, by the key that `key` takes out of a request, with the defaults
    /// of [`SingleFlightLayer`](crate::SingleFlightLayer).
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use tower::{ServiceExt, service_fn};
    /// use tower_single_flight::SingleFlight;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let upper = service_fn(|s: &'static str| async move { Ok::<_, Infallible>(s.to_uppercase()) });
    /// let upper = SingleFlight::new(upper, |s: &&'static str| *s);
    /// assert_eq!(upper.oneshot("key").await.unwrap(), "KEY");
    /// # }
    /// ```
    pub fn new<Req>(inner: S, key: F) -> Self
    where
        S: Service<Req, Response = T, Error = E>,
        F: Fn(&Req) -> K,
    {
        Self::with_flights(inner, key, Flights::new(DEFAULT_MAX_WAITERS, None))
    }

    pub(crate) fn with_flights(inner: S, key: F, flights: Flights<K, T, E>) -> Self {
        Self { inner, key, flights: Arc::new(flights) }
    }

    /// Whether a call of this key is in the air at this moment.
    ///
    /// It still is while `on_complete` runs, and no longer is when the callers see the result. Other
    /// threads start and land calls all the time, so this is a hint and not a promise.
    pub fn is_in_flight<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q> + Eq + Hash,
        Q: Eq + Hash + ?Sized,
    {
        self.flights.contains(key)
    }

    /// The inner service, from which each flight takes a clone.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service. A change is seen by the flights that this clone starts from now on.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the inner service out. Flights in the air go on.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, F, K, Req> Service<Req> for SingleFlight<S, F, K, S::Response, S::Error>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Clone + Send + Sync + 'static,
    S::Error: Send + Sync + 'static,
    F: Fn(&Req) -> K,
    K: Eq + Hash + Clone + Send + 'static,
    Req: Send + 'static,
{
    type Response = S::Response;
    type Error = FlightError<S::Error>;
    type Future = ResponseFuture<S::Response, S::Error>;

    /// Always ready: most calls join a flight and need nothing of the inner service, and the flight
    /// that does makes its own clone ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// Joins the flight of the request's key, or starts it. Both happen here, before the future is
    /// first polled.
    fn call(&mut self, request: Req) -> Self::Future {
        let key = (self.key)(&request);
        match self.flights.enter(key) {
            Entry::Refused(error) => ResponseFuture::refused(error),
            Entry::Joins(place) => ResponseFuture::waiting(place),
            Entry::Leads { place, runtime, landing } => {
                // No lock is held here: a runtime that is shut down drops the task, and with it the
                // landing, inside `spawn`. The handle of the task is let go, which detaches it.
                runtime.spawn(fly(landing, self.inner.clone(), request));
                ResponseFuture::waiting(place)
            }
        }
    }
}

/// The flight. The landing is held round the whole of the call, so that a call cut short is gone
/// before its key is free: never are two calls of one key in the air.
async fn fly<S, Req, K>(landing: Landing<K, S::Response, S::Error>, inner: S, request: Req)
where
    S: Service<Req>,
    K: Eq + Hash,
{
    let result = oneshot(inner, request).await;
    landing.complete(result);
}

/// A clone is not ready because its original was, so it is made ready before it is called.
async fn oneshot<S, Req>(mut inner: S, request: Req) -> Result<S::Response, S::Error>
where
    S: Service<Req>,
{
    poll_fn(|cx| inner.poll_ready(cx)).await?;
    inner.call(request).await
}

// Derived, it would ask for `K: Clone`, `T: Clone` and `E: Clone`.
impl<S: Clone, F: Clone, K, T, E> Clone for SingleFlight<S, F, K, T, E> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            key: self.key.clone(),
            flights: Arc::clone(&self.flights),
        }
    }
}

// Keys may be secrets, so they are not shown.
impl<S: fmt::Debug, F, K, T, E> fmt::Debug for SingleFlight<S, F, K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight")
            .field("inner", &self.inner)
            .field("flights", &self.flights)
            .finish_non_exhaustive()
    }
}
