//! What is spent on replacing refused tokens: pure, with time and chance as values.
//!
//! A refusal has one of four causes, and the cache sees none of them, only refusals and acceptances:
//!
//! * **The token died**: the server restarted, somebody revoked it, another device logged out. It was accepted, is
//!   refused, and nobody accepts it any more. It is replaced at once, always.
//! * **It never worked**: a resource that rejects everything. Another one will not either, so exchanges back off.
//! * **It is disputed**: one resource accepts it and one does not; or a policy takes a 403 for a dead token that
//!   is about rights. It is accepted *after* it was refused, or a replay with a fresh one is refused, too. No
//!   exchange settles that: exchanges back off as above, and the token goes on being used.
//! * **A duel**: another holder of the same account, where each grant ends the token before. My exchange kills
//!   the other's token, whose exchange kills mine.
//!
//! What tells a duel from restarts is *how soon after our own exchange* a token dies. The other holder answers
//! our exchange with its own as soon as it makes a request, so between busy holders a token lives some 10 to 300 ms, each
//! time. A server that restarts needs longer than that to come up, and does not wait for our exchange to go down;
//! neither does a user who logs out on another device. So three tokens in a row that lived less than half a second, and then a
//! fourth that lived less than two pauses, are a duel, and from then on whatever lives less than two pauses: now the pauses make
//! the lives, my own or those of the other, who may have found out first. Slower
//! than that, tokens are replaced at once all the same: they bound the exchanges by living. Only the 32nd death within
//! four minutes is a duel too, whatever the lives, and then exchanges keep the pause.
//!
//! In a duel there is at most one exchange in 0.8 to 0.9 s, so that a holder who is left alone has a good token within
//! a second; where that has gone on for eight denials the pause doubles, up to 5 s. The first refusal is
//! answered with [`ErrorKind::Duel`] while the token goes on being sent, unproven, for 50 ms: if it is accepted, it was
//! disputed and not dead. If it is refused again, nothing is sent until the pause is over.

use std::time::{Duration, Instant};

use tower_oauth_core::ErrorKind;

use super::schedule::back_off;

/// Between exchanges for tokens that are rejected at first sight, or disputed.
const FIRST_SIGHT_BASE: Duration = Duration::from_millis(1000);
const FIRST_SIGHT_CAP: Duration = Duration::from_secs(60);
/// A token that dies before is one of a duel, if it is the fourth in a row.
const YOUNG: Duration = Duration::from_millis(500);
const YOUNG_IN_A_ROW: u32 = 4;
/// So many deaths in such a time are a duel, however long the tokens lived.
const DEATHS: usize = 32;
const DEATHS_IN: Duration = Duration::from_secs(240);
/// From one exchange to the next in a duel.
const PAUSE: Duration = Duration::from_millis(900);
const PAUSE_CAP: Duration = Duration::from_secs(5);
const PAUSES_BEFORE_DOUBLING: u32 = 8;
/// So long a token that seems to be dead in a duel goes on being sent, to see whether anybody takes it.
const TRIAL: Duration = Duration::from_millis(50);
/// A token is disputed no longer if nothing has shown it for so long.
const DISPUTED_FOR: Duration = Duration::from_secs(240);
/// So many refusals in such a time without an acceptance between them: disputed or not, now it is dead. The time lets the
/// answers come of requests that were sent since the first of them.
const DEAD_AFTER_ALL: u32 = 8;
const DEAD_AFTER_ALL_FOR: Duration = Duration::from_millis(500);

/// What was spent, and what the refusals look like so far.
#[derive(Clone, Default)]
pub(super) struct Budget {
    /// When tokens died that had been accepted: the last few.
    deaths: Vec<Instant>,
    /// How many in a row died young.
    young: u32,
    duel: Option<Duel>,
    /// The current token was refused and not replaced.
    doubt: Option<Doubt>,
    /// A replay with the current token was refused; whether somebody had accepted it by then.
    rejected_again: Option<bool>,
    /// When it was last seen that a token is accepted by some and refused by others.
    disputed: Option<Instant>,
    /// No exchange before for a token that is rejected at first sight.
    next: Option<Instant>,
    streak: u32,
}

