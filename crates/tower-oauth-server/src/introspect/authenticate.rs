//! From a token to a verdict: at once if it is remembered, else after a question.

use std::time::Duration;

use tower_oauth_core::{Error, ErrorKind, Secret};
use tower_oauth_jose::InvalidToken;
use tower_service::Service;
use tower_single_flight::FlightError;

use super::Introspection;
use super::edge::{Ask, flatten};
use super::key::Key;
use super::known::Known;
use crate::jwt::Sender;
use crate::observe::{self, Remembered};
use crate::revocations::{Standing, TokenText};
use crate::{Authenticate, Caller, Presented, Rejection, Verdict};

/// The shortest time after which a client is asked to come again.
const SOON: Duration = Duration::from_secs(1);

impl<C: Send + Sync + 'static> Authenticate for Introspection<C> {
    type Claims = C;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<C> {
        let key = self.shared.keys.of(presented.token);
        let asked = self.shared.store.asked(&key);
        let sender = Sender::of(&presented);
        let mut outdated = None;
        match self.shared.store.find(&key, asked.at) {
            Some(Ok(found)) => match self.standing(&found.known, presented.token) {
                Standing::Alive => {
                    observe::introspection_remembered(Remembered::Positive);
                    return Verdict::Now(self.admit(&found.known, sender));
                }
                Standing::Revoked => return Verdict::Now(Err(revoked())),
                // The issuer knows; what it said before that counts no more.
                Standing::Unclear => outdated = Some(found.known.asked_at()),
            },
            Some(Err(reason)) => {
                observe::introspection_remembered(Remembered::Negative);
                return Verdict::Now(Err(Rejection::Invalid(reason)));
            }
            None => {}
        }
        if let Some(error) = self.shared.gate.closed(asked.at) {
            return Verdict::Now(self.without_answer(&key, presented.token, &error, sender));
        }
        let ask = Ask { key, token: Secret::new(presented.token), asked, outdated };
        Verdict::Later(Box::pin(self.clone().ask(ask, sender)))
    }
}

impl<C: Send + Sync + 'static> Introspection<C> {
    async fn ask(self, ask: Ask, sender: Sender) -> Result<Caller<C>, Rejection> {
        let (key, token) = (ask.key, ask.token.clone());
        let mut flight = self.shared.flight.clone();
        let mut landed = flight.call(ask.clone()).await;
        if matches!(landed, Err(FlightError::Lost)) {
            // The runtime that it was started in has ended; ours has not.
            landed = flight.call(ask).await;
        }
        match landed.map(|landed| landed.verdict) {
            Ok(Ok(found)) => match self.standing(&found.known, token.expose()) {
                Standing::Revoked => Err(revoked()),
                // It was asked about a moment ago, while the news came in; the next request asks again.
                Standing::Alive | Standing::Unclear => self.admit(&found.known, sender),
            },
            Ok(Err(reason)) => Err(Rejection::Invalid(reason)),
            Err(error) => self.without_answer(&key, token.expose(), &flatten(error), sender),
        }
    }

    fn standing(&self, known: &Known<C>, token: &str) -> Standing {
        self.shared.revocations.as_ref().map_or(Standing::Alive, |revocations| {
            let (principal, since) = (known.principal(), Some(known.asked_at()));
            revocations.standing(principal, TokenText::Text(token), since)
        })
    }

    /// Judges by the rules of this route.
    fn admit(&self, known: &Known<C>, sender: Sender) -> Result<Caller<C>, Rejection> {
        let caller = known.admit(&self.route.audiences, self.route.may_lack_audience)?;
        sender.let_in(caller)
    }

    /// The server cannot be asked: what the route wants to be done then.
    fn without_answer(
        &self,
        key: &Key,
        token: &str,
        error: &Error,
        sender: Sender,
    ) -> Result<Caller<C>, Rejection> {
        let unavailable = |cause: ErrorKind| Rejection::Unavailable {
            cause,
            retry_after: error.retry_after().unwrap_or_default().max(SOON),
        };
        let grace = self.route.outage.grace(error);
        let now = self.shared.clock.now();
        let known = grace.and_then(|grace| self.shared.store.find_stale(key, now, grace));
        match known {
            Some((known, left)) => {
                match self.standing(&known, token) {
                    Standing::Alive => {}
                    Standing::Revoked => return Err(revoked()),
                    Standing::Unclear => return Err(unavailable(error.kind())),
                }
                observe::introspection_remembered(Remembered::Stale);
                let wall = self.shared.clock.unix_seconds();
                self.admit(&known, sender).map(|caller| known.prolong(caller, wall, left))
            }
            None => Err(unavailable(error.kind())),
        }
    }
}

/// What was revoked is what the issuer would call inactive.
fn revoked() -> Rejection {
    Rejection::Invalid(InvalidToken::Inactive)
}
