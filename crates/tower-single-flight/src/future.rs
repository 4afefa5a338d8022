//! What a caller waits on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::FlightError;
use crate::flight::{Outcome, Place};

/// A caller's wait for a flight, made by [`SingleFlight`](crate::SingleFlight).
///
/// To drop it is to stop waiting, nothing else: its place is free for another caller, and the
/// flight goes on. It may be awaited on any executor.
pub struct ResponseFuture<T, E> {
    state: State<T, E>,
}

enum State<T, E> {
    /// There is no flight to wait for.
    Refused(FlightError<E>),
    /// Boxed, since the future of an `async fn` has no name: the one allocation of a waiter.
    Waiting(Pin<Box<dyn Future<Output = Outcome<T, E>> + Send>>),
}

impl<T, E> ResponseFuture<T, E> {
    pub(crate) fn refused(error: FlightError<E>) -> Self {
        Self { state: State::Refused(error) }
    }

    pub(crate) fn waiting(place: Place<T, E>) -> Self
    where
        T: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Self { state: State::Waiting(Box::pin(place.outcome())) }
    }
}

impl<T, E> Future for ResponseFuture<T, E> {
    type Output = Result<T, FlightError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Waiting(outcome) => outcome.as_mut().poll(cx),
        }
    }
}

impl<T, E> fmt::Debug for ResponseFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
