//! What a token cache knows, and its decisions: pure, with time and chance as values.

use std::mem::Discriminant;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tower_oauth_core::{Error, ErrorKind, Flush, Need, Report, Token, TokenId};

use super::budget::{Budget, Refusal, Ruling};
use super::event::{Note, Notes, TokenEvent};
use super::health::TokenStatus;
use super::schedule::{Moments, back_off, spread};

/// How many tokens are remembered so that their header is recognised: requests that wait in a queue
/// between two layers carry an older one. As many rejected ones are remembered, lest one comes again.
const REMEMBERED: usize = 4;

/// An exchange has failed with all its tries. From then on there is one try in nearly five seconds: a client without a
/// token is a client that fails, so it comes back at most that late; and a dead server is asked at
/// most five times in its first ten seconds, which leaves little for chance to play with.
const TRANSIENT_PAUSE: Duration = Duration::from_secs(5);
const TRANSIENT_JITTER: f64 = 0.06;
/// A `Retry-After` of less is not taken at its word.
const SHORTEST_WISH: Duration = Duration::from_secs(1);
/// A refusal in OAuth's own words will not change by asking again; an operator may change it. The
/// first steps are short all the same: an authorization server that starts up refuses what it will
/// know a second later.
const REFUSED_BASE: Duration = Duration::from_millis(500);
const REFUSED_BEFORE_DOUBLING: u32 = 2;
const REFUSED_CAP: Duration = Duration::from_secs(300);
/// A source that gives the rejected token again has a cache of its own, which ends sooner or later.
const SAME_AGAIN_CAP: Duration = Duration::from_secs(30);
/// A token this young is no older than the news that all tokens are dead.
const NEWS_TRAVELS: Duration = Duration::from_secs(1);

/// One snapshot of the cache. Changed under a lock, read without.
#[derive(Clone, Default)]
pub(super) struct State {
    max_age: Option<Duration>,
    current: Option<(Token, Moments)>,
    /// The resource refused it, and its replacement is in the air.
    withheld: Option<TokenId>,
    /// The current token is dead for all that is known, and not replaced yet.
    is_shelved: bool,
    /// Counts flushes, log-outs and log-ins. What comes of an exchange that began in an earlier era is for those who
    /// wait for it, and not kept.
    era: u64,
    /// The epoch of the session that this is of.
    epoch: u64,
    recent: Vec<Token>,
    refused: Vec<TokenId>,
    failure: Option<Failure>,
    budget: Budget,
    logged_out: bool,
    /// What was told, until the next token or the next pause.
    told: Told,
    notes: Notes,
}

/// The last exchange failed.
#[derive(Clone)]
struct Failure {
    error: Error,
    since: Instant,
    /// No exchange before; what was heard is the answer until then.
    until: Instant,
    streak: u32,
    /// The token that was to be replaced, if the exchange was for that.
    refused: Option<TokenId>,
}

#[derive(Clone, Default)]
struct Told {
    kinds: Vec<Discriminant<TokenEvent>>,
    /// Why the current token is not replaced, until when, and since when.
    kept: Option<(ErrorKind, Instant, Instant)>,
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
    pub(super) fn new(max_age: Option<Duration>) -> Self {
        Self { max_age, ..Self::default() }
    }

    /// The token to send now, and whether to refresh it in the background.
    pub(super) fn peek(&self, now: Instant) -> Option<(&Token, bool)> {
        let (token, moments) = self.current.as_ref()?;
        if self.withheld == Some(token.id()) || self.is_shelved || !moments.may_be_sent(now) {
            return None;
        }
        Some((token, moments.wants_refresh(now) && !self.backs_off(now)))
    }

    pub(super) fn recognise(&self, authorization: &HeaderValue) -> Option<&Token> {
        self.recent.iter().find(|token| token.is_carried_by(authorization))
    }

    pub(super) fn current(&self) -> Option<&Token> {
        self.current.as_ref().map(|(token, _)| token)
    }

