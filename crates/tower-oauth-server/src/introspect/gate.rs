//! When an authorization server that is not well may be asked again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::{Error, ErrorKind, OAuthCode};

/// So many failures in a row, of a kind that says nothing of the token, close the gate.
const PLAIN_FAILURES: u32 = 3;
/// And so many of a kind that one odd token may have caused: otherwise a sender of odd tokens could close
/// it for everybody.
const DOUBTFUL_FAILURES: u32 = 10;
/// The pauses: 1, 2, 4, 8, then every 10 s.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// For so long one request may find out whether the server is back, before another one tries.
const PROBE: Duration = Duration::from_secs(5);

/// Open while the server answers. After failures in a row, or when the server asks for a pause, nobody
/// passes until the pause is over; then one request goes first.
#[derive(Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    plain: u32,
    doubtful: u32,
    closed: Option<Closed>,
}

struct Closed {
    until: Instant,
    cause: Error,
    /// The pause is over, and one request finds out.
    is_probed: bool,
}

impl Gate {
    /// Why a request would not pass now, with the time that is left; it does not take the place of the one that
    /// tries.
    pub(super) fn closed(&self, now: Instant) -> Option<Error> {
        self.state().refusal(now)
    }

    /// Lets a request through, or says why not.
    pub(super) fn pass(&self, now: Instant) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(error) = state.refusal(now) {
            return Err(error);
        }
        if let Some(closed) = &mut state.closed {
            closed.until = now.checked_add(PROBE).unwrap_or(now);
            closed.is_probed = true;
        }
        Ok(())
    }

    /// The server has answered.
    pub(super) fn opened(&self) {
        *self.state() = State::default();
    }

    /// The server has not answered, or not as it should. Says whether that closes a gate which was open before.
    pub(super) fn failed(&self, now: Instant, error: &Error) -> bool {
        let mut state = self.state();
        match blame(error.kind()) {
            Blame::Server => state.plain = state.plain.saturating_add(1),
            Blame::Doubtful => state.doubtful = state.doubtful.saturating_add(1),
            // Of a server that lives, about one request. If that one was to find out, another may: or a sender of odd tokens
            // could keep the gate closed.
            Blame::Request => {
                if let Some(closed) = state.closed.as_mut().filter(|closed| closed.is_probed) {
                    closed.until = now;
                }
                return false;
            }
        }
        let excess = (state.plain.saturating_add(1).saturating_sub(PLAIN_FAILURES))
            .max(state.doubtful.saturating_add(1).saturating_sub(DOUBTFUL_FAILURES));
        let ours = match excess.checked_sub(1) {
            Some(exponent) => FIRST_PAUSE
                .saturating_mul(1_u32.checked_shl(exponent).unwrap_or(u32::MAX))
                .min(LONGEST_PAUSE),
            None => Duration::ZERO,
        };
        // Its own word counts at once (RFC 9110 §10.2.3); it is at most 5 minutes.
        let pause = error.retry_after().unwrap_or_default().max(ours);
        if pause.is_zero() {
            return false;
        }
        let was_open = state.closed.is_none();
        let until = now.checked_add(pause).unwrap_or(now);
        state.closed = Some(Closed { until, cause: error.clone(), is_probed: false });
        was_open
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&self, now: Instant) -> Option<Error> {
        let closed = self.closed.as_ref()?;
        let left = closed.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(closed.cause.clone().with_retry_after(Some(left)))
    }
}

enum Blame {
    Server,
    Doubtful,
    Request,
}

fn blame(kind: ErrorKind) -> Blame {
    match kind {
        ErrorKind::Transport
        | ErrorKind::Timeout
        | ErrorKind::Redirect
        | ErrorKind::Configuration(_)
        | ErrorKind::Status(401 | 403 | 404 | 408 | 429 | 502 | 503 | 504)
        | ErrorKind::OAuth(OAuthCode::InvalidClient | OAuthCode::UnauthorizedClient) => {
            Blame::Server
        }
        ErrorKind::Status(400) | ErrorKind::OAuth(_) | ErrorKind::TooManyWaiters => Blame::Request,
        _ => Blame::Doubtful,
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::{Clock, SystemClock};

    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_dead_server_is_asked_ever_more_seldom_and_by_one_at_a_time() {
        let (gate, mut now) = (Gate::default(), SystemClock.now());
        let error = Error::new(ErrorKind::Transport);
        for _ in 0..2 {
            assert!(!gate.failed(now, &error));
            assert!(gate.pass(now).is_ok(), "two failures are no outage");
        }
        for pause in [1, 2, 4, 8, 10, 10] {
            assert_eq!(gate.failed(now, &error), pause == 1, "told once");
            let refused = gate.pass(now).unwrap_err();
            assert_eq!(
                (refused.kind(), refused.retry_after()),
                (error.kind(), Some(second(pause)))
            );
            now += second(pause) - Duration::from_millis(1);
            assert!(gate.closed(now).is_some());
            now += Duration::from_millis(1);
            assert!(gate.closed(now).is_none(), "looking takes nobody's place");
            assert!(gate.pass(now).is_ok());
            assert!(gate.pass(now).is_err(), "the first finds out for all");
        }
        // The one that tried was lost.
        now += PROBE;
        assert!(gate.pass(now).is_ok());
        gate.opened();
        gate.failed(now, &error);
        assert!(gate.pass(now).is_ok() && gate.pass(now).is_ok());
    }

    #[test]
    fn case_64_a_pause_that_the_server_asks_for_is_kept_from_the_first_time() {
        let (gate, now) = (Gate::default(), SystemClock.now());
        for (kind, asked) in [(ErrorKind::Status(429), 17), (ErrorKind::Status(503), 300)] {
            gate.failed(now, &Error::new(kind).with_retry_after(Some(second(asked))));
            assert_eq!(gate.pass(now).unwrap_err().kind(), kind);
            assert!(gate.closed(now + second(asked) - second(1)).is_some());
            assert!(gate.pass(now + second(asked)).is_ok());
            gate.opened();
        }
    }

    #[test]
    fn an_odd_token_that_goes_first_after_a_pause_does_not_make_the_others_wait() {
        let (gate, mut now) = (Gate::default(), SystemClock.now());
        let (dark, odd) = (Error::new(ErrorKind::Transport), Error::new(ErrorKind::Status(400)));
        for _ in 0..3 {
            gate.failed(now, &dark);
        }
        gate.failed(now, &odd);
        assert!(gate.pass(now).is_err(), "an answer to an older question does not end the pause");
        now += second(1);
        for _ in 0..100 {
            assert!(gate.pass(now).is_ok());
            assert!(gate.pass(now).is_err());
            assert!(!gate.failed(now, &odd), "the server lives, and that is all that it says");
        }
        assert!(gate.pass(now).is_ok(), "the next one finds out");
        // The failures in a row go on being counted.
        gate.failed(now, &dark);
        assert_eq!(gate.pass(now).unwrap_err().retry_after(), Some(second(2)));
    }

    #[test]
    fn odd_tokens_do_not_close_the_gate_for_others() {
        let (gate, now) = (Gate::default(), SystemClock.now());
        for _ in 0..1000 {
            gate.failed(now, &Error::new(ErrorKind::Status(400)));
            gate.failed(now, &Error::new(ErrorKind::TooManyWaiters));
        }
        for _ in 0..9 {
            gate.failed(now, &Error::new(ErrorKind::Status(500)));
        }
        assert!(gate.pass(now).is_ok());
        gate.failed(now, &Error::new(ErrorKind::Malformed("not one JSON object")));
        assert!(gate.pass(now).is_err());
    }
}
