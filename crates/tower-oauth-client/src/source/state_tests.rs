use tower_oauth_core::codec::TokenResponse;
use tower_oauth_core::{Clock, OAuthCode, SystemClock};

use super::*;

/// A state with a clock that stands still and dice that always fall the same.
struct Lab {
    state: State,
    start: Instant,
    now: Instant,
    random: f64,
}

#[derive(Debug, PartialEq)]
enum Got {
    Take(TokenId),
    Fail(ErrorKind),
    Join,
}

impl Lab {
    fn new() -> Self {
        let now = SystemClock.now();
        Self { state: State::default(), start: now, now, random: 1.0 }
    }

    /// With a token of an hour, accepted by a resource or not.
    fn with_token(accepted: bool) -> (Self, Token) {
        let mut lab = Self::new();
        let token = lab.land("t0", 3600);
        if accepted {
            token.mark_accepted();
        }
        (lab, token)
    }

    fn at(&mut self, milliseconds: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(milliseconds);
        self
    }

    fn token(&self, text: &str, life: u64) -> Token {
        let response = TokenResponse {
            access_token: text.into(),
            expires_in: Some(Duration::from_secs(life)),
            scopes: None,
        };
        Token::from_response(&response, self.now).unwrap()
    }

    /// An exchange lands with a token.
    fn land(&mut self, text: &str, life: u64) -> Token {
        let token = self.token(text, life);
        self.state.store(token.clone(), self.now, self.random);
        token
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.state.fail(kind.into(), self.now, self.random);
    }

    fn ask(&mut self, need: Need) -> Got {
        match self.state.decide(need, self.now, self.random) {
            Decision::Take(token) => Got::Take(token.id()),
            Decision::Fail(error) => Got::Fail(error.kind()),
            Decision::Join => Got::Join,
        }
    }

    fn refuse(&mut self, token: &Token) -> Got {
        self.ask(Need::Unlike(token.id()))
    }

    fn peek(&self) -> Option<TokenId> {
        self.state.peek(self.now).map(|(token, _)| token.id())
    }

    fn wants_refresh(&self) -> bool {
        self.state.peek(self.now).is_some_and(|(_, refresh)| refresh)
    }
}

#[test]
fn a_cold_cache_has_nothing_and_joins() {
    let mut lab = Lab::new();
    let foreign = Token::bearer("foreign").unwrap();
    assert_eq!(lab.peek(), None);
    assert_eq!(lab.ask(Need::Any), Got::Join);
    assert_eq!(lab.refuse(&foreign), Got::Join);
    assert_eq!(lab.state.withheld(), None, "there is nothing to withhold");
}

#[test]
fn r03_a_late_rejection_gets_the_newer_token_and_costs_nothing() {
    let (mut lab, old) = Lab::with_token(true);
    let new = lab.land("t1", 3600);
    for _ in 0..100 {
        assert_eq!(lab.refuse(&old), Got::Take(new.id()));
    }
    assert_eq!(lab.peek(), Some(new.id()));
}

#[test]
fn a_refused_token_is_withheld_while_its_replacement_is_in_the_air() {
    let (mut lab, token) = Lab::with_token(true);
    let older = Token::bearer("older").unwrap();
    assert_eq!(lab.refuse(&token), Got::Join);
    assert_eq!(lab.state.withheld(), Some(token.id()));
    for need in [Need::Any, Need::Unlike(token.id()), Need::Unlike(older.id())] {
        assert_eq!(lab.peek(), None, "{need:?}");
        assert_eq!(lab.ask(need), Got::Join, "{need:?}");
    }
    let new = lab.land("t1", 3600);
    assert_eq!((lab.peek(), lab.state.withheld()), (Some(new.id()), None));
}

