//! What a token cache knows, and its decisions: pure, with time and chance as values.

use std::time::{Duration, Instant};

use http::HeaderValue;
use tower_oauth_core::{Error, ErrorKind, Need, Token, TokenId};

use super::schedule::{Moments, back_off};

/// How many tokens are remembered so that their header is recognised: requests that wait in a queue
/// between two layers carry an older one.
const REMEMBERED: usize = 4;

/// Goes on where the pauses between the tries of one exchange end.
const TRANSIENT_BASE: Duration = Duration::from_millis(1000);
/// Short, since a client without a token is a client that fails: it comes back at most this late.
const TRANSIENT_CAP: Duration = Duration::from_secs(5);
/// A refusal in OAuth's own words will not change by asking again; an operator may change it. The
/// first step is short all the same: an authorization server that starts up refuses what it will
/// know a second later.
const REFUSED_BASE: Duration = Duration::from_millis(500);
const REFUSED_CAP: Duration = Duration::from_secs(300);
/// Between exchanges for tokens that are rejected at first sight.
const FIRST_SIGHT_BASE: Duration = Duration::from_millis(1000);
const FIRST_SIGHT_CAP: Duration = Duration::from_secs(60);
/// So many tokens that had been accepted are replaced at once in such a time: a server that restarts
/// again and again. More than that is no restart but two opinions of one token (a resource
/// that accepts it and one that does not, two holders of one account), which no exchange will settle.
const DEATHS: usize = 32;
const DEATHS_IN: Duration = Duration::from_secs(240);

/// One snapshot of the cache. Changed under a lock, read without.
#[derive(Clone, Default)]
pub(super) struct State {
    current: Option<(Token, Moments)>,
    /// The resource refused it, and its replacement is in the air.
    withheld: Option<TokenId>,
    recent: Vec<Token>,
    failure: Option<Failure>,
    budget: Budget,
    logged_out: bool,
}

/// The last exchange failed.
#[derive(Clone)]
struct Failure {
    error: Error,
    /// No exchange before; what was heard is the answer until then.
    until: Instant,
    streak: u32,
    /// The token that was to be replaced, if the exchange was for that.
    refused: Option<TokenId>,
}

/// What is spent on replacing refused tokens.
#[derive(Clone, Default)]
struct Budget {
    /// When tokens died that had been accepted: the last few.
    deaths: Vec<Instant>,
    /// No exchange before for a token that is rejected at first sight.
    next: Option<Instant>,
    streak: u32,
}

/// What a caller of `fetch` gets.
pub(super) enum Decision {
    /// This token, at once.
    Take(Token),
    /// This error, at once.
    Fail(Error),
    /// The token of the exchange in the air, or of a new one.
    Join,
}

impl State {
    /// The token to send now, and whether to refresh it in the background.
    pub(super) fn peek(&self, now: Instant) -> Option<(&Token, bool)> {
        let (token, moments) = self.current.as_ref()?;
        if self.withheld == Some(token.id()) || !moments.may_be_sent(now) {
            return None;
        }
        Some((token, moments.wants_refresh(now) && !self.backs_off(now)))
    }

    pub(super) fn recognise(&self, authorization: &HeaderValue) -> Option<&Token> {
        self.recent.iter().find(|token| token.header() == authorization)
    }

    pub(super) fn current(&self) -> Option<&Token> {
        self.current.as_ref().map(|(token, _)| token)
    }

    pub(super) fn withheld(&self) -> Option<TokenId> {
        self.withheld
    }

    /// Decides what a caller gets; notes a refused token and what its replacement costs.
    pub(super) fn decide(&mut self, need: Need, now: Instant, random: f64) -> Decision {
        if self.logged_out {
            return Decision::Fail(ErrorKind::LoggedOut.into());
        }
        let live = match &self.current {
            Some((token, moments)) if moments.may_be_sent(now) => Some(token.clone()),
            _ => None,
        };
        match (need, live) {
            // A late rejection of an older token: the newer one comes at once, without a call.
            (Need::Unlike(refused), Some(token))
                if token.id() != refused && self.withheld != Some(token.id()) =>
            {
                Decision::Take(token)
            }
            (Need::Any, Some(token)) if self.withheld != Some(token.id()) => Decision::Take(token),
            (Need::Unlike(refused), _) => match self.current().cloned() {
                // Whether or not it may still be sent: a refusal is paid for.
                Some(token) if token.id() == refused && self.withheld.is_none() => {
                    self.replace(&token, now, random)
                }
                _ => self.join(now),
            },
            (Need::Any, _) => self.join(now),
        }
    }

