use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use crate::DoorBody;
use crate::render::Refusal;

pin_project! {
    /// The answer of a [`RequireRule`](crate::RequireRule): that of the service behind it, whose future is `F`, or a refusal.
    pub struct RuleResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Refused { refusal: Refusal },
        Calling { #[pin] future: F },
    }
}

impl<F> RuleResponseFuture<F> {
    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self { state: State::Refused { refusal } }
    }

    pub(super) const fn calling(future: F) -> Self {
        Self { state: State::Calling { future } }
    }
}

impl<F, RB, E> Future for RuleResponseFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
{
    type Output = Result<Response<DoorBody<RB>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused { refusal } => Poll::Ready(Ok(refusal.to_door_response())),
            StateProjection::Calling { future } => {
                future.poll(cx).map_ok(|response| response.map(DoorBody::inner))
            }
        }
    }
}

impl<F> fmt::Debug for RuleResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleResponseFuture").finish_non_exhaustive()
    }
}
