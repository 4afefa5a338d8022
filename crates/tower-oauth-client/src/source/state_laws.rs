//! Whatever comes in whatever order, the laws of a token cache hold.

use proptest::prelude::*;
use tower_oauth_core::codec::TokenResponse;
use tower_oauth_core::{Clock, SystemClock};

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many milliseconds go by.
    Wait(u64),
    Ask,
    /// The token of so many exchanges ago is refused; 0 is the current one.
    Refuse(usize),
    /// Somebody accepts the token that is sent now.
    Accept,
    /// The exchange in the air lands, with a token of so many seconds.
    Land(u64),
    /// It lands with the token that there is.
    LandSame,
    Fail(bool),
    GiveBack,
    Report(u8),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..3000).prop_map(Step::Wait),
        1 => (0_u64..4_000_000).prop_map(Step::Wait),
        3 => Just(Step::Ask),
        6 => (0_usize..4).prop_map(Step::Refuse),
        3 => Just(Step::Accept),
        6 => prop_oneof![4 => Just(3600_u64), 1 => 0_u64..100].prop_map(Step::Land),
        1 => Just(Step::LandSame),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::GiveBack),
        2 => (0_u8..4).prop_map(Step::Report),
        1 => Just(Step::Flush),
    ]
}

/// What the test knows beside the state.
struct World {
    state: State,
    now: Instant,
    random: f64,
    issued: Vec<Token>,
    is_in_flight: bool,
    /// When exchanges were started to replace a token, and whether by hand.
    replaced: Vec<Instant>,
}

impl World {
    fn fetch(&mut self, need: Need) {
        let withheld = self.state.withheld();
        let current = self.state.current().map(Token::id);
        match self.state.decide(need, self.now, self.random) {
            Decision::Take(token) => {
                assert_ne!(need, Need::Unlike(token.id()), "the refused token again");
                assert_eq!(Some(token.id()), current, "an older one");
                assert_eq!(withheld, None, "a token whose replacement is in the air");
                // At once means that it may be sent now.
                let sent = self.state.peek(self.now).map(|(token, _)| token.id());
                assert_eq!(sent, Some(token.id()));
            }
            Decision::Fail(error) => {
                if matches!(error.kind(), ErrorKind::Duel | ErrorKind::BudgetSpent) {
                    let wait = error.retry_after().expect("how long");
                    let most = if error.kind() == ErrorKind::Duel { 5 } else { 60 };
                    assert!(wait <= Duration::from_secs(most), "{error:?}");
                    assert!(!wait.is_zero(), "nothing to wait for is no reason to fail");
                }
            }
            Decision::Join => {
                if withheld.is_none() && self.state.withheld().is_some() {
                    self.replaced.push(self.now);
                }
                self.is_in_flight = true;
            }
        }
    }

    fn land(&mut self, text: String, life: u64) {
        let response = TokenResponse::bearer(text, Some(Duration::from_secs(life)));
        let token = Token::from_response(&response, self.now).unwrap();
        self.state.store(token.clone(), self.now, self.random);
        self.issued.push(token);
        self.is_in_flight = false;
        assert_eq!(self.state.withheld(), None);
    }

    fn take(&mut self, step: Step) {
        let nth = |ago: usize| self.issued.iter().rev().nth(ago).map(Token::id);
        match step {
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
            Step::Ask => self.fetch(Need::Any),
            Step::Refuse(ago) => {
                if let Some(id) = nth(ago) {
                    self.fetch(Need::Unlike(id));
                }
            }
            Step::Accept => {
                if let Some((token, _)) = self.state.peek(self.now) {
                    token.mark_accepted();
                }
            }
            Step::Land(life) if self.is_in_flight => {
                self.land(format!("t{}", self.issued.len()), life);
            }
            Step::LandSame if self.is_in_flight && self.state.withheld().is_some() => {
                self.state.fail(ErrorKind::NotRenewable.into(), self.now, self.random);
                self.is_in_flight = false;
            }
            Step::Fail(is_transient) if self.is_in_flight => {
                let kind = if is_transient { ErrorKind::Transport } else { ErrorKind::Redirect };
                self.state.fail(kind.into(), self.now, self.random);
                self.is_in_flight = false;
            }
            Step::GiveBack if self.is_in_flight => {
                self.state.give_back();
                self.is_in_flight = false;
            }
            Step::Report(what) => {
                if let Some(id) = nth(0) {
                    let report = match what {
                        0 => Report::Healed(id),
                        1 => Report::RejectedAgain(id),
                        2 => Report::NotReplayable(id),
                        _ => Report::Flush(id, Flush::Issuer),
                    };
                    self.state.hear(report, self.now);
                }
            }
            Step::Flush => {
                self.state.flush();
                // What is in the air is of an earlier era.
                self.is_in_flight = false;
                // What an operator asks for is on nobody's bill.
                self.replaced.clear();
            }
            _ => {}
        }
        self.state.notes();
    }

    fn holds_its_laws(&self) {
        if let Some((token, _)) = self.state.peek(self.now) {
            assert_eq!(Some(token.id()), self.issued.last().map(Token::id), "only the newest");
            assert_ne!(Some(token.id()), self.state.withheld());
        }
        // A withheld token has an exchange that will land or fail: nobody waits for ever.
        assert!(self.state.withheld().is_none() || self.is_in_flight);
        // Two deaths at most before a duel is seen, then one exchange in 0.8 s; a bill beside it that doubles.
        for window in self.replaced.windows(12) {
            let took = window[11].saturating_duration_since(window[0]);
            assert!(took >= Duration::from_secs(2), "12 replacements in {took:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_refusals_landings_failures_and_time_keeps_the_laws(
        steps in proptest::collection::vec(step(), 1..200),
        random in 0.0..1.0,
    ) {
        let mut world = World {
            state: State::default(),
            now: SystemClock.now(),
            random,
            issued: Vec::new(),
            is_in_flight: false,
            replaced: Vec::new(),
        };
        for step in steps {
            world.take(step);
            world.holds_its_laws();
        }
        // However it stands, it can be mended: once the back-offs are over and exchanges land, there is a token.
        for _ in 0..2 {
            world.now += Duration::from_secs(400);
            world.fetch(Need::Any);
            if world.is_in_flight {
                world.land(format!("t{}", world.issued.len()), 3600);
            }
        }
        prop_assert!(world.state.peek(world.now).is_some());
    }
}
