//! The layer, where the flights are configured.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::SingleFlight;
use crate::flights::{Flights, Hook};

/// How many callers may wait for one flight unless [`max_waiters`](SingleFlightLayer::max_waiters)
/// says otherwise: 65,536.
pub const DEFAULT_MAX_WAITERS: usize = 65_536;

/// Makes one call for all callers of a key that come while the call is in the air.
///
/// `F` is the closure that takes the key `K` out of a request; `T` and `E` are the response and the
/// error of the inner service, and are inferred from it. The laws are in the [crate's
/// documentation](crate).
///
/// Each service that the layer makes has flights of its own; the clones of that service share them.
///
/// ```
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_single_flight::SingleFlightLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let square = service_fn(|n: u64| async move { Ok::<_, Infallible>(n * n) });
/// let square = SingleFlightLayer::new(|n: &u64| *n).max_waiters(100).layer(square);
/// assert_eq!(square.oneshot(7).await.unwrap(), 49);
/// # }
/// ```
pub struct SingleFlightLayer<F, K, T, E> {
    key: F,
    max_waiters: usize,
    on_complete: Option<Hook<K, T, E>>,
}

impl<F, K, T, E> SingleFlightLayer<F, K, T, E> {
    /// A layer that takes a request's key with `key`.
    ///
    /// `key` runs in the caller, for every request. Two requests with one key get one answer, so it
    /// must hold everything that the answer depends on.
    pub const fn new<Req>(key: F) -> Self
    where
        F: Fn(&Req) -> K,
    {
        Self { key, max_waiters: DEFAULT_MAX_WAITERS, on_complete: None }
    }

    /// How many callers may wait for one flight, counting the one that started it; by default
    /// [`DEFAULT_MAX_WAITERS`].
    ///
    /// A caller beyond that is refused at once with
    /// [`FlightError::TooManyWaiters`](crate::FlightError::TooManyWaiters). A call that is not in
    /// the air can always be started: with `0` or `1` no second caller may wait beside the first.
    #[must_use]
    pub fn max_waiters(mut self, max_waiters: usize) -> Self {
        self.max_waiters = max_waiters;
        self
    }

    /// Delivers each result inside its flight: before any caller sees it, before another call of
    /// its key can start, and even if nobody waits any more. Only the last hook that was set is
    /// run.
    ///
    /// The hook is not run for a call that panicked or was lost with its runtime: there is no
    /// result. If the hook panics, the callers get
    /// [`FlightError::Panicked`](crate::FlightError::Panicked). It must not block, since it runs on
    /// the runtime.
    #[must_use]
    pub fn on_complete<H>(mut self, hook: H) -> Self
    where
        H: Fn(&K, Result<&T, &E>) + Send + Sync + 'static,
    {
        self.on_complete = Some(Arc::new(hook));
        self
    }
}

impl<S, F, K, T, E> Layer<S> for SingleFlightLayer<F, K, T, E>
where
    F: Clone,
{
    type Service = SingleFlight<S, F, K, T, E>;

    fn layer(&self, inner: S) -> Self::Service {
        let flights = Flights::new(self.max_waiters, self.on_complete.clone());
        SingleFlight::with_flights(inner, self.key.clone(), flights)
    }
}

// Derived, it would ask for `K: Clone`, `T: Clone` and `E: Clone`.
impl<F: Clone, K, T, E> Clone for SingleFlightLayer<F, K, T, E> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            max_waiters: self.max_waiters,
            on_complete: self.on_complete.clone(),
        }
    }
}

impl<F, K, T, E> fmt::Debug for SingleFlightLayer<F, K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlightLayer")
            .field("max_waiters", &self.max_waiters)
            .field("on_complete", &self.on_complete.is_some())
            .finish_non_exhaustive()
    }
}