#[derive(Clone, Copy)]
struct Duel {
    /// From the last exchange to the next.
    pause: Duration,
    /// How many pauses were felt by somebody.
    denials: u32,
}

#[derive(Clone, Copy)]
struct Doubt {
    since: Instant,
    refusals: u32,
}

/// A token is refused: what the cache knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    /// Since it was issued, or since it was last in doubt.
    pub(super) accepted: bool,
    pub(super) issued: Option<Instant>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// An exchange; it is on the bill.
    Replace,
    /// None before this moment. The token goes on being sent.
    Keep(ErrorKind, Instant),
    /// The same, and what was heard of it before counts no longer.
    Doubt(ErrorKind, Instant),
    /// None before this moment, and the token is not sent either: it is dead.
    Shelve(ErrorKind, Instant),
}

impl Budget {
    pub(super) fn refuse(&mut self, refusal: Refusal, now: Instant, random: f64) -> Ruling {
        self.deaths.retain(|&death| now.saturating_duration_since(death) < DEATHS_IN);
        self.disputed =
            self.disputed.filter(|&seen| now.saturating_duration_since(seen) < DISPUTED_FOR);
        self.see(refusal.accepted, now);
        if self.disputed.is_some() {
            return self.disputed(refusal, now, random);
        }
        let was_accepted = refusal.accepted || self.rejected_again == Some(true);
        // Where tokens die young one may be dead before anybody has used it. One young death does not say that much: a
        // resource that rejects everything from some moment on begins with one.
        let is_young = self.young > 1 && self.lived(refusal, now) < self.young_age();
        if was_accepted || is_young || self.doubt.is_some() {
            return self.died(refusal, now, random);
        }
        match self.spend(now, random) {
            None => Ruling::Replace,
            Some(until) => Ruling::Keep(ErrorKind::BudgetSpent, until),
        }
    }

    /// Another token is current now: what was in doubt of the last one is not in doubt of it.
    pub(super) fn issued(&mut self) {
        (self.doubt, self.rejected_again) = (None, None);
    }

    /// A request was refused with the current token, too, right after it was refused with the last one. Whether the
    /// token is accepted later shows what that was.
    pub(super) fn rejected_again(&mut self, accepted: bool, now: Instant) {
        self.see(accepted, now);
        self.rejected_again = Some(accepted || self.rejected_again == Some(true));
    }

    /// A request was accepted with the current token after it was refused with the last one: tokens do die.
    pub(super) fn healed(&mut self) {
        self.disputed = None;
    }

    pub(super) fn is_duel(&self) -> bool {
        self.duel.is_some()
    }

    /// Until when a token that is shelved is not replaced.
    pub(super) fn pause_until(&self, issued: Option<Instant>, now: Instant) -> Option<Instant> {
        let until = issued.unwrap_or(now) + self.duel?.pause;
        (now < until).then_some(until)
    }

    /// Whether somebody has accepted the current token since it was last refused: then it is disputed.
    fn see(&mut self, accepted: bool, now: Instant) {
        if !accepted || (self.doubt.is_none() && self.rejected_again.is_none()) {
            return;
        }
        if self.disputed.is_none() {
            // The exchange that has just not settled it was the first step.
            (self.next, self.streak) = (Some(now + FIRST_SIGHT_BASE), 1);
        }
        (self.disputed, self.duel, self.young) = (Some(now), None, 0);
    }

    /// A token that dies before this age is one of a duel.
    fn young_age(&self) -> Duration {
        match self.duel {
            Some(duel) => 2 * duel.pause,
            // Where the other holder has found out first, its pause makes my token live longer.
            None if self.young + 1 >= YOUNG_IN_A_ROW => 2 * PAUSE,
            None => YOUNG,
        }
    }