#[test]
fn a_failed_flight_gives_the_token_back() {
    let (mut lab, token) = Lab::with_token(true);
    lab.refuse(&token);
    lab.fail(ErrorKind::Transport);
    assert_eq!(lab.peek(), Some(token.id()));
    assert_eq!(lab.ask(Need::Any), Got::Take(token.id()));
    assert_eq!(lab.refuse(&token), Got::Fail(ErrorKind::Transport), "what was heard");
}

#[test]
fn a_flight_that_ends_without_a_result_gives_the_token_back() {
    let (mut lab, token) = Lab::with_token(true);
    lab.refuse(&token);
    lab.state.give_back();
    assert_eq!(lab.peek(), Some(token.id()));
    assert_eq!(lab.refuse(&token), Got::Join, "and the next refusal starts another one");
}

#[test]
fn a_token_that_was_accepted_is_replaced_at_once_each_time() {
    let (mut lab, mut token) = Lab::with_token(true);
    // One restart after the other, each before the dust of the last one has settled.
    for restart in 1..=30 {
        lab.at(restart * 100);
        assert_eq!(lab.refuse(&token), Got::Join, "restart {restart}");
        token = lab.land(&format!("t{restart}"), 3600);
        token.mark_accepted();
    }
}

#[test]
fn one_resource_accepts_what_another_refuses_and_the_exchanges_stay_bounded() {
    // Or: an API that says 403 to some calls, under a policy that takes it for a dead token.
    let (mut lab, mut token) = Lab::with_token(true);
    let mut exchanges = Vec::new();
    for ms in (0..600_000).step_by(10) {
        if lab.at(ms).refuse(&token) == Got::Join {
            exchanges.push(ms);
            token = lab.land(&format!("t{ms}"), 3600);
            token.mark_accepted();
        }
    }
    let within = |from: u64, to: u64| exchanges.iter().filter(|ms| (from..to).contains(ms)).count();
    assert!((1..=33).contains(&within(0, 1_000)), "{exchanges:?}");
    for minutes in 0..6 {
        let from = minutes * 60_000;
        assert!(within(from, from + 240_000) <= 45, "{minutes}: {exchanges:?}");
    }
}

#[test]
fn r02_a_token_refused_at_first_sight_spends_a_budget_that_doubles() {
    // With the dice at their highest, and at their lowest: half of each step.
    for (random, expected) in [
        (1.0, [0, 1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000, 183_000]),
        (0.0, [0, 500, 1500, 3500, 7500, 15_500, 31_500, 61_500, 91_500]),
    ] {
        let (mut lab, mut token) = Lab::with_token(false);
        lab.random = random;
        let mut exchanges = Vec::new();
        for ms in (0..200_000).step_by(100) {
            match lab.at(ms).refuse(&token) {
                Got::Join => {
                    exchanges.push(ms);
                    token = lab.land(&format!("t{ms}"), 3600);
                }
                got => assert_eq!(got, Got::Fail(ErrorKind::BudgetSpent), "{ms}"),
            }
            assert_eq!(lab.peek(), Some(token.id()), "{ms}: what there is goes on being used");
        }
        assert_eq!(exchanges[..9], expected);
    }
}

#[test]
fn the_budget_is_whole_again_when_a_token_has_worked() {
    let (mut lab, mut token) = Lab::with_token(false);
    for ms in [0, 1000, 3000] {
        assert_eq!(lab.at(ms).refuse(&token), Got::Join);
        token = lab.land(&format!("t{ms}"), 3600);
    }
    assert_eq!(lab.refuse(&token), Got::Fail(ErrorKind::BudgetSpent));
    token.mark_accepted();
    assert_eq!(lab.refuse(&token), Got::Join, "it worked and died");
    let first = lab.land("unproven", 3600);
    assert_eq!(lab.refuse(&first), Got::Join, "the streak is over");
}

