use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_oauth_core::{BoxFuture, Error, Token};
use tower_service::Service;

use super::Shared;
use crate::deadline::{Deadline, Timer};
use crate::error::BoxError;
use crate::prove::ProvenTo;
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
        Waiting {
            token: BoxFuture<Result<Token, Error>>,
            timer: Timer,
            held: Option<Held<S, B>>,
        },
        // The inner service works.
        Sent { #[pin] answer: F, server: Option<ProvenTo> },
        // Nothing was sent.
        Refused { error: Option<ClientError> },
    }
}

/// What waits for a token.
struct Held<S, B> {
    shared: Arc<Shared>,
    deadline: Option<Deadline>,
    service: S,
    request: Request<B>,
}

impl<S, B> InjectTokenFuture<S, B>
where
    S: Service<Request<B>>,
{
    /// With the server that a proof went to, if one did.
    pub(super) fn sent(answer: S::Future, server: Option<ProvenTo>) -> Self {
        Self { state: State::Sent { answer, server } }
    }

    pub(super) fn refused(error: ClientError) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }

    pub(super) fn waiting(
        shared: &Arc<Shared>,
        token: BoxFuture<Result<Token, Error>>,
        service: S,
        request: Request<B>,
    ) -> Self {
        let deadline = Deadline::of(request.headers(), &*shared.clock);
        let timer = Deadline::timer(deadline, &*shared.clock);
        let held = Held { shared: Arc::clone(shared), deadline, service, request };
        Self { state: State::Waiting { token, timer, held: Some(held) } }
    }
}

impl<S, B, R> Future for InjectTokenFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let late = || Poll::Ready(Err(ClientError::Token(NoToken::late())));
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Waiting { token, timer, held } => {
                    let Poll::Ready(token) = token.as_mut().poll(cx) else {
                        ready!(timer.poll(cx));
                        return late();
                    };
                    let token = token.map_err(|error| ClientError::Token(NoToken::new(error)))?;
                    // Held until here by construction; a second poll after the end has nothing to send.
                    let Some(Held { shared, deadline, mut service, mut request }) = held.take()
                    else {
                        return Poll::Pending;
                    };
                    if let Some(deadline) = deadline
                        && !deadline.pass_on(request.headers_mut(), &*shared.clock)
                    {
                        return late();
                    }
                    put(&token, &shared.guard, &mut request, None)?;
                    let server = ProvenTo::of(&token, &shared.guard, request.uri());
                    let answer = service.call(request);
                    this.state.set(State::Sent { answer, server });
                }
                StateProj::Sent { answer, server } => {
                    let answer = ready!(answer.poll(cx))
                        .map_err(|error| ClientError::Inner(error.into()))?;
                    if let Some(server) = server {
                        server.hear(answer.headers());
                    }
                    return Poll::Ready(Ok(answer));
                }
                StateProj::Refused { error } => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
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
