//! When: pure functions of a life, a count and a random number.

use std::time::{Duration, Instant};

use tower_oauth_core::Token;

/// No token is sent in its last 10 seconds: it would die on the way. Short lives give up a fifth.
const MARGIN: Duration = Duration::from_secs(10);

/// The moments in the life of a cached token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moments {
    /// From here on a request starts a refresh in the background. `None`: never.
    pub(super) refresh_at: Option<Instant>,
    /// From here on the token is not sent. `None`: never.
    pub(super) stop_at: Option<Instant>,
}

impl Moments {
    /// `random` in [0, 1) spreads the refresh over 70 % to 80 % of the life, so that a fleet whose
    /// tokens were issued together does not come back together.
    ///
    /// A `max_age` ends a token earlier, without a margin: it is this side that stops.
    pub(super) fn of(token: &Token, max_age: Option<Duration>, random: f64) -> Self {
        let (Some(obtained), Some(expires)) = (token.obtained_at(), token.expires_at()) else {
            return Self { refresh_at: None, stop_at: token.expires_at() };
        };
        let life = expires.saturating_duration_since(obtained);
        let max_age = max_age.unwrap_or(Duration::MAX);
        let refresh_after = life.min(max_age).mul_f64(0.7 + 0.1 * random.clamp(0.0, 1.0));
        let stop_after = (life - MARGIN.min(life / 5)).min(max_age);
        Self {
            refresh_at: obtained.checked_add(refresh_after),
            stop_at: obtained.checked_add(stop_after),
        }
    }

    pub(super) fn may_be_sent(&self, now: Instant) -> bool {
        self.stop_at.is_none_or(|stop| now < stop)
    }

    pub(super) fn wants_refresh(&self, now: Instant) -> bool {
        self.refresh_at.is_some_and(|refresh| now >= refresh)
    }
}

/// Back-off with jitter: a random part of a step that doubles, but never less than half of it, so that
/// what it promises about a number of calls holds with bad luck too.
pub(super) fn back_off(base: Duration, cap: Duration, streak: u32, random: f64) -> Duration {
    let step = base.saturating_mul(2_u32.saturating_pow(streak.min(20))).min(cap);
    step.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// A server's wish, with up to a tenth of it more: a fleet that was told to come back in a minute does not come back
/// in one moment.
///
/// The first exchange after a rejection is never delayed: its callers wait, and a server that can bear it should heal them at
/// once. Where a fleet's tokens all die in one moment and the server cannot bear it, it says so (429, 503, no answer), and from
/// there on everyone's tries, pauses and probes are random.
pub(super) fn spread(retry_after: Duration, random: f64) -> Duration {
    retry_after + retry_after.mul_f64(0.1 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::codec::TokenResponse;

    use super::*;

    fn seconds(life: u64, random: f64) -> (Duration, Duration) {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let response = TokenResponse::bearer("a", Some(Duration::from_secs(life)));
        let moments = Moments::of(&Token::from_response(&response, now).unwrap(), None, random);
        (moments.refresh_at.unwrap() - now, moments.stop_at.unwrap() - now)
    }

    #[test]
    fn t14_refresh_is_spread_over_a_tenth_of_the_life_and_comes_before_the_stop() {
        for life in [1, 5, 20, 60, 300, 3600, 86_400] {
            let (early, stop) = seconds(life, 0.0);
            let (late, _) = seconds(life, 1.0);
            assert!(late - early >= Duration::from_secs(life).mul_f64(0.099), "{life}");
            assert!(late <= stop + Duration::from_millis(1), "{life}: {late:?} {stop:?}");
        }
        assert_eq!(seconds(3600, 0.0).1, Duration::from_secs(3590));
        assert_eq!(seconds(20, 0.0).1, Duration::from_secs(16));
        assert_eq!(seconds(0, 0.5), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn t14_a_fleet_that_was_told_one_time_comes_back_spread_and_never_before() {
        let told = Duration::from_secs(60);
        let back: Vec<_> = (0_u32..100).map(|n| spread(told, f64::from(n) / 100.0)).collect();
        assert!(back.iter().all(|&delay| delay >= told && delay <= told + told / 10));
        assert!(back[99] - back[0] >= Duration::from_secs(5));
        assert_eq!(spread(Duration::ZERO, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_cap_on_the_age_moves_both_moments_and_leaves_no_margin() {
        let now = tower_oauth_core::Clock::now(&tower_oauth_core::SystemClock);
        let response = TokenResponse::bearer("a", Some(Duration::from_secs(3600)));
        let token = Token::from_response(&response, now).unwrap();
        for (cap, refresh, stop) in
            [(0, 0, 0), (100, 80, 100), (3595, 2876, 3590), (9999, 2880, 3590)]
        {
            let moments = Moments::of(&token, Some(Duration::from_secs(cap)), 1.0);
            let at = |moment: Option<Instant>| (moment.unwrap() - now).as_secs_f64().round() as u64;
            assert_eq!((at(moments.refresh_at), at(moments.stop_at)), (refresh, stop), "{cap}");
        }
    }

    #[test]
    fn back_off_doubles_to_its_cap_and_is_never_nothing() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
        let ms = |streak, random| back_off(base, cap, streak, random).as_millis();
        assert_eq!([ms(0, 1.0), ms(1, 1.0), ms(2, 1.0), ms(9, 1.0)], [100, 200, 400, 1000]);
        assert_eq!([ms(0, 0.0), ms(40, 0.0), ms(2, 0.5)], [50, 500, 300]);
    }
}