    pub(super) fn era(&self) -> u64 {
        self.era
    }

    pub(super) fn withheld(&self) -> Option<TokenId> {
        self.withheld
    }

    /// What there is to tell since this was last asked.
    pub(super) fn notes(&mut self) -> Vec<Note> {
        self.notes.take()
    }

    /// Decides what a caller gets; notes a refused token and what its replacement costs.
    pub(super) fn decide(&mut self, need: Need, now: Instant, random: f64) -> Decision {
        if self.logged_out {
            return Decision::Fail(ErrorKind::LoggedOut.into());
        }
        let Some((token, moments)) = self.current.clone() else {
            return self.join(now);
        };
        let is_refused = need == Need::Unlike(token.id());
        if self.withheld == Some(token.id()) {
            return self.join(now);
        }
        if is_refused || self.is_shelved {
            // Whether or not it may still be sent: a refusal is paid for.
            return self.refuse(&token, is_refused, now, random);
        }
        if !moments.may_be_sent(now) {
            return self.join(now);
        }
        if matches!(need, Need::Unlike(_)) {
            // A late rejection of an older token: the newer one comes at once, without a call.
            self.tell_once(TokenEvent::LateRejectionIgnored { token: token.id() });
        }
        Decision::Take(token)
    }

    /// The session has ended or another one has begun: no token of the last one is known any more, and none comes back.
    pub(super) fn follow(&mut self, (epoch, logged_out): (u64, bool)) {
        *self = Self { epoch, logged_out, era: self.era + 1, ..Self::new(self.max_age) };
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The exchange landed with a token.
    pub(super) fn store(&mut self, token: Token, now: Instant, random: f64) {
        let moments = Moments::of(&token, self.max_age, random);
        self.notes.tell(self.news_of(&token, now));
        self.remember(token.clone());
        self.current = Some((token, moments));
        (self.withheld, self.is_shelved) = (None, false);
        self.failure = None;
        self.told = Told::default();
        self.budget.issued();
    }

    /// An exchange of an earlier era landed with a token: requests that carry it are known again, and none is stamped with it.
    pub(super) fn landed_late(&mut self, token: Token) {
        if !self.logged_out {
            self.remember(token);
        }
    }

    /// What happens to many requests alike is news once for each token.
    fn tell_once(&mut self, event: TokenEvent) {
        let kind = std::mem::discriminant(&event);
        let is_news = !self.told.kinds.contains(&kind);
        if is_news {
            self.told.kinds.push(kind);
        }
        self.notes.count(event, is_news);
    }

    fn news_of(&self, token: &Token, now: Instant) -> TokenEvent {
        let expires_in = token.expires_at().map(|end| end.saturating_duration_since(now));
        let is_serving = self.peek(now).is_some();
        match self.withheld {
            Some(rejected) => TokenEvent::Replaced { token: token.id(), rejected, expires_in },
            None if is_serving => TokenEvent::Refreshed { token: token.id(), expires_in },
            None => TokenEvent::Issued { token: token.id(), expires_in },
        }
    }

    fn remember(&mut self, token: Token) {
        self.recent.retain(|held| held.id() != token.id());
        self.recent.insert(0, token);
        self.recent.truncate(REMEMBERED);
    }

    /// The exchange failed: the token that was withheld is given back, as the best there is.
    pub(super) fn fail(&mut self, error: Error, now: Instant, random: f64) {
        let streak = self.failure.as_ref().map_or(0, |failure| failure.streak.saturating_add(1));
        let wish = error.retry_after().map(|wish| spread(wish.max(SHORTEST_WISH), random));
        let pause = match error.kind() {
            // It knows best when it will be back; but it has told so before.
            _ if wish.is_some() && streak == 0 => Duration::ZERO,
            ErrorKind::NotRenewable => back_off(REFUSED_BASE, SAME_AGAIN_CAP, streak, random),
            _ if error.is_transient() => {
                TRANSIENT_PAUSE.mul_f64(1.0 - TRANSIENT_JITTER * random.clamp(0.0, 1.0))
            }
            _ => {
                let doublings = streak.saturating_sub(REFUSED_BEFORE_DOUBLING);
                back_off(REFUSED_BASE, REFUSED_CAP, doublings, random)
            }
        };
        let pause = pause.max(wish.unwrap_or_default());
        let refused = self.withheld.take();
        self.notes.tell(match (error.kind(), refused) {
            (ErrorKind::NotRenewable, Some(token)) => TokenEvent::SameTokenAgain { token },
            (kind, _) => TokenEvent::ExchangeFailed { kind, retry_in: pause },
        });
        let since = self.failure.as_ref().map_or(now, |failure| failure.since);
        self.failure = Some(Failure { error, since, until: now + pause, streak, refused });
    }

    /// Whether the last exchange failed: the next one is a probe.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// The flight ended without any result (panic, end of a runtime).
    pub(super) fn give_back(&mut self) {
        self.withheld = None;
    }

    /// Whether a token is to be replaced and this is it again, or one that was refused before it.
    pub(super) fn is_nothing_new(&self, header: &HeaderValue) -> bool {
        self.withheld.is_some()
            && self.recognise(header).is_some_and(|token| self.refused.contains(&token.id()))
    }

    /// By hand: the next request waits for another token, whatever was spent or failed before.
    pub(super) fn flush(&mut self) {
        self.era += 1;
        self.current = None;
        (self.withheld, self.is_shelved) = (None, false);
        self.failure = None;
        self.budget = Budget::default();
        self.told = Told::default();
        self.notes.tell(TokenEvent::Flushed { by: None });
    }

    /// Because a policy says that all tokens of a subject or an issuer are dead. A token that was issued since
    /// stays, so that this is no way to make an exchange for each answer.
    pub(super) fn flush_older(&mut self, by: Flush, now: Instant) {
        let is_old = |(token, _): &(Token, Moments)| {
            token
                .obtained_at()
                .is_none_or(|then| now.saturating_duration_since(then) > NEWS_TRAVELS)
        };
        if self.withheld.is_none() && self.current.as_ref().is_some_and(is_old) {
            self.current = None;
            self.is_shelved = false;
            self.notes.tell(TokenEvent::Flushed { by: Some(by) });
        }
    }

    /// What a door has seen. A flush that reaches further than this cache is its family's to see.
    pub(super) fn hear(&mut self, report: Report, now: Instant) {
        let is_current = |id: TokenId| self.current().is_some_and(|token| token.id() == id);
        match report {
            Report::Healed(token) => {
                if is_current(token) {
                    self.budget.healed();
                }
                self.tell_once(TokenEvent::Healed { token });
            }
            Report::RejectedAgain(token) => {
                if let Some(current) = self.current().filter(|held| held.id() == token).cloned() {
                    self.budget.rejected_again(current.was_accepted(), now);
                    self.prove_anew(&current);
                }
                self.tell_once(TokenEvent::RejectedAgain { token });
            }
            Report::NotReplayable(token) => self.tell_once(TokenEvent::NotReplayable { token }),
            Report::SameTokenAgain(token) => self.tell_once(TokenEvent::SameTokenAgain { token }),
            Report::OriginRefused => self.tell_once(TokenEvent::OriginRefused),
            Report::Flush(token, by) if by != Flush::Token && is_current(token) => {
                self.flush_older(by, now);
            }
            _ => {}
        }
    }

    pub(super) fn status(&self, is_in_flight: bool, now: Instant) -> (TokenStatus, Instant) {
        let serving = self.peek(now).map(|(token, _)| token);
        let since = |token: &Token| token.obtained_at().unwrap_or(now);
        if is_in_flight {
            return (TokenStatus::Refreshing { is_serving: serving.is_some() }, now);
        }
        let is_accepted = self.current().is_some_and(Token::was_accepted);
        if let Some((cause, _, since)) = self.told.kept.filter(|_| !is_accepted) {
            return (TokenStatus::Failing { cause }, since);
        }
        let left = self.current.as_ref().and_then(|(_, moments)| moments.stop_at);
        let left = left.map(|stop| stop.saturating_duration_since(now));
        match (serving, &self.failure) {
            (Some(token), None) => (TokenStatus::Fresh { left }, since(token)),
            (Some(token), Some(failure)) if failure.refused != Some(token.id()) => {
                (TokenStatus::Stale { left, cause: failure.error.kind() }, failure.since)
            }
            (_, Some(failure)) => {
                (TokenStatus::Failing { cause: failure.error.kind() }, failure.since)
            }
            (None, None) => {
                let end = self.current.as_ref().and_then(|(_, moments)| moments.stop_at);
                (TokenStatus::Idle, end.unwrap_or(now))
            }
        }
    }

    fn refuse(&mut self, token: &Token, is_refused: bool, now: Instant, random: f64) -> Decision {
        if let Some(failure) = self.active_failure(now)
            && failure.forbids_replacing(token)
        {
            return Decision::Fail(failure.error.clone());
        }
        let was_accepted = token.was_accepted();
        if was_accepted && self.failure.as_ref().is_some_and(|f| f.refused == Some(token.id())) {
            // One death that the last exchange could not mend: its back-off is over, and it is on the bill already.
            return self.replace(token);
        }
        let was_duel = self.budget.is_duel();
        let refusal = Refusal { accepted: was_accepted, issued: token.obtained_at() };
        let ruling = self.budget.refuse(refusal, now, random);
        if self.budget.is_duel() && !was_duel {
            let until = self.budget.pause_until(token.obtained_at(), now).unwrap_or(now);
            let retry_in = until.saturating_duration_since(now);
            self.notes.tell(TokenEvent::DuelSuspected { retry_in });
        }
        match ruling {
            Ruling::Replace => {
                self.notes.tell(TokenEvent::Rejected { token: token.id(), was_accepted });
                self.replace(token)
            }
            Ruling::Shelve(kind, until) => {
                self.is_shelved = true;
                self.keep(kind, until, now)
            }
            Ruling::Doubt(kind, until) => {
                self.prove_anew(token);
                self.keep(kind, until, now)
            }
            // Somebody has accepted it while it was on the shelf.
            Ruling::Keep(..) if self.is_shelved && !is_refused => {
                self.is_shelved = false;
                Decision::Take(token.clone())
            }
            Ruling::Keep(kind, until) => self.keep(kind, until, now),
        }
    }

    fn replace(&mut self, token: &Token) -> Decision {
        // A new cause: the streak of another one does not count, and the exchange has all its tries.
        if self.failure.as_ref().is_some_and(|failure| failure.refused != Some(token.id())) {
            self.failure = None;
        }
        self.refused.retain(|&id| id != token.id());
        self.refused.insert(0, token.id());
        self.refused.truncate(REMEMBERED);
        self.withheld = Some(token.id());
        (self.is_shelved, self.told.kept) = (false, None);
        Decision::Join
    }

    fn keep(&mut self, kind: ErrorKind, until: Instant, now: Instant) -> Decision {
        let retry_in = until.saturating_duration_since(now);
        let told = self.told.kept.filter(|(told, until, _)| *told == kind && now < *until);
        if kind == ErrorKind::BudgetSpent {
            self.notes.count(TokenEvent::BudgetSpent { retry_in }, told.is_none());
        }
        let since = self.told.kept.map_or(now, |(_, _, since)| since);
        self.told.kept = Some((kind, until, since));
        Decision::Fail(Error::new(kind).with_retry_after(Some(retry_in)))
    }

    /// From here on only those count who are given this clone.
    fn prove_anew(&mut self, token: &Token) {
        let again = token.unproven();
        if let Some((current, _)) = &mut self.current {
            *current = again.clone();
        }
        self.is_shelved = false;
        self.remember(again);
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

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "state_laws.rs"]
mod laws;
