//! What a caller waits on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::FlightError;
use crate::flights::{Outcome, Receiver};

/// A caller's wait for a flight, made by [`SingleFlight`](crate::SingleFlight).
///
/// To drop it is to stop waiting, nothing else: its place is free for another caller, and the flight goes on. It may be awaited on any executor.
pub struct ResponseFuture<T, E> {
    state: State<T, E>,
}

enum State<T, E> {
    /// There is no flight to wait for.
    Refused(FlightError<E>),
    /// The wait is boxed because the future of a `watch` receiver has no name; this is the one allocation of a waiter.
    Waiting(Pin<Box<dyn Future<Output = Outcome<T, E>> + Send>>),
}

impl<T, E> ResponseFuture<T, E> {
    pub(crate) fn refused(error: FlightError<E>) -> Self {
        Self { state: State::Refused(error) }
    }

    pub(crate) fn waiting(receiver: Receiver<T, E>) -> Self
    where
        T: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Self { state: State::Waiting(Box::pin(landed(receiver))) }
    }
}

impl<T, E> Future for ResponseFuture<T, E> {
    type Output = Result<T, FlightError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Waiting(landed) => landed.as_mut().poll(cx),
        }
    }
}

impl<T, E> fmt::Debug for ResponseFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Waits for the outcome of the flight.
async fn landed<T: Clone, E>(mut receiver: Receiver<T, E>) -> Outcome<T, E> {
    match receiver.wait_for(Option::is_some).await {
        // Each waiter makes its own copy, in its own task. A landing always publishes, so that the two defaults are never
        // seen; were they, the flight would be lost indeed.
        Ok(outcome) => outcome.clone().unwrap_or(Err(FlightError::Lost)),
        Err(_) => Err(FlightError::Lost),
    }
}
