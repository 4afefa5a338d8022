//! Which tenants are live, and which issuers are known to be none: bounded, and never asked to wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Jwt;

/// How many issuers that are not trusted are remembered.
const MAX_UNKNOWN: usize = 1_000;

pub(super) struct Live<C> {
    max_live: usize,
    unknown_for: Duration,
    tenants: HashMap<Arc<str>, Tenant<C>>,
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

/// What is known of an issuer.
pub(super) enum Known<C> {
    Live(Jwt<C>),
    Unknown,
    /// The resolver has to be asked.
    Nothing,
}

impl<C> Live<C> {
    pub(super) fn new(max_live: usize, unknown_for: Duration) -> Self {
        let (tenants, unknown) = (HashMap::new(), HashMap::new());
        Self { max_live, unknown_for, tenants, unknown, tick: 0 }
    }

    pub(super) fn find(&self, issuer: &str, now: Instant) -> Known<C> {
        if let Some(tenant) = self.tenants.get(issuer) {
            return Known::Live(tenant.jwt.clone());
        }
        match self.unknown.get(issuer) {
            Some(until) if now < *until => Known::Unknown,
            _ => Known::Nothing,
        }
    }

    /// A token of the tenant was let in.
    pub(super) fn good(&mut self, issuer: &str) {
        if let Some(tenant) = self.tenants.get_mut(issuer) {
            self.tick += 1;
            tenant.last_good = self.tick;
        }
    }

    /// What the resolver has said. Gives back the tenant that had to go.
    pub(super) fn learn(
        &mut self,
        issuer: &Arc<str>,
        found: Option<Jwt<C>>,
        now: Instant,
    ) -> Option<Jwt<C>> {
        let Some(jwt) = found else {
            // To begin anew costs a question to the resolver, whose places are bounded too.
            if self.unknown.len() >= MAX_UNKNOWN {
                self.unknown.clear();
            }
            self.unknown.insert(Arc::clone(issuer), now + self.unknown_for);
            return None;
        };
        self.unknown.remove(issuer);
        let gone = if self.tenants.len() >= self.max_live { self.evict() } else { None };
        // Behind all that have let somebody in, until it does so itself.
        self.tenants.insert(Arc::clone(issuer), Tenant { jwt, last_good: 0 });
        gone
    }

    pub(super) fn remove(&mut self, issuer: &str) -> Option<Jwt<C>> {
        self.unknown.remove(issuer);
        self.tenants.remove(issuer).map(|tenant| tenant.jwt)
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.len()
    }

    /// The least recently useful one. A walk over all of them, for a tenant that has just cost a
    /// question to the resolver.
    fn evict(&mut self) -> Option<Jwt<C>> {
        let least = self.tenants.iter().min_by_key(|(_, tenant)| tenant.last_good)?;
        let issuer = Arc::clone(least.0);
        self.tenants.remove(&issuer).map(|tenant| tenant.jwt)
    }
}
