//! The list itself: names by issuer, under a bound.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use tower_oauth_core::{Revocation, Revoked};

use super::names::{Entry, Hasher, Kind, Names};
use super::{Standing, TokenText};
use crate::Principal;

/// More issuers than anybody has tenants.
const MAX_ISSUERS: usize = 10_000;
/// The part of the room that is made at once when there is none left: work under the lock is bounded, and not done for each name.
const ROOM: usize = 64;
/// A session or a token that is dead for good becomes, where there is no room for its name, a moment up to which tokens die. An issuer's
/// clock may be so far ahead of ours (the default leeway).
const AHEAD: i64 = 30;

/// Which tokens are dead, of which issuer.
pub(super) struct List {
    capacity: usize,
    hasher: Hasher,
    issuers: HashMap<Box<str>, Names>,
    /// Of every issuer.
    all: Option<Entry>,
    /// How many names all issuers have.
    names: usize,
    /// When the last entry has outlived its use.
    over_at: Option<Instant>,
}

/// A revocation as it comes in.
pub(super) struct News<'a> {
    pub(super) what: &'a Revocation,
    pub(super) now: Instant,
    /// In seconds since 1970.
    pub(super) wall: i64,
    pub(super) life: Duration,
}

// === impl List ===

impl List {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            hasher: Hasher::default(),
            issuers: HashMap::new(),
            all: None,
            names: 0,
            over_at: None,
        }
    }

    pub(super) fn names(&self) -> usize {
        self.names
    }

    /// Whether nothing in it is of use any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.over_at.is_none_or(|end| end <= now)
    }

    /// Empties the list, and gives back what was in it, to be dropped elsewhere.
    pub(super) fn take(&mut self) -> Self {
        mem::replace(self, Self::new(self.capacity))
    }

    pub(super) fn standing(
        &self,
        principal: &Principal,
        token: TokenText<'_>,
        since: Option<Instant>,
        now: Instant,
    ) -> Standing {
        let issued_at =
            principal.issued_at.map(|at| i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
        if self.all.is_some_and(|all| all.ends_token(issued_at, now)) {
            return Standing::Revoked;
        }
        let Some(names) = self.issuers.get(principal.issuer.as_str()) else {
            return Standing::Alive;
        };
        names.standing(&self.hasher, principal, token, issued_at, since, now)
    }

    /// Takes the news in. Says how many names had to become part of an entry for a whole issuer.
    pub(super) fn learn(&mut self, news: &News<'_>) -> usize {
        let entry = news.entry();
        self.over_at = Some(self.over_at.map_or(entry.over_at, |end| end.max(entry.over_at)));
        let Some(issuer) = news.what.issuer() else {
            Entry::raise(&mut self.all, entry);
            return 0;
        };
        let Some(name) = Kind::of(news.what.what()) else {
            let Some(names) = self.names_of(issuer, news.now) else {
                Entry::raise(&mut self.all, entry);
                return 1;
            };
            names.raise_floor(entry);
            return 0;
        };
        let hash = self.hasher.hash(name);
        let is_known = self.issuers.get(issuer).is_some_and(|names| names.contains(hash));
        let collapsed = if is_known { 0 } else { self.make_room(news.now) };
        let Some(names) = self.names_of(issuer, news.now) else {
            Entry::raise(&mut self.all, entry);
            return collapsed + 1;
        };
        let is_new = names.learn(name.kind, hash, entry, news.now);
        self.names += usize::from(is_new);
        collapsed
    }

    /// The names of an issuer; `None` if there are too many issuers.
    fn names_of(&mut self, issuer: &str, now: Instant) -> Option<&mut Names> {
        if !self.issuers.contains_key(issuer) {
            if self.issuers.len() >= MAX_ISSUERS {
                self.clear_expired(now);
            }
            if self.issuers.len() >= MAX_ISSUERS {
                return None;
            }
        }
        Some(self.issuers.entry(issuer.into()).or_default())
    }

    /// Sees to it that there is room for one more name.
    fn make_room(&mut self, now: Instant) -> usize {
        if self.names < self.capacity {
            return 0;
        }
        self.clear_expired(now);
        if self.names < self.capacity {
            return 0;
        }
        // The one that has the most: a flood from one issuer costs the others nothing.
        let Some(most) = self.issuers.values_mut().max_by_key(|names| names.len()) else {
            return 0;
        };
        let collapsed = most.collapse((self.capacity / ROOM).max(1));
        self.names -= collapsed;
        collapsed
    }

    fn clear_expired(&mut self, now: Instant) {
        let mut gone = 0;
        self.issuers.retain(|_, names| {
            gone += names.clear_expired(now);
            !names.is_empty()
        });
        self.names -= gone;
        self.all = self.all.filter(|all| now < all.over_at);
    }
}

// === impl News ===

impl News<'_> {
    fn entry(&self) -> Entry {
        let is_for_good = matches!(
            self.what.what(),
            Revoked::Token(_) | Revoked::TokenId(_) | Revoked::Session(_)
        );
        let (issued_until, collapses_to) = match self.what.moment() {
            Some(moment) => (moment, moment),
            None if is_for_good => (i64::MAX, self.wall.saturating_add(AHEAD)),
            None => (self.wall, self.wall),
        };
        // A moment that lies ahead concerns tokens that are yet to be issued, and live on from there.
        let ahead = self.what.moment().map_or(0, |moment| moment.saturating_sub(self.wall));
        let ahead = u64::try_from(ahead).unwrap_or(0);
        let life = self.life.saturating_add(Duration::from_secs(ahead).min(self.life));
        let over_at = self.now.checked_add(life).unwrap_or(self.now);
        Entry { issued_until, collapses_to, over_at }
    }
}