#[test]
fn t01_t03_failures_back_off_by_doubling_and_what_was_heard_is_the_answer() {
    let refused = ErrorKind::OAuth(OAuthCode::InvalidClient);
    let cases = [
        // (kind, milliseconds until the next exchange, one failure after the other)
        (ErrorKind::Transport, vec![1000, 2000, 4000, 5000, 5000, 5000, 5000]),
        (ErrorKind::Status(500), vec![1000, 2000]),
        (refused, vec![500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000]),
    ];
    for (kind, pauses) in cases {
        let mut lab = Lab::new();
        let (mut ms, first) = (0, pauses[0]);
        for pause in pauses {
            lab.at(ms).fail(kind);
            for need in [Need::Any, Need::Unlike(Token::bearer("x").unwrap().id())] {
                assert_eq!(lab.at(ms).ask(need), Got::Fail(kind));
                assert_eq!(lab.at(ms + pause - 1).ask(need), Got::Fail(kind), "{pause}");
            }
            ms += pause;
            assert_eq!(lab.at(ms).ask(Need::Any), Got::Join, "{kind:?} after {pause}");
        }
        lab.land("healed", 0);
        lab.fail(kind);
        assert_eq!(lab.at(ms + first).ask(Need::Any), Got::Join, "success ends the streak");
    }
    let mut lab = Lab::new();
    for _ in 0..40 {
        lab.fail(refused);
    }
    assert_eq!(lab.at(299_999).ask(Need::Any), Got::Fail(refused));
    assert_eq!(lab.at(300_000).ask(Need::Any), Got::Join, "never for good");
}

#[test]
fn t02_retry_after_is_honoured_where_it_is_longer() {
    for (retry_after, until) in [(0, 1000), (1, 1000), (7, 7000), (100_000, 300_000)] {
        let mut lab = Lab::new();
        let error = Error::new(ErrorKind::Status(503))
            .with_retry_after(Some(Duration::from_secs(retry_after)));
        lab.state.fail(error, lab.now, lab.random);
        assert_eq!(lab.at(until - 1).ask(Need::Any), Got::Fail(ErrorKind::Status(503)));
        assert_eq!(lab.at(until).ask(Need::Any), Got::Join, "{retry_after}");
    }
}

#[test]
fn a_refusal_is_news_to_a_refresh_that_failed() {
    // The authorization server was away, a refresh ahead failed again and again; the server is back and
    // has forgotten its tokens. The first refusal must not wait for a back-off that knows nothing of it.
    let (mut lab, token) = Lab::with_token(true);
    for ms in [2_600_000, 2_620_000, 2_640_000, 2_660_000] {
        lab.at(ms).fail(ErrorKind::Transport);
    }
    assert_eq!(lab.ask(Need::Any), Got::Take(token.id()));
    assert_eq!(lab.refuse(&token), Got::Join);
    assert!(!lab.state.is_failing(), "with all its tries");
    // Once for each token: then what was heard counts, and the streak is a new one.
    lab.fail(ErrorKind::Transport);
    assert_eq!(lab.refuse(&token), Got::Fail(ErrorKind::Transport));
    assert_eq!(lab.at(2_661_000).refuse(&token), Got::Join);
    lab.fail(ErrorKind::Transport);
    assert_eq!(lab.at(2_662_999).refuse(&token), Got::Fail(ErrorKind::Transport));
    assert_eq!(lab.at(2_663_000).refuse(&token), Got::Join);
}

#[test]
fn a_refusal_does_not_override_what_the_server_said() {
    let (mut lab, token) = Lab::with_token(true);
    let busy = Error::new(ErrorKind::Status(429)).with_retry_after(Some(Duration::from_secs(60)));
    lab.state.fail(busy, lab.now, lab.random);
    assert_eq!(lab.at(59_999).refuse(&token), Got::Fail(ErrorKind::Status(429)));
    assert_eq!(lab.at(60_000).refuse(&token), Got::Join);
}

