use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project_lite::pin_project;
use tower_oauth_core::{BoxFuture, Error, Token};
use tower_service::Service;

use crate::error::BoxError;
use crate::stamp::put;
use crate::{ClientError, NoToken};

pin_project! {
    /// The answer of an [`InjectToken`](crate::InjectToken).
    pub struct InjectTokenFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        // No token was at hand; the request waits beside the ready service.
        Waiting { token: BoxFuture<Result<Token, Error>>, held: Option<(S, Request<B>)> },
        // The inner service works.
        Sent { #[pin] answer: F },
    }
}

impl<S, B> InjectTokenFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn sent(answer: S::Future) -> Self {
        Self { state: State::Sent { answer } }
    }

    pub(super) fn waiting(
        token: BoxFuture<Result<Token, Error>>,
        ready: S,
        request: Request<B>,
    ) -> Self {
        Self { state: State::Waiting { token, held: Some((ready, request)) } }
    }
}

impl<S, B> Future for InjectTokenFuture<S, B>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Waiting { token, held } => {
                    let token = ready!(token.as_mut().poll(cx))
                        .map_err(|error| ClientError::Token(NoToken::new(error)))?;
                    // Held until here by construction; a second poll after the end has nothing to send.
                    let Some((mut service, mut request)) = held.take() else {
                        return Poll::Pending;
                    };
                    put(&token, &mut request);
                    let answer = service.call(request);
                    this.state.set(State::Sent { answer });
                }
                StateProj::Sent { answer } => {
                    return answer.poll(cx).map_err(|error| ClientError::Inner(error.into()));
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for InjectTokenFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectTokenFuture").finish_non_exhaustive()
    }
}
