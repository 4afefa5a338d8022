//! What is known of tokens, and when to ask again: time and chance come in as values.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::{Error, TokenId};

use crate::retry::Resource;

/// So many tokens are remembered; the oldest goes first.
const TOKENS: usize = 64;
/// For each of them, so many resources whose answer was about rights.
const RESOURCES: usize = 64;
/// So long an answer is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(5 * 60);
/// Between questions that were in vain: the token was active.
const IN_VAIN: Duration = Duration::from_millis(250);
/// Between questions that were not answered.
const TROUBLE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of a token and a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The server has said that the token is dead.
    Dead,
    /// The answer of the resource stands: the token was active when it was asked about, or it is not the time to ask.
    Stands,
    /// Nothing.
    Unknown,
}

#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    tokens: VecDeque<Told>,
    /// The server does not answer: no question before.
    pause_until: Option<Instant>,
    failures: u32,
}

/// What the server has told of one token.
struct Told {
    token: TokenId,
    is_active: bool,
    until: Instant,
    /// Whose answers were about rights.
    explained: VecDeque<Resource>,
    /// No question for a further resource before.
    next: Instant,
    in_vain: u32,
}

impl Memory {
    pub(super) fn known(&self, token: TokenId, resource: Resource, now: Instant) -> Known {
        let state = self.state();
        match state.tokens.iter().find(|told| told.token == token && now < told.until) {
            Some(told) if !told.is_active => Known::Dead,
            Some(told) if told.explained.contains(&resource) || now < told.next => Known::Stands,
            _ if state.pause_until.is_some_and(|until| now < until) => Known::Stands,
            _ => Known::Unknown,
        }
    }

    /// The server has answered.
    pub(super) fn heard(&self, token: TokenId, is_active: bool, now: Instant) {
        let mut state = self.state();
        (state.pause_until, state.failures) = (None, 0);
        state.change(token, now, |told| {
            told.is_active = is_active;
            told.until = now + BELIEVED_FOR;
            if is_active {
                let pause = IN_VAIN.saturating_mul(2_u32.saturating_pow(told.in_vain.min(8)));
                told.next = now + pause.min(LONGEST);
                told.in_vain = told.in_vain.saturating_add(1);
            }
        });
    }

    /// The server has not answered.
    pub(super) fn failed(&self, error: &Error, now: Instant, random: f64) {
        let mut state = self.state();
        let step = TROUBLE.saturating_mul(2_u32.saturating_pow(state.failures.min(8))).min(LONGEST);
        let pause = step.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
        state.pause_until = Some(now + pause.max(error.retry_after().unwrap_or_default()));
        state.failures = state.failures.saturating_add(1);
    }

    /// The token was active when this resource's answer was doubted.
    pub(super) fn explained(&self, token: TokenId, resource: Resource, now: Instant) {
        self.state().change(token, now, |told| {
            if !told.explained.contains(&resource) {
                if told.explained.len() >= RESOURCES {
                    told.explained.pop_front();
                }
                told.explained.push_back(resource);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, token: TokenId, now: Instant, change: impl FnOnce(&mut Told)) {
        let position = self.tokens.iter().position(|told| told.token == token);
        let mut told = position.and_then(|at| self.tokens.remove(at)).unwrap_or_else(|| Told {
            token,
            is_active: true,
            until: now,
            explained: VecDeque::new(),
            next: now,
            in_vain: 0,
        });
        change(&mut told);
        if self.tokens.len() >= TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back(told);
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::{ErrorKind, Token};

    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn now() -> Instant {
        Instant::now()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn id() -> TokenId {
        Token::bearer("t").unwrap().id()
    }

    #[test]
    fn an_answer_holds_for_a_token_and_what_was_in_vain_makes_the_next_question_wait() {
        let (memory, token, start) = (Memory::default(), id(), now());
        assert_eq!(memory.known(token, Resource(1), start), Known::Unknown);
        let mut at = start;
        for (resource, pause) in [(1, 250), (2, 500), (3, 1000), (4, 2000)] {
            memory.heard(token, true, at);
            memory.explained(token, Resource(resource), at);
            assert_eq!(memory.known(token, Resource(99), at + ms(pause - 1)), Known::Stands);
            assert_eq!(memory.known(token, Resource(99), at + ms(pause)), Known::Unknown);
            assert_eq!(memory.known(token, Resource(resource), at + ms(299_999)), Known::Stands);
            assert_eq!(memory.known(token, Resource(resource), at + ms(300_000)), Known::Unknown);
            assert_eq!(memory.known(id(), Resource(resource), at), Known::Unknown, "another token");
            at += ms(pause);
        }
        memory.heard(token, false, at);
        assert_eq!(memory.known(token, Resource(1), at), Known::Dead);
        assert_eq!(memory.known(token, Resource(99), at), Known::Dead);
    }

    #[test]
    fn a_server_in_trouble_is_asked_less_and_less_and_when_it_says() {
        let (memory, start) = (Memory::default(), now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            memory.failed(&ErrorKind::Transport.into(), start, 1.0);
            let asks = |s: &u64| memory.known(id(), Resource(1), start + ms(*s)) == Known::Unknown;
            pauses.push((0..100_000).step_by(500).find(asks).unwrap());
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        let busy = Error::from(ErrorKind::Status(503)).with_retry_after(Some(ms(60_000)));
        memory.failed(&busy, start, 0.0);
        assert_eq!(memory.known(id(), Resource(1), start + ms(59_999)), Known::Stands);
        memory.heard(id(), true, start);
        assert_eq!(memory.known(id(), Resource(1), start), Known::Unknown, "it is well again");
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, first, start) = (Memory::default(), id(), now());
        for resource in 0..1000 {
            memory.explained(first, Resource(resource), start);
        }
        assert_eq!(memory.state().tokens.front().unwrap().explained.len(), RESOURCES);
        for _ in 0..1000 {
            memory.heard(id(), false, start);
        }
        assert_eq!(memory.state().tokens.len(), TOKENS);
        assert_eq!(memory.known(first, Resource(999), start), Known::Unknown);
    }
}