    /// It worked and died, or was dead on arrival in a duel.
    fn died(&mut self, refusal: Refusal, now: Instant, random: f64) -> Ruling {
        if let Some(doubt) = self.doubt {
            return self.pause(doubt, refusal, now);
        }
        let lived = self.lived(refusal, now);
        let is_young = lived < self.young_age();
        self.young = if is_young { self.young.saturating_add(1) } else { 0 };
        let many = self.deaths.len() >= DEATHS;
        if self.young < YOUNG_IN_A_ROW && !many {
            self.duel = None;
            return self.replace(now);
        }
        let denials = self.duel.map_or(0, |duel| duel.denials);
        let doublings = denials.saturating_sub(PAUSES_BEFORE_DOUBLING).min(8);
        let step = PAUSE.saturating_mul(2_u32.pow(doublings)).min(PAUSE_CAP);
        let pause = step.mul_f64(1.0 - 0.1 * random.clamp(0.0, 1.0));
        if lived >= pause {
            // It has kept the pause by living.
            self.duel = Some(Duel { pause, denials });
            return self.replace(now);
        }
        self.duel = Some(Duel { pause, denials: denials.saturating_add(1) });
        self.doubt = Some(Doubt { since: now, refusals: 1 });
        Ruling::Doubt(ErrorKind::Duel, refusal.issued.unwrap_or(now) + pause)
    }

    /// It was refused before, and nobody has accepted it since.
    fn pause(&mut self, doubt: Doubt, refusal: Refusal, now: Instant) -> Ruling {
        match self.pause_until(refusal.issued, now) {
            None => self.replace(now),
            Some(until) if now.saturating_duration_since(doubt.since) >= TRIAL => {
                Ruling::Shelve(ErrorKind::Duel, until)
            }
            Some(until) => Ruling::Keep(ErrorKind::Duel, until),
        }
    }

    fn disputed(&mut self, refusal: Refusal, now: Instant, random: f64) -> Ruling {
        let doubt = match self.doubt {
            Some(doubt) if !refusal.accepted => {
                Doubt { refusals: doubt.refusals.saturating_add(1), ..doubt }
            }
            _ => Doubt { since: now, refusals: 1 },
        };
        self.doubt = Some(doubt);
        let is_dead = doubt.refusals >= DEAD_AFTER_ALL
            && now.saturating_duration_since(doubt.since) >= DEAD_AFTER_ALL_FOR;
        if is_dead && self.deaths.len() < DEATHS {
            return self.replace(now);
        }
        match self.spend(now, random) {
            None => Ruling::Replace,
            Some(until) if refusal.accepted => Ruling::Doubt(ErrorKind::BudgetSpent, until),
            Some(until) => Ruling::Keep(ErrorKind::BudgetSpent, until),
        }
    }

    fn replace(&mut self, now: Instant) -> Ruling {
        if self.deaths.is_empty() {
            (self.next, self.streak) = (None, 0);
        }
        if self.deaths.len() >= DEATHS {
            self.deaths.remove(0);
        }
        self.deaths.push(now);
        Ruling::Replace
    }

    /// `None`: an exchange now, and it is on the bill. Else: none before this moment.
    fn spend(&mut self, now: Instant, random: f64) -> Option<Instant> {
        if let Some(next) = self.next.filter(|&next| now < next) {
            return Some(next);
        }
        let pause = back_off(FIRST_SIGHT_BASE, FIRST_SIGHT_CAP, self.streak, random);
        self.next = Some(now + pause);
        self.streak = self.streak.saturating_add(1);
        None
    }

    fn lived(&self, refusal: Refusal, now: Instant) -> Duration {
        refusal.issued.map_or(Duration::MAX, |issued| now.saturating_duration_since(issued))
    }
}
