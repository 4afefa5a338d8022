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
        let response = TokenResponse::bearer(text, Some(Duration::from_secs(life)));
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

    fn told(&mut self) -> Vec<TokenEvent> {
        let notes = self.state.notes();
        notes.iter().filter(|note| note.is_news).map(|note| note.event).collect()
    }

    fn status(&self) -> TokenStatus {
        self.state.status(false, self.now).0
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
fn elsewhere_a_a_token_that_was_accepted_is_replaced_at_once_each_time() {
    // (restarts, milliseconds between them): one after the other, before the dust of the last one has settled; a rolling
    // restart; a user who logs out on another device, for hours.
    for (restarts, every) in [(3, 1), (3, 500), (3, 3333), (5, 4000), (32, 500), (1000, 1000)] {
        let (mut lab, mut token) = Lab::with_token(true);
        for restart in 1..=restarts {
            lab.at(restart * every);
            assert_eq!(lab.refuse(&token), Got::Join, "restart {restart}, every {every} ms");
            token = lab.land(&format!("t{restart}"), 3600);
            token.mark_accepted();
        }
    }
}

#[test]
fn a_death_that_an_outage_keeps_from_being_mended_is_one_death() {
    let (mut lab, token) = Lab::with_token(true);
    for ms in (0..3_000_000).step_by(5000) {
        assert_eq!(lab.at(ms).refuse(&token), Got::Join, "{ms}");
        lab.fail(ErrorKind::Transport);
    }
    let duels = lab.told();
    assert!(!duels.iter().any(|event| matches!(event, TokenEvent::DuelSuspected { .. })));
}

/// Refused each so many milliseconds by whoever, each new token accepted at first; when exchanges were made.
fn refused_again_and_again(lab: &mut Lab, every: u64, until: u64) -> Vec<u64> {
    let mut token = lab.land("first", 3600);
    token.mark_accepted();
    let mut exchanges = Vec::new();
    for ms in (every..until).step_by(usize::try_from(every).unwrap()) {
        lab.at(ms);
        if lab.peek().is_none() {
            assert!(matches!(lab.ask(Need::Any), Got::Fail(ErrorKind::Duel) | Got::Join), "{ms}");
        }
        if lab.state.withheld().is_some() || lab.refuse(&token) == Got::Join {
            exchanges.push(ms);
            token = lab.land(&format!("t{ms}"), 3600);
            token.mark_accepted();
        }
    }
    exchanges
}

#[test]
fn tokens_that_die_young_are_a_duel_and_the_exchanges_keep_a_pause() {
    for random in [0.0, 1.0] {
        let mut lab = Lab { random, ..Lab::new() };
        let exchanges = refused_again_and_again(&mut lab, 20, 600_000);
        assert_eq!(exchanges[..3], [20, 40, 60], "three deaths may be chance");
        assert!((860..=980).contains(&exchanges[3]), "{exchanges:?}");
        let pauses = || exchanges[3..].windows(2).map(|pair| pair[1] - pair[0]);
        assert!(pauses().all(|pause| (800..=5020).contains(&pause)), "{exchanges:?}");
        assert!(pauses().take(6).all(|pause| pause <= 920), "alone within a second: {exchanges:?}");
        assert!(exchanges.len() <= 150, "{} in ten minutes", exchanges.len());
    }
}

#[test]
fn tokens_that_die_again_and_again_are_a_duel_however_long_they_live() {
    let mut lab = Lab::new();
    let exchanges = refused_again_and_again(&mut lab, 600, 60_000);
    let told = lab.told();
    let duels = told.iter().filter(|event| matches!(event, TokenEvent::DuelSuspected { .. }));
    assert_eq!(duels.count(), 1, "{told:?}");
    assert_eq!(exchanges[31], 32 * 600);
    assert!(exchanges[32..].windows(2).all(|pair| pair[1] - pair[0] > 800), "{exchanges:?}");
}

#[test]
fn in_a_duel_a_dead_token_is_not_sent_and_every_caller_is_told_at_once() {
    let (mut lab, mut token) = Lab::with_token(true);
    for ms in [0, 30, 60] {
        assert_eq!(lab.at(ms).refuse(&token), Got::Join);
        token = lab.land(&format!("t{ms}"), 3600);
        token.mark_accepted();
    }
    lab.at(90);
    assert_eq!(lab.refuse(&token), Got::Fail(ErrorKind::Duel));
    assert_eq!(lab.peek(), Some(token.id()), "on trial");
    // An answer to a request from before the refusal says nothing.
    token.mark_accepted();
    assert_eq!(lab.at(139).refuse(&token), Got::Fail(ErrorKind::Duel));
    assert_eq!(lab.peek(), Some(token.id()));
    assert_eq!(lab.at(140).refuse(&token), Got::Fail(ErrorKind::Duel));
    assert_eq!(lab.peek(), None);
    for ms in [140, 500, 869] {
        for need in [Need::Any, Need::Unlike(token.id())] {
            assert_eq!(lab.at(ms).ask(need), Got::Fail(ErrorKind::Duel), "{ms}");
        }
    }
    assert!(matches!(lab.status(), TokenStatus::Failing { cause: ErrorKind::Duel }));
    // Half open: one exchange for all.
    assert_eq!(lab.at(870).ask(Need::Any), Got::Join);
    assert_eq!(lab.state.withheld(), Some(token.id()));
    // The other one has stopped: whole again, and a restart long after is replaced at once.
    let token = lab.land("alone", 3600);
    token.mark_accepted();
    assert!(matches!(lab.status(), TokenStatus::Fresh { .. }));
    assert_eq!(lab.at(3000).refuse(&token), Got::Join);
}

#[test]
fn a_token_that_somebody_still_accepts_is_disputed_and_not_dead() {
    let (mut lab, mut token) = Lab::with_token(true);
    for ms in [0, 10, 20] {
        assert_eq!(lab.at(ms).refuse(&token), Got::Join);
        token = lab.land(&format!("t{ms}"), 3600);
        token.mark_accepted();
    }
    assert_eq!(lab.at(30).refuse(&token), Got::Fail(ErrorKind::Duel));
    lab.state.current().unwrap().mark_accepted();
    // One exchange each on a bill that doubles, while the token goes on being sent.
    let mut exchanges = Vec::new();
    for ms in (40..100_000).step_by(10) {
        lab.at(ms);
        match lab.refuse(&token) {
            Got::Join => {
                exchanges.push(ms);
                token = lab.land(&format!("t{ms}"), 3600);
            }
            got => assert_eq!(got, Got::Fail(ErrorKind::BudgetSpent), "{ms}"),
        }
        assert_eq!(lab.peek(), Some(token.id()), "{ms}");
        lab.state.current().unwrap().mark_accepted();
    }
    assert_eq!(exchanges, [1040, 3040, 7040, 15_040, 31_040, 63_040]);
}

#[test]
fn a_disputed_token_that_nobody_accepts_any_more_is_dead_after_all() {
    let (mut lab, token) = Lab::with_token(true);
    lab.at(5000).refuse(&token);
    let token = lab.land("t1", 3600);
    lab.state.hear(Report::RejectedAgain(token.id()), lab.now);
    lab.state.current().unwrap().mark_accepted();
    for refusal in 0..100 {
        let got = lab.at(5010 + refusal * 4).refuse(&token);
        assert_eq!(got, Got::Fail(ErrorKind::BudgetSpent), "refusal {refusal}");
    }
    assert_eq!(lab.at(5510).refuse(&token), Got::Join);
}

#[test]
fn a_request_that_is_refused_with_any_token_costs_one_exchange_and_no_more_than_the_budget() {
    // A 403 about rights, under a policy that takes it for a dead token; a door that tells what came of the replay.
    let (mut lab, mut token) = Lab::with_token(true);
    let mut exchanges = 0;
    for ms in (2000..240_000).step_by(2000) {
        lab.at(ms).state.current().unwrap().mark_accepted();
        if lab.refuse(&token) == Got::Join {
            exchanges += 1;
            token = lab.land(&format!("t{ms}"), 3600);
            lab.state.hear(Report::RejectedAgain(token.id()), lab.now);
        }
    }
    assert!((2..=9).contains(&exchanges), "{exchanges} in four minutes");
    // Where a replay helps, tokens do die, and the next one is replaced at once.
    lab.state.hear(Report::Healed(token.id()), lab.now);
    let token = lab.land("healed", 3600);
    token.mark_accepted();
    assert_eq!(lab.at(300_000).refuse(&token), Got::Join);
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
        (ErrorKind::Transport, vec![4700, 4700, 4700, 4700]),
        (ErrorKind::Status(500), vec![4700, 4700]),
        (ErrorKind::NotRenewable, vec![500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]),
        (refused, vec![500, 500, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000]),
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
    // With up to a tenth more, since a fleet is told the same.
    for (retry_after, until) in [(0, 1100), (1, 1100), (7, 7700), (100_000, 330_000)] {
        let mut lab = Lab::new();
        let error = Error::new(ErrorKind::Status(503))
            .with_retry_after(Some(Duration::from_secs(retry_after)));
        lab.state.fail(error, lab.now, lab.random);
        assert_eq!(lab.at(until - 1).ask(Need::Any), Got::Fail(ErrorKind::Status(503)));
        assert_eq!(lab.at(until).ask(Need::Any), Got::Join, "{retry_after}");
    }
    // A server that says "one second" again and again is asked no more often than one that says nothing.
    let mut lab = Lab::new();
    for _ in 0..2 {
        let error =
            Error::new(ErrorKind::Status(503)).with_retry_after(Some(Duration::from_secs(1)));
        lab.state.fail(error, lab.now, lab.random);
    }
    assert_eq!(lab.at(4699).ask(Need::Any), Got::Fail(ErrorKind::Status(503)));
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
    assert_eq!(lab.at(2_664_699).refuse(&token), Got::Fail(ErrorKind::Transport));
    assert_eq!(lab.at(2_664_700).refuse(&token), Got::Join);
    lab.fail(ErrorKind::Transport);
    assert_eq!(lab.at(2_669_399).refuse(&token), Got::Fail(ErrorKind::Transport));
    assert_eq!(lab.at(2_669_400).refuse(&token), Got::Join);
}

#[test]
fn a_refusal_does_not_override_what_the_server_said() {
    let (mut lab, token) = Lab::with_token(true);
    let busy = Error::new(ErrorKind::Status(429)).with_retry_after(Some(Duration::from_secs(60)));
    lab.state.fail(busy, lab.now, lab.random);
    assert_eq!(lab.at(65_999).refuse(&token), Got::Fail(ErrorKind::Status(429)));
    assert_eq!(lab.at(66_000).refuse(&token), Got::Join);
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
    for ms in [3_000_000, 3_004_699] {
        assert_eq!((lab.at(ms).peek(), lab.wants_refresh()), (Some(token.id()), false), "{ms}");
    }
    assert!(lab.at(3_004_700).wants_refresh());
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
