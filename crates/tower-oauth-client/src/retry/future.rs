use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_oauth_core::{BoxFuture, Error, Token};
use tower_service::Service;

use super::Call;
use super::attempt::{Again, Attempt, Sent};
use super::judge::{Finding, is_dealt_with};
use super::mode::{Answers, Mode};
use super::nonce::{Spare, Wants, mark};
use crate::deadline::{Deadline, Timer};
use crate::error::BoxError;
use crate::stamp::put;
use crate::{ClientError, NoToken, TokenVerdict};

pin_project! {
    /// The answer of a [`RetryInvalidToken`](crate::RetryInvalidToken).
    pub struct RetryInvalidTokenFuture<S, M, B, R>
    where
        S: Service<Request<B>>,
        M: Answers<R>,
    {
        #[pin]
        state: State<S, B, M::Body, M::Read, S::Future>,
        mode: PhantomData<fn() -> (M, R)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, A, K, F> {
        // No token was at hand; the request waits beside the ready service.
        Waiting {
            token: BoxFuture<Result<Token, Error>>,
            timer: Timer,
            held: Option<(Call, S, Request<B>)>,
        },
        // The first attempt is on its way; `attempt` is what a second one needs.
        First { #[pin] answer: F, attempt: Option<Attempt<S, B>> },
        // The head of its answer was not enough to judge.
        Reading { #[pin] start: K, attempt: Option<Attempt<S, B>> },
        // Nor was the answer; the authorization server is asked.
        Confirming {
            is_dead: BoxFuture<bool>,
            timer: Timer,
            attempt: Option<Attempt<S, B>>,
            doubted: Option<Response<A>>,
        },
        // The token is dead; its answer waits until there is another.
        Renewing {
            token: BoxFuture<Result<Token, Error>>,
            timer: Timer,
            attempt: Option<Attempt<S, B>>,
            refused: Option<Response<A>>,
        },
        // The request is whole again; the service that it goes to is made ready.
        Readying { service: S, request: Option<Request<B>>, sent: Option<Sent<S, B>> },
        // The second attempt.
        Second { #[pin] answer: F, sent: Option<Sent<S, B>> },
        // The head of its answer was not enough either.
        ReadingSecond { #[pin] start: K, sent: Option<Sent<S, B>> },
        // The server wants a nonce in the proof: the first attempt once more, with the same token.
        Proving { service: Option<S>, held: Option<(Call, Token, Request<B>)> },
        // Not ours to judge.
        Passing { #[pin] answer: F },
        // Nothing was sent.
        Refused { error: Option<ClientError> },
    }
}

/// What follows from an answer.
enum Next<T, A> {
    Go(T),
    Done(Response<A>),
}

impl<S, M, B, R> RetryInvalidTokenFuture<S, M, B, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    M: Mode<B> + Answers<R>,
{
    pub(super) fn pass(mut ready: S, request: Request<B>) -> Self {
        Self::from_state(State::Passing { answer: ready.call(request) })
    }

    pub(super) fn refuse(error: ClientError) -> Self {
        Self::from_state(State::Refused { error: Some(error) })
    }

    pub(super) fn wait(
        call: Call,
        token: BoxFuture<Result<Token, Error>>,
        ready: S,
        request: Request<B>,
    ) -> Self {
        let timer = Deadline::timer(call.deadline, &*call.shared.clock);
        Self::from_state(State::Waiting { token, timer, held: Some((call, ready, request)) })
    }

    pub(super) fn send(call: Call, token: Token, ready: S, request: Request<B>) -> Self {
        Self::from_state(first::<S, M, B, _, _>(call, token, ready, request))
    }

    fn from_state(state: State<S, B, M::Body, M::Read, S::Future>) -> Self {
        Self { state, mode: PhantomData }
    }
}

/// Starts the first attempt, keeping what a second one needs.
fn first<S, M, B, A, K>(
    call: Call,
    token: Token,
    mut ready: S,
    request: Request<B>,
) -> State<S, B, A, K, S::Future>
where
    S: Service<Request<B>> + Clone,
    M: Mode<B>,
{
    let (spare, request) = spare::<S, M, B>(&call, &ready, request);
    let attempt = Attempt { call, token, spare };
    State::First { answer: ready.call(request), attempt: Some(attempt) }
}

/// Keeps what it takes to send the request again.
fn spare<S, M, B>(call: &Call, ready: &S, request: Request<B>) -> (Spare<S, B>, Request<B>)
where
    S: Clone,
    M: Mode<B>,
{
    let (head, body) = request.into_parts();
    let (body, captured) = M::capture(body, call.shared.max_recorded);
    let spare = Spare {
        service: ready.clone(),
        head: Request::from_parts(head.clone(), ()),
        body: captured,
    };
    (spare, Request::from_parts(head, body))
}

/// The first attempt again, with the nonce that its answer wants; or that answer, where there is none.
fn prove_again<S, B, A, K, F>(
    attempt: Attempt<S, B>,
    nonce: Option<Arc<str>>,
    mut challenge: Response<A>,
) -> Next<State<S, B, A, K, F>, A> {
    challenge.extensions_mut().insert(TokenVerdict::Silent);
    mark(&attempt.call, &mut challenge);
    match nonce.and_then(|nonce| attempt.prove_again(&nonce)) {
        Some((service, request, call, token)) => {
            let (service, held) = (Some(service), Some((call, token, request)));
            Next::Go(State::Proving { service, held })
        }
        None => Next::Done(challenge),
    }
}

/// What the head of the first answer leads to.
fn judge_first<S, M, B, R, A, K, F>(
    attempt: Attempt<S, B>,
    response: Response<R>,
) -> Next<State<S, B, A, K, F>, A>
where
    M: Answers<R, Body = A, Read = K>,
{
    let shared = &attempt.call.shared;
    match shared.judge(response) {
        (TokenVerdict::Accepted, response) => {
            attempt.token.mark_accepted();
            Next::Done(M::leave(response))
        }
        (TokenVerdict::NeedsBody, response) => match M::read(response) {
            Ok(start) => Next::Go(State::Reading { start, attempt: Some(attempt) }),
            Err(response) => {
                let (verdict, response) = shared.judge_start(&[], response);
                decide(attempt, verdict, M::leave(response))
            }
        },
        (verdict, response) => decide(attempt, verdict, M::leave(response)),
    }
}

/// What a verdict on the first answer leads to.
fn decide<S, B, A, K, F>(
    attempt: Attempt<S, B>,
    verdict: TokenVerdict,
    response: Response<A>,
) -> Next<State<S, B, A, K, F>, A> {
    let (finding, response) = attempt.call.shared.find(&attempt, verdict, response);
    match finding {
        Finding::HandOn => Next::Done(response),
        Finding::Renew(verdict) => renew(attempt, verdict, response),
        Finding::Confirm => {
            let is_dead = attempt.confirm();
            let timer = Deadline::timer(attempt.call.deadline, &*attempt.call.shared.clock);
            let (attempt, doubted) = (Some(attempt), Some(response));
            Next::Go(State::Confirming { is_dead, timer, attempt, doubted })
        }
    }
}

/// Fetch first, rewind second: the next call has the new token even where this one gets its answer back.
fn renew<S, B, A, K, F>(
    attempt: Attempt<S, B>,
    verdict: TokenVerdict,
    mut refused: Response<A>,
) -> Next<State<S, B, A, K, F>, A> {
    let token = attempt.renew(verdict);
    refused.extensions_mut().insert(verdict);
    if !attempt.spare.body.can_rewind() {
        return Next::Done(refused);
    }
    let timer = Deadline::timer(attempt.call.deadline, &*attempt.call.shared.clock);
    Next::Go(State::Renewing { token, timer, attempt: Some(attempt), refused: Some(refused) })
}

impl<S, M, B, R> Future for RetryInvalidTokenFuture<S, M, B, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    M: Mode<B> + Answers<R>,
{
    type Output = Result<Response<M::Body>, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = |error: S::Error| ClientError::Inner(error.into());
        let late = || Poll::Ready(Err(ClientError::Token(NoToken::late())));
        let mut this = self.project();
        // What a state holds it holds by construction; a poll after the end finds nothing and has
        // nothing to do.
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Waiting { token, timer, held } => {
                    let Poll::Ready(token) = token.as_mut().poll(cx) else {
                        ready!(timer.poll(cx));
                        return late();
                    };
                    let token = token.map_err(|error| ClientError::Token(NoToken::new(error)))?;
                    let Some((call, service, mut request)) = held.take() else {
                        return Poll::Pending;
                    };
                    if !call.is_in_time(&mut request) {
                        return late();
                    }
                    put(&token, &call.shared.guard, &mut request, None)?;
                    Next::Go(first::<S, M, B, _, _>(call, token, service, request))
                }
                StateProj::First { answer, attempt } => {
                    let response = ready!(answer.poll(cx)).map_err(inner)?;
                    let Some(attempt) = attempt.take() else {
                        return Poll::Ready(Ok(M::leave(response)));
                    };
                    if is_dealt_with(&response, &attempt.token) {
                        return Poll::Ready(Ok(M::leave(response)));
                    }
                    match attempt.wants(&response) {
                        Wants::Nonce(nonce) => prove_again(attempt, nonce, M::leave(response)),
                        Wants::Nothing => judge_first::<S, M, B, R, _, _, _>(attempt, response),
                    }
                }
                StateProj::Reading { start, attempt } => {
                    let (start, response) = ready!(start.poll(cx));
                    let Some(attempt) = attempt.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    let (verdict, response) = attempt.call.shared.judge_start(&start, response);
                    decide(attempt, verdict, response)
                }
                StateProj::Confirming { is_dead, timer, attempt, doubted } => {
                    // Out of time, the answer stands.
                    let is_dead = match is_dead.as_mut().poll(cx) {
                        Poll::Ready(is_dead) => is_dead,
                        Poll::Pending => {
                            ready!(timer.poll(cx));
                            false
                        }
                    };
                    let (Some(attempt), Some(mut response)) = (attempt.take(), doubted.take())
                    else {
                        return Poll::Pending;
                    };
                    if is_dead {
                        renew(attempt, TokenVerdict::Rejected, response)
                    } else {
                        response.extensions_mut().insert(TokenVerdict::Silent);
                        Next::Done(response)
                    }
                }
                StateProj::Renewing { token, timer, attempt, refused } => {
                    let renewed = match token.as_mut().poll(cx) {
                        Poll::Ready(renewed) => Some(renewed),
                        Poll::Pending => {
                            ready!(timer.poll(cx));
                            None
                        }
                    };
                    let (Some(attempt), Some(mut refused)) = (attempt.take(), refused.take())
                    else {
                        return Poll::Pending;
                    };
                    if let Some(Err(error)) = &renewed {
                        // The answer goes back as it is; beside it stands why it was not tried again.
                        refused.extensions_mut().insert(error.clone());
                    }
                    match renewed.and_then(|renewed| attempt.again(renewed, &refused)) {
                        Some(Again { service, request, sent }) => {
                            let (request, sent) = (Some(request), Some(sent));
                            Next::Go(State::Readying { service, request, sent })
                        }
                        None => Next::Done(refused),
                    }
                }
                StateProj::Readying { service, request, sent } => {
                    ready!(service.poll_ready(cx)).map_err(inner)?;
                    let Some(mut request) = request.take() else {
                        return Poll::Pending;
                    };
                    if let Some(sent) = sent.as_mut().filter(|sent| sent.needs_spare()) {
                        let (spare, whole) = spare::<S, M, B>(sent.call(), service, request);
                        sent.keep(spare);
                        request = whole;
                    }
                    Next::Go(State::Second { answer: service.call(request), sent: sent.take() })
                }
                StateProj::Proving { service, held } => {
                    if let Some(service) = service {
                        ready!(service.poll_ready(cx)).map_err(inner)?;
                    }
                    let (Some(ready), Some((call, token, request))) = (service.take(), held.take())
                    else {
                        return Poll::Pending;
                    };
                    Next::Go(first::<S, M, B, _, _>(call, token, ready, request))
                }
                StateProj::Second { answer, sent } => {
                    let response = ready!(answer.poll(cx)).map_err(inner)?;
                    let Some(mut sent) = sent.take() else {
                        return Poll::Ready(Ok(M::leave(response)));
                    };
                    if let Wants::Nonce(nonce) = sent.wants(&response) {
                        match nonce.and_then(|nonce| sent.prove_again(&nonce)) {
                            Some((service, request)) => {
                                let (request, sent) = (Some(request), Some(sent));
                                this.state.set(State::Readying { service, request, sent });
                                continue;
                            }
                            None => {
                                let response = M::leave(response);
                                let response = sent.conclude(TokenVerdict::Silent, response);
                                return Poll::Ready(Ok(response));
                            }
                        }
                    }
                    match sent.call().shared.judge(response) {
                        (TokenVerdict::NeedsBody, response) => match M::read(response) {
                            Ok(start) => Next::Go(State::ReadingSecond { start, sent: Some(sent) }),
                            Err(response) => {
                                let (verdict, response) =
                                    sent.call().shared.judge_start(&[], response);
                                Next::Done(sent.conclude(verdict, M::leave(response)))
                            }
                        },
                        (verdict, response) => {
                            Next::Done(sent.conclude(verdict, M::leave(response)))
                        }
                    }
                }
                StateProj::ReadingSecond { start, sent } => {
                    let (start, response) = ready!(start.poll(cx));
                    let Some(sent) = sent.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    let (verdict, response) = sent.call().shared.judge_start(&start, response);
                    Next::Done(sent.conclude(verdict, response))
                }
                StateProj::Passing { answer } => {
                    return answer.poll(cx).map_ok(M::leave).map_err(inner);
                }
                StateProj::Refused { error } => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
            };
            match next {
                Next::Go(state) => this.state.set(state),
                Next::Done(response) => return Poll::Ready(Ok(response)),
            }
        }
    }
}

impl<S, M, B, R> fmt::Debug for RetryInvalidTokenFuture<S, M, B, R>
where
    S: Service<Request<B>>,
    M: Answers<R>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryInvalidTokenFuture").finish_non_exhaustive()
    }
}
