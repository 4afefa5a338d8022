use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_oauth_core::{BoxFuture, Error, Need, Report, Token};
use tower_service::Service;

use super::mode::Mode;
use super::{IsReplay, Shared};
use crate::capture::Captured;
use crate::error::BoxError;
use crate::stamp::put;
use crate::{ClientError, NoToken, TokenVerdict};

pin_project! {
    /// The answer of a [`RetryInvalidToken`](crate::RetryInvalidToken).
    pub struct RetryInvalidTokenFuture<S, M, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, R, S::Future>,
        mode: PhantomData<fn() -> M>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, R, F> {
        // No token was at hand; the request waits beside the ready service.
        Waiting { token: BoxFuture<Result<Token, Error>>, held: Option<(Shared, S, Request<B>)> },
        // The first attempt is on its way; `attempt` is what a second one needs.
        First { #[pin] answer: F, attempt: Option<Attempt<S, B>> },
        // The token is dead; its answer waits until there is another.
        Renewing {
            token: BoxFuture<Result<Token, Error>>,
            attempt: Option<Attempt<S, B>>,
            refused: Option<Response<R>>,
        },
        // The request is whole again; the service that it goes to is made ready.
        Readying { service: S, request: Option<Request<B>>, judge: Option<(Shared, Token)> },
        // The second attempt. `token` is the one it carries, to be marked if it is accepted.
        Second { #[pin] answer: F, judge: Option<(Shared, Token)> },
        // Not ours to judge.
        Passing { #[pin] answer: F },
    }
}

/// What the first attempt leaves behind for a second one.
struct Attempt<S, B> {
    shared: Shared,
    token: Token,
    /// Not ready; a replay makes it so.
    service: S,
    head: Request<()>,
    body: Captured<B>,
}

impl<S, M, B, R> RetryInvalidTokenFuture<S, M, B, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    M: Mode<B>,
{
    pub(super) fn pass(mut ready: S, request: Request<B>) -> Self {
        Self::from_state(State::Passing { answer: ready.call(request) })
    }

    pub(super) fn wait(
        shared: Shared,
        token: BoxFuture<Result<Token, Error>>,
        ready: S,
        request: Request<B>,
    ) -> Self {
        Self::from_state(State::Waiting { token, held: Some((shared, ready, request)) })
    }

    pub(super) fn send(shared: Shared, token: Token, ready: S, request: Request<B>) -> Self {
        Self::from_state(first::<S, M, B, R>(shared, token, ready, request))
    }

    fn from_state(state: State<S, B, R, S::Future>) -> Self {
        Self { state, mode: PhantomData }
    }
}

/// Starts the first attempt, keeping what a second one needs.
fn first<S, M, B, R>(
    shared: Shared,
    token: Token,
    mut ready: S,
    request: Request<B>,
) -> State<S, B, R, S::Future>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    M: Mode<B>,
{
    let (head, body) = request.into_parts();
    let (body, captured) = M::capture(body, shared.max_recorded);
    let attempt = Attempt {
        shared,
        token,
        service: ready.clone(),
        head: Request::from_parts(head.clone(), ()),
        body: captured,
    };
    State::First { answer: ready.call(Request::from_parts(head, body)), attempt: Some(attempt) }
}

impl<S, M, B, R> Future for RetryInvalidTokenFuture<S, M, B, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    M: Mode<B>,
{
    type Output = Result<Response<R>, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = |error: S::Error| ClientError::Inner(error.into());
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Waiting { token, held } => {
                    let token = ready!(token.as_mut().poll(cx))
                        .map_err(|error| ClientError::Token(NoToken::new(error)))?;
                    // Held until here by construction; a poll after the end has nothing to do.
                    let Some((shared, service, mut request)) = held.take() else {
                        return Poll::Pending;
                    };
                    put(&token, &mut request);
                    first::<S, M, B, R>(shared, token, service, request)
                }
                StateProj::First { answer, attempt } => {
                    let response = ready!(answer.poll(cx)).map_err(inner)?;
                    let Some(attempt) = attempt.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    let (verdict, response) = judge(&attempt.shared, &attempt.token, response);
                    if verdict != TokenVerdict::Rejected {
                        return Poll::Ready(Ok(response));
                    }
                    // Fetch first: the exchange starts here and goes on whatever becomes of this
                    // request, so the next one has the new token.
                    let token = attempt.shared.source.fetch(Need::Unlike(attempt.token.id()));
                    if !attempt.body.can_rewind() {
                        let id = attempt.token.id();
                        attempt.shared.source.report(Report::NotReplayable(id));
                        return Poll::Ready(Ok(response));
                    }
                    State::Renewing { token, attempt: Some(attempt), refused: Some(response) }
                }
                StateProj::Renewing { token, attempt, refused } => {
                    let renewed = ready!(token.as_mut().poll(cx));
                    let (Some(attempt), Some(mut refused)) = (attempt.take(), refused.take())
                    else {
                        return Poll::Pending;
                    };
                    if let Err(error) = &renewed {
                        // The answer goes back as it is; beside it stands why it was not tried again.
                        refused.extensions_mut().insert(error.clone());
                    }
                    match attempt.again(renewed) {
                        Some(state) => state,
                        None => return Poll::Ready(Ok(refused)),
                    }
                }
                StateProj::Readying { service, request, judge } => {
                    ready!(service.poll_ready(cx)).map_err(inner)?;
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    State::Second { answer: service.call(request), judge: judge.take() }
                }
                StateProj::Second { answer, judge: judged } => {
                    let response = ready!(answer.poll(cx)).map_err(inner)?;
                    let Some((shared, token)) = judged.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    // Whatever it says: one replay at most.
                    let (verdict, response) = judge(&shared, &token, response);
                    match verdict {
                        TokenVerdict::Accepted => shared.source.report(Report::Healed(token.id())),
                        TokenVerdict::Rejected => {
                            shared.source.report(Report::RejectedAgain(token.id()));
                        }
                        TokenVerdict::Silent => {}
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Passing { answer } => return answer.poll(cx).map_err(inner),
            };
            this.state.set(next);
        }
    }
}

impl<S, B> Attempt<S, B> {
    /// The second attempt, if there is another token and the whole body.
    fn again<R, F>(self, renewed: Result<Token, Error>) -> Option<State<S, B, R, F>> {
        let token = renewed.ok()?;
        // A source that hands the refused token back, under whatever name, has nothing new to try.
        if token.header() == self.token.header() {
            self.shared.source.report(Report::SameTokenAgain(token.id()));
            return None;
        }
        let body = self.body.rewind()?;
        let mut request = self.head.map(|()| body);
        put(&token, &mut request);
        request.extensions_mut().insert(IsReplay);
        Some(State::Readying {
            service: self.service,
            request: Some(request),
            judge: Some((self.shared, token)),
        })
    }
}

/// What the answer says of the token; an accepted one is marked.
fn judge<R>(shared: &Shared, token: &Token, response: Response<R>) -> (TokenVerdict, Response<R>) {
    let (head, body) = response.into_parts();
    let verdict = shared.policy.judge(&head);
    if verdict == TokenVerdict::Accepted {
        token.mark_accepted();
    }
    (verdict, Response::from_parts(head, body))
}

impl<S, M, B, R> fmt::Debug for RetryInvalidTokenFuture<S, M, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryInvalidTokenFuture").finish_non_exhaustive()
    }
}
