//! Which tenants are live, and which issuers are known to be none: bounded, and never asked to wait.
//!
//! Anybody can write a tenant's name into a token. So a tenant is on trial until a token of it was let
//! in, and those on trial have a room of their own: forged tokens move no tenant that is in use. Nor
//! does one leave the trial early for another, for with it goes its budget of fetches: else two
//! names in turns would make a fetch of every forged token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Jwt;

/// How many issuers that are not trusted are remembered.
const MAX_UNKNOWN: usize = 1_000;
/// How many tenants are on trial. They have keys, and no verified tokens.
const MAX_ON_TRIAL: usize = 256;
/// For how long a tenant is on trial before another may take its place.
const TRIAL: Duration = Duration::from_secs(30);

pub(super) struct Live<C> {
    max_live: usize,
    unknown_for: Duration,
    tenants: HashMap<Arc<str>, Tenant<C>>,
    on_trial: HashMap<Arc<str>, OnTrial<C>>,
    unknown: HashMap<Arc<str>, Instant>,
    /// Counts the tokens that were let in: the time that tenants are ordered by.
    tick: u64,
}

struct Tenant<C> {
    jwt: Jwt<C>,
    /// When a token of it was last let in. Not when one last came: anybody can write a tenant's
    /// name into a token, and must not keep idle tenants live at the cost of busy ones.
    last_good: u64,
}

struct OnTrial<C> {
    jwt: Jwt<C>,
    since: Instant,
}

/// What is known of an issuer.
pub(super) enum Known<C> {
    Live(Jwt<C>),
    Unknown,
    /// The resolver has to be asked.
    Nothing,
    /// Nothing, and there is no room for one more on trial; when there will be.
    NoRoom(Duration),
}

impl<C> Live<C> {
    pub(super) fn new(max_live: usize, unknown_for: Duration) -> Self {
        let (tenants, on_trial, unknown) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { max_live, unknown_for, tenants, on_trial, unknown, tick: 0 }
    }

    pub(super) fn find(&self, issuer: &str, now: Instant) -> Known<C> {
        if let Some(jwt) = self.live(issuer) {
            return Known::Live(jwt.clone());
        }
        if self.unknown.get(issuer).is_some_and(|until| now < *until) {
            return Known::Unknown;
        }
        let first = self.on_trial.values().map(|tenant| tenant.since).min();
        match first.map(|since| (since + TRIAL).saturating_duration_since(now)) {
            Some(left) if self.on_trial.len() >= MAX_ON_TRIAL && !left.is_zero() => {
                Known::NoRoom(left)
            }
            _ => Known::Nothing,
        }
    }

    fn live(&self, issuer: &str) -> Option<&Jwt<C>> {
        let tried = self.tenants.get(issuer).map(|tenant| &tenant.jwt);
        tried.or_else(|| self.on_trial.get(issuer).map(|tenant| &tenant.jwt))
    }

    /// A token of the tenant was let in. Gives back the tenant that had to go.
    pub(super) fn good(&mut self, issuer: &str) -> Option<Jwt<C>> {
        self.tick += 1;
        if let Some(tenant) = self.tenants.get_mut(issuer) {
            tenant.last_good = self.tick;
            return None;
        }
        // It was forgotten meanwhile, if it is not on trial; then it stays so.
        let (issuer, OnTrial { jwt, .. }) = self.on_trial.remove_entry(issuer)?;
        let gone = if self.tenants.len() >= self.max_live { self.evict() } else { None };
        self.tenants.insert(issuer, Tenant { jwt, last_good: self.tick });
        gone
    }

    /// What the resolver has said. Gives back the tenant that had to go.
    pub(super) fn learn(
        &mut self,
        issuer: &Arc<str>,
        found: Option<Jwt<C>>,
        now: Instant,
    ) -> Option<Jwt<C>> {
        // Who asked a moment too late, when the answer had come, does not put a cold one in its place.
        if self.live(issuer).is_some() {
            return None;
        }
        let Some(jwt) = found else {
            // To begin anew costs a question to the resolver, whose places are bounded too.
            if self.unknown.len() >= MAX_UNKNOWN {
                self.unknown.clear();
            }
            self.unknown.insert(Arc::clone(issuer), now + self.unknown_for);
            return None;
        };
        self.unknown.remove(issuer);
        // The room may have been filled while the resolver was asked, by as many as it is asked about at a time.
        let is_full = self.on_trial.len() >= MAX_ON_TRIAL;
        let gone = if is_full { self.end_a_trial() } else { None };
        self.on_trial.insert(Arc::clone(issuer), OnTrial { jwt, since: now });
        gone
    }

    pub(super) fn remove(&mut self, issuer: &str) -> Option<Jwt<C>> {
        self.unknown.remove(issuer);
        let on_trial = self.on_trial.remove(issuer).map(|tenant| tenant.jwt);
        self.tenants.remove(issuer).map(|tenant| tenant.jwt).or(on_trial)
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.len() + self.on_trial.len()
    }

    /// The least recently useful one. A walk over all of them, for a tenant that has just cost a
    /// question to the resolver and a fetch.
    fn evict(&mut self) -> Option<Jwt<C>> {
        let least = self.tenants.iter().min_by_key(|(_, tenant)| tenant.last_good)?;
        let issuer = Arc::clone(least.0);
        self.tenants.remove(&issuer).map(|tenant| tenant.jwt)
    }

    /// The one that is on trial the longest.
    fn end_a_trial(&mut self) -> Option<Jwt<C>> {
        let first = self.on_trial.iter().min_by_key(|(_, tenant)| tenant.since)?;
        let issuer = Arc::clone(first.0);
        self.on_trial.remove(&issuer).map(|tenant| tenant.jwt)
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::{Clock, SystemClock};
    use tower_oauth_jose::{Algorithm, KeySet, VerifyingKey};

    use super::*;

    fn tenant(issuer: &str) -> Jwt {
        let key = VerifyingKey::hmac(Algorithm::HS256, [7; 32]).unwrap();
        Jwt::issuer(issuer).audience("x").keys(KeySet::from_keys([key])).build().unwrap()
    }

    #[test]
    fn a_second_answer_does_not_put_a_cold_tenant_in_the_place_of_a_warm_one() {
        let now = SystemClock.now();
        let mut live = Live::new(2, TRIAL);
        let names = ["https://a.test", "https://b.test"].map(Arc::<str>::from);
        for name in &names {
            live.learn(name, Some(tenant(name)), now);
            live.good(name);
        }
        for found in [Some(tenant(&names[0])), None] {
            assert!(live.learn(&names[0], found, now).is_none(), "nobody has to go");
        }
        assert_eq!((live.len(), live.tenants.len()), (2, 2));
        assert!(matches!(live.find(&names[0], now), Known::Live(_)));
    }

    #[test]
    fn a_tenant_that_was_forgotten_is_not_brought_back_by_a_request_on_its_way() {
        let now = SystemClock.now();
        let mut live = Live::new(2, TRIAL);
        let name = Arc::<str>::from("https://a.test");
        for is_tried in [false, true] {
            live.learn(&name, Some(tenant(&name)), now);
            if is_tried {
                live.good(&name);
            }
            assert!(live.remove(&name).is_some());
            assert!(live.good(&name).is_none());
            assert!(matches!(live.find(&name, now), Known::Nothing));
        }
    }
}