    /// The session has ended: no token of it is known any more, and none comes back.
    pub(super) fn log_out(&mut self) {
        *self = Self { logged_out: true, ..Self::default() };
    }

    /// The exchange landed with a token.
    pub(super) fn store(&mut self, token: Token, random: f64) {
        if self.logged_out {
            // It was in the air when the session ended.
            return;
        }
        let moments = Moments::of(&token, random);
        self.recent.retain(|held| held.id() != token.id());
        self.recent.insert(0, token.clone());
        self.recent.truncate(REMEMBERED);
        self.current = Some((token, moments));
        self.withheld = None;
        self.failure = None;
    }

    /// The exchange failed: the token that was withheld is given back, as the best there is.
    pub(super) fn fail(&mut self, error: Error, now: Instant, random: f64) {
        let streak = self.failure.as_ref().map_or(0, |failure| failure.streak.saturating_add(1));
        let pause = if error.is_transient() {
            back_off(TRANSIENT_BASE, TRANSIENT_CAP, streak, random)
        } else {
            back_off(REFUSED_BASE, REFUSED_CAP, streak, random)
        };
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let refused = self.withheld.take();
        self.failure = Some(Failure { error, until: now + pause, streak, refused });
    }

    /// Whether the last exchange failed: the next one is a probe.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// The flight ended without any result (panic, end of a runtime).
    pub(super) fn give_back(&mut self) {
        self.withheld = None;
    }

    fn replace(&mut self, token: &Token, now: Instant, random: f64) -> Decision {
        if let Some(failure) = self.active_failure(now)
            && failure.forbids_replacing(token)
        {
            return Decision::Fail(failure.error.clone());
        }
        if !self.budget.charge(token.was_accepted(), now, random) {
            return Decision::Fail(ErrorKind::BudgetSpent.into());
        }
        // A new cause: the streak of another one does not count, and the exchange has all its tries.
        if self.failure.as_ref().is_some_and(|failure| failure.refused != Some(token.id())) {
            self.failure = None;
        }
        self.withheld = Some(token.id());
        Decision::Join
    }

    fn join(&self, now: Instant) -> Decision {
        match self.active_failure(now) {
            Some(failure) => Decision::Fail(failure.error.clone()),
            None => Decision::Join,
        }
    }

    fn active_failure(&self, now: Instant) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| now < failure.until)
    }

    fn backs_off(&self, now: Instant) -> bool {
        self.active_failure(now).is_some()
    }
}

impl Failure {
    /// A refresh that failed says nothing about a token that is refused later: the authorization
    /// server may be back, and that it restarted is why the token is dead. What it said about *when* counts.
    fn forbids_replacing(&self, token: &Token) -> bool {
        self.refused == Some(token.id()) || self.error.retry_after().is_some()
    }
}

impl Budget {
    /// Whether a refused token is replaced now; if so, the exchange is on the bill.
    fn charge(&mut self, was_accepted: bool, now: Instant, random: f64) -> bool {
        self.deaths.retain(|&death| now.saturating_duration_since(death) < DEATHS_IN);
        if was_accepted && self.deaths.len() < DEATHS {
            // It worked and died: whoever killed it, a new one is due at once.
            if self.deaths.is_empty() {
                (self.next, self.streak) = (None, 0);
            }
            self.deaths.push(now);
            return true;
        }
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        let pause = back_off(FIRST_SIGHT_BASE, FIRST_SIGHT_CAP, self.streak, random);
        self.next = Some(now + pause);
        self.streak = self.streak.saturating_add(1);
        true
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