#[test]
fn t14_the_refresh_comes_ahead_and_the_stop_is_hard() {
    for (random, refresh_ms) in [(0.0, 2_520_000), (0.5, 2_700_000), (1.0, 2_880_000)] {
        let mut lab = Lab { random, ..Lab::new() };
        let token = lab.land("t", 3600);
        let table = [
            // (at, is there to be sent, starts a refresh)
            (0, true, false),
            (refresh_ms - 1, true, false),
            (refresh_ms, true, true),
            (3_589_999, true, true),
            (3_590_000, false, false),
            (9_999_999, false, false),
        ];
        for (ms, there, refresh) in table {
            lab.at(ms);
            assert_eq!(lab.peek(), there.then(|| token.id()), "{random} at {ms}");
            assert_eq!(lab.wants_refresh(), refresh, "{random} at {ms}");
            let got = lab.ask(Need::Any);
            assert_eq!(got, if there { Got::Take(token.id()) } else { Got::Join }, "{ms}");
        }
        assert_eq!(lab.refuse(&token), Got::Join, "refused and over");
        assert_eq!(lab.state.withheld(), Some(token.id()));
    }
}

#[test]
fn a_failed_refresh_leaves_the_old_token_and_backs_off() {
    let (mut lab, token) = Lab::with_token(true);
    lab.at(3_000_000);
    assert!(lab.wants_refresh());
    lab.fail(ErrorKind::Transport);
    for ms in [3_000_000, 3_000_999] {
        assert_eq!((lab.at(ms).peek(), lab.wants_refresh()), (Some(token.id()), false), "{ms}");
    }
    assert!(lab.at(3_001_000).wants_refresh());
    // Dead is dead, whatever the authorization server does.
    lab.at(3_590_000).fail(ErrorKind::Transport);
    assert_eq!((lab.peek(), lab.ask(Need::Any)), (None, Got::Fail(ErrorKind::Transport)));
}

#[test]
fn a_life_of_nothing_is_never_sent_twice() {
    let mut lab = Lab::new();
    let token = lab.land("t", 0);
    assert_eq!((lab.peek(), lab.ask(Need::Any)), (None, Got::Join));
    assert_eq!(lab.refuse(&token), Got::Join);
}

#[test]
fn the_last_few_tokens_are_recognised() {
    let mut lab = Lab::new();
    let tokens: Vec<_> = (0..6).map(|n| lab.land(&format!("t{n}"), 3600)).collect();
    for (index, token) in tokens.iter().enumerate() {
        let known = lab.state.recognise(token.header()).map(Token::id);
        assert_eq!(known, (index >= 2).then(|| token.id()), "{index}");
    }
    for stranger in ["Bearer t", "Bearer t55", "bearer t5", "Basic t5", "t5", ""] {
        let header = HeaderValue::from_static(stranger);
        assert!(lab.state.recognise(&header).is_none(), "{stranger}");
    }
}

#[test]
fn a_token_that_came_again_is_remembered_once_with_its_new_life() {
    let (mut lab, token) = Lab::with_token(true);
    for n in 1..=3 {
        let again = lab.at(n * 1000).token("t0", 3600).renamed(&token);
        lab.state.store(again, lab.now, lab.random);
    }
    assert_eq!(lab.state.recent.len(), 1);
    assert_eq!(lab.at(3_590_500).peek(), Some(token.id()), "the life is the new one");
    assert!(lab.state.current().unwrap().was_accepted());
}

#[test]
fn a_refused_token_that_must_not_be_sent_again_anyway_spends_the_budget_too() {
    let (mut lab, _) = Lab::with_token(false);
    let mut token = lab.land("t", 0);
    let mut exchanges = 0;
    for ms in (0..10_000).step_by(100) {
        if lab.at(ms).refuse(&token) == Got::Join {
            exchanges += 1;
            token = lab.land(&format!("t{ms}"), 0);
        }
    }
    assert!((2..=5).contains(&exchanges), "{exchanges}");
}
