use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_oauth_core::BoxFuture;
use tower_service::Service;

use super::admission::Proof;
use super::door::{Door, OnAnswer};
use crate::render::Refusal;
use crate::{DoorBody, Rejection};

pin_project! {
    /// The answer of a [`RequireToken`](crate::RequireToken), of the service behind it (whose future is `F`) or its own.
    ///
    /// Nothing is boxed for a token that can be judged at once.
    pub struct ResponseFuture<S, B, F> {
        #[pin]
        state: State<S, B, F>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[project_replace = StateTaken]
    enum State<S, B, F> {
        /// The door answers.
        Refused { refusal: Refusal },
        /// The authenticator asks somebody. Boxed, so that the requests that need not wait do not carry the space.
        Waiting { wait: Box<Wait<S, B>> },
        /// The token was found good after a wait; the inner service is made ready.
        Readying { call: Box<Call<S, B>> },
        /// The inner service answers.
        Calling { #[pin] future: F, on_answer: OnAnswer },
    }
}

struct Wait<S, B> {
    verdict: BoxFuture<Result<Proof, Rejection>>,
    door: Arc<Door>,
    /// Not ready, so that no place in it is taken for somebody who may be refused.
    inner: S,
    request: Request<B>,
}

struct Call<S, B> {
    inner: S,
    request: Request<B>,
    on_answer: OnAnswer,
}

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { state: State::Refused { refusal } }
    }

    pub(super) fn waiting(
        verdict: BoxFuture<Result<Proof, Rejection>>,
        door: Arc<Door>,
        inner: S,
        request: Request<B>,
    ) -> Self {
        Self { state: State::Waiting { wait: Box::new(Wait { verdict, door, inner, request }) } }
    }

    pub(super) fn calling(future: F, on_answer: OnAnswer) -> Self {
        Self { state: State::Calling { future, on_answer } }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B, S::Future>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    type Output = Result<Response<DoorBody<RB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let verdict = match state.as_mut().project() {
                StateProjection::Refused { refusal } => {
                    return Poll::Ready(Ok(refusal.to_door_response()));
                }
                StateProjection::Calling { future, on_answer } => {
                    return future.poll(cx).map_ok(|response| on_answer.apply(response));
                }
                StateProjection::Readying { call } => {
                    ready!(call.inner.poll_ready(cx))?;
                    None
                }
                StateProjection::Waiting { wait } => Some(ready!(wait.verdict.as_mut().poll(cx))),
            };
            // The request has to be moved out. What stands in its place is seen only if the call below panics and somebody polls on.
            let gone = Refusal::over_http(Rejection::Misconfigured("the call has panicked"));
            let taken = state.as_mut().project_replace(State::Refused { refusal: gone });
            state.set(match (taken, verdict) {
                (StateTaken::Waiting { wait }, Some(verdict)) => wait.decided(verdict),
                (StateTaken::Readying { call }, _) => {
                    let Call { mut inner, request, on_answer } = *call;
                    State::Calling { future: inner.call(request), on_answer }
                }
                _ => continue,
            });
        }
    }
}

impl<S, B> Wait<S, B> {
    fn decided<F>(self, verdict: Result<Proof, Rejection>) -> State<S, B, F> {
        let Self { door, inner, request, .. } = self;
        let (mut head, body) = request.into_parts();
        match verdict {
            Ok(proof) => {
                let on_answer = door.admit(&mut head, door.admission(proof));
                let request = Request::from_parts(head, body);
                State::Readying { call: Box::new(Call { inner, request, on_answer }) }
            }
            Err(rejection) => State::Refused { refusal: door.refusal(rejection, &head) },
        }
    }
}

impl<S, B, F> fmt::Debug for ResponseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
