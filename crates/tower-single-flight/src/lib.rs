//! A Tower layer that makes one call for many callers.
//!
//! A thousand requests find at the same moment that the key set is stale, or that the access token
//! is dead. One of them has to fetch a new one; the others want its answer, not a fetch of their
//! own. [`SingleFlightLayer`] goes over any [`Service`](tower_service::Service) whose response is
//! [`Clone`] and whose requests have a key, and gives all callers of one key the answer of one
//! call, a *flight*.
//!
//! # The laws
//!
//! 1. **One call for many callers.** Of each key at most one call is in the air. Who calls with a
//!    key that is in the air joins that flight and gets a clone of its answer.
//! 2. **A flight is detached from its callers.** It starts when
//!    [`call`](tower_service::Service::call) is called, in a task of its own. Who drops the
//!    response future loses only their own wait, the caller that started the call included. If all
//!    of them do, the call still completes.
//! 3. **The result is delivered inside the flight.**
//!    [`on_complete`](SingleFlightLayer::on_complete) has run before any caller sees the result and
//!    before another call of the key can start, whether or not anybody still waits. What must never
//!    be lost, a rotated refresh token say, is stored there.
//! 4. **Errors are shared, and not kept.** All callers of a flight get its one error, as
//!    [`FlightError::Service`]; the next call is a new call.
//! 5. **A panic is an error.** When the inner service (or its `poll_ready`, or `on_complete`)
//!    panics, the callers get [`FlightError::Panicked`] and the key is free. A panic of the key
//!    closure is its caller's own and touches nobody else.
//! 6. **A flight whose runtime ends is an error.** Callers on other runtimes get
//!    [`FlightError::Lost`] and the key is free. Without a runtime to start in, it is
//!    [`FlightError::NoRuntime`].
//! 7. **Nobody gets an answer twice.** The key is free before the answer is handed out, so that a
//!    caller that was told something and asks again starts, or joins, a later call.
//! 8. **Waiters are bounded**, by default to [`DEFAULT_MAX_WAITERS`] a flight; one more is
//!    [`FlightError::TooManyWaiters`] at once. A caller that goes away leaves its place to another.
//! 9. **Keys do not wait for each other**, and no lock is held across an await.
//! 10. **It is always ready.** The inner service is cloned once per flight, and the clone is driven
//!     to readiness and called inside the flight: shared state has no readiness to forward.
//! 11. **Clones share their flights; services made by [`layer`](tower_layer::Layer::layer) do
//!     not.** Apply the layer once and clone the service. (`axum::Router::layer` applies a layer
//!     once per route.)
//!
//! # The onion
//!
//! ```text
//! timeout                          ends one caller's wait; the flight goes on and is delivered
//! └─ SingleFlight
//!    └─ timeout                    ends the call for all who wait: every flight should have one
//!       └─ retries, traces         once a call, not once a caller
//!          └─ load shed            with the limit, bounds the calls in the air over all keys
//!             └─ concurrency limit
//!                └─ the service that makes the call
//! ```
//!
//! Since a flight outlives its callers, nothing but what lies below this layer ends it. Give it a
//! deadline there.
//!
//! # What to know before deploying it
//!
//! - The key must hold everything that the answer depends on. Two requests with one key get one
//!   answer: leave the tenant out of the key, and one tenant gets the other's.
//! - A flight runs on the runtime that was current where it was started, and moves on only while
//!   that runtime is driven.
//! - The tracing span of the caller does not follow into the flight; trace below this layer.
//! - The response and the error are read by several tasks at a time, hence `Send + Sync`.
//!
//! # Example
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::{Arc, Mutex, atomic::{AtomicUsize, Ordering}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_single_flight::SingleFlightLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let fetches = Arc::new(AtomicUsize::new(0));
//! let stored = Arc::new(Mutex::new(Vec::new()));
//!
//! let counter = Arc::clone(&fetches);
//! let fetch = service_fn(move |issuer: String| {
//!     counter.fetch_add(1, Ordering::Relaxed);
//!     async move { Ok::<_, Infallible>(format!("the keys of {issuer}")) }
//! });
//!
//! let store = Arc::clone(&stored);
//! let keys = ServiceBuilder::new()
//!     .layer(SingleFlightLayer::new(|issuer: &String| issuer.clone()).on_complete(
//!         move |_issuer: &String, result: Result<&String, &Infallible>| {
//!             if let (Ok(keys), Ok(mut store)) = (result, store.lock()) {
//!                 store.push(keys.clone());
//!             }
//!         },
//!     ))
//!     .service(fetch);
//!
//! let (one, two, other) = tokio::join!(
//!     keys.clone().oneshot("https://a.example".to_owned()),
//!     keys.clone().oneshot("https://a.example".to_owned()),
//!     keys.clone().oneshot("https://b.example".to_owned()),
//! );
//! assert_eq!(one.unwrap(), "the keys of https://a.example");
//! assert_eq!(two.unwrap(), "the keys of https://a.example");
//! assert_eq!(other.unwrap(), "the keys of https://b.example");
//! assert_eq!(fetches.load(Ordering::Relaxed), 2);
//! assert_eq!(stored.lock().unwrap().len(), 2);
//! # }
//! ```

mod error;
mod flight;
mod flights;
mod future;
mod layer;
mod service;

pub use error::FlightError;
pub use future::ResponseFuture;
pub use layer::{DEFAULT_MAX_WAITERS, SingleFlightLayer};
pub use service::SingleFlight;
