//! A token that is judged anew while what was asked for with it is still going on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::request::Parts;
use tokio::time::{Sleep, sleep};
use tower_oauth_core::{BoxFuture, Secret};

use super::admission::Proof;
use super::erased::{ErasedAuthenticate, ErasedVerdict};
use crate::{Presented, Rejection, Scheme};

/// What it takes to judge a token again.
pub(crate) struct Judged {
    pub(super) authenticator: Arc<dyn ErasedAuthenticate>,
    pub(super) token: Secret,
    pub(super) head: Parts,
    pub(super) scheme: Scheme,
    pub(super) sender_is_checked: bool,
    pub(super) every: Duration,
}

/// Judges again and again, and completes with the first verdict that is bad.
///
/// Trouble on our side is not one: it says nothing of the token, and the next look comes.
pub(crate) struct Recheck {
    judged: Arc<Judged>,
    state: State,
}

enum State {
    New,
    Resting(Pin<Box<Sleep>>),
    Asking(BoxFuture<Result<Proof, Rejection>>),
}

impl Judged {
    fn judge(&self) -> ErasedVerdict {
        let mut presented = Presented::new(self.token.expose(), &self.head);
        presented.scheme = self.scheme;
        presented.sender_is_checked = self.sender_is_checked;
        self.authenticator.authenticate(presented)
    }
}

impl Recheck {
    pub(crate) const fn new(judged: Arc<Judged>) -> Self {
        Self { judged, state: State::New }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        loop {
            let verdict = match &mut self.state {
                State::New => None,
                State::Resting(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    match self.judged.judge() {
                        ErasedVerdict::Now(verdict) => Some(verdict),
                        ErasedVerdict::Later(verdict) => {
                            self.state = State::Asking(verdict);
                            continue;
                        }
                    }
                }
                State::Asking(verdict) => Some(ready!(verdict.as_mut().poll(cx))),
            };
            self.state = State::Resting(Box::pin(sleep(self.judged.every)));
            match verdict {
                None | Some(Ok(_) | Err(Rejection::Unavailable { .. })) => {}
                Some(Err(rejection)) => return Poll::Ready(rejection),
            }
        }
    }
}
