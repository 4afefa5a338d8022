//! The names that are dead at one issuer.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use tower_oauth_core::Revoked;

use super::{Standing, TokenText};
use crate::Principal;

/// Up to which moment the tokens under a name are dead.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Those that were issued at or before this second die.
    pub(super) issued_until: i64,
    /// The same where the name is lost, and the moment has to stand for it.
    pub(super) collapses_to: i64,
    /// By then they have all expired.
    pub(super) over_at: Instant,
}

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Token,
    TokenId,
    Session,
    Subject,
    Sessionless,
    Client,
}

/// A name as it came.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) kind: Kind,
    text: &'a [u8],
}

/// Makes 128 bits out of a name, under keys that are drawn at random for each list.
///
/// Two names that share them would end the tokens of somebody else; with ten million names and as many requests a second that is to be
/// expected once in 10^17 years. Nobody outside can look for such names, since nobody sees the keys or the hashes.
#[derive(Default)]
pub(super) struct Hasher([RandomState; 2]);

/// The names of one issuer.
#[derive(Default)]
pub(super) struct Names {
    dead: HashMap<u128, Entry>,
    /// When each came in, oldest first. A name that was told anew is in it twice; the one whose end is the entry's counts.
    by_age: VecDeque<(Instant, u128)>,
    /// For all tokens of the issuer.
    floor: Option<Entry>,
    /// When something of each kind was last revoked.
    last: [Option<Instant>; Kind::ALL.len()],
}

// === impl Entry ===

impl Entry {
    /// Whether it ends a token that was issued then. One that does not say when is taken for an old one.
    pub(super) fn ends_token(self, issued_at: Option<i64>, now: Instant) -> bool {
        now < self.over_at && issued_at.is_none_or(|at| at <= self.issued_until)
    }

    /// Both what was there and what comes.
    pub(super) fn raise(there: &mut Option<Self>, more: Self) {
        *there = Some(there.map_or(more, |there| Self {
            issued_until: there.issued_until.max(more.issued_until),
            collapses_to: there.collapses_to.max(more.collapses_to),
            over_at: there.over_at.max(more.over_at),
        }));
    }
}

// === impl Kind ===

impl Kind {
    const ALL: [Self; 6] =
        [Self::Token, Self::TokenId, Self::Session, Self::Subject, Self::Sessionless, Self::Client];

    /// `None` for what concerns the whole issuer, and for what there is no name for here: it fails closed.
    pub(super) fn of(revoked: &Revoked) -> Option<Name<'_>> {
        let (kind, text) = match revoked {
            Revoked::Token(digest) => (Self::Token, digest.as_slice()),
            Revoked::TokenId(id) => (Self::TokenId, id.as_bytes()),
            Revoked::Session(id) => (Self::Session, id.as_bytes()),
            Revoked::Subject(subject) => (Self::Subject, subject.as_bytes()),
            Revoked::Sessionless(subject) => (Self::Sessionless, subject.as_bytes()),
            Revoked::Client(id) => (Self::Client, id.as_bytes()),
            _ => return None,
        };
        Some(Name { kind, text })
    }
}

// === impl Hasher ===

impl Hasher {
    pub(super) fn hash(&self, name: Name<'_>) -> u128 {
        let [high, low] = self.0.each_ref().map(|state| state.hash_one((name.kind, name.text)));
        (u128::from(high) << 64) | u128::from(low)
    }
}

// === impl Names ===

impl Names {
    pub(super) fn len(&self) -> usize {
        self.dead.len()
    }

    pub(super) fn contains(&self, hash: u128) -> bool {
        self.dead.contains_key(&hash)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.floor.is_none()
    }

    pub(super) fn standing(
        &self,
        hasher: &Hasher,
        principal: &Principal,
        token: TokenText<'_>,
        issued_at: Option<i64>,
        since: Option<Instant>,
        now: Instant,
    ) -> Standing {
        if self.floor.is_some_and(|floor| floor.ends_token(issued_at, now)) {
            return Standing::Revoked;
        }
        let mut standing = Standing::Alive;
        for kind in Kind::ALL {
            // What was never revoked here need not be looked for, let alone be digested.
            let Some(last) = self.last.get(kind as usize).copied().flatten() else { continue };
            // Its issuer is asked about it anew instead, since the session is told along with this.
            if kind == Kind::Sessionless && (principal.session_id.is_some() || since.is_some()) {
                continue;
            }
            let hash = |text: &[u8]| hasher.hash(Name { kind, text });
            let name = match kind {
                Kind::Token => Some(hash(&token.sha256())),
                Kind::TokenId => principal.token_id.as_deref().map(|id| hash(id.as_bytes())),
                Kind::Session => principal.session_id.as_deref().map(|id| hash(id.as_bytes())),
                Kind::Subject | Kind::Sessionless => {
                    principal.subject.as_deref().map(|sub| hash(sub.as_bytes()))
                }
                Kind::Client => principal.client_id.as_deref().map(|id| hash(id.as_bytes())),
            };
            let Some(name) = name else {
                if since.is_some_and(|since| since <= last) {
                    standing = Standing::Unclear;
                }
                continue;
            };
            if self.dead.get(&name).is_some_and(|entry| entry.ends_token(issued_at, now)) {
                return Standing::Revoked;
            }
        }
        standing
    }

    /// Says whether the name is a new one.
    pub(super) fn learn(&mut self, kind: Kind, hash: u128, news: Entry, now: Instant) -> bool {
        if let Some(last) = self.last.get_mut(kind as usize) {
            *last = Some(now);
        }
        let known = self.dead.get(&hash).copied();
        // An entry lives from the moment that it ends tokens up to; one that ends no more than before has nothing to add.
        if known.is_some_and(|known| {
            news.collapses_to <= known.collapses_to && news.issued_until <= known.issued_until
        }) {
            return false;
        }
        let mut entry = known;
        Entry::raise(&mut entry, news);
        let entry = entry.unwrap_or(news);
        self.dead.insert(hash, entry);
        if known.is_none_or(|known| known.over_at != entry.over_at) {
            self.by_age.push_back((entry.over_at, hash));
        }
        if self.by_age.len() > 2 * self.dead.len() + 16 {
            let dead = &self.dead;
            self.by_age.retain(|(end, name)| is_current(dead, *end, *name));
        }
        known.is_none()
    }

    pub(super) fn raise_floor(&mut self, news: Entry) {
        Entry::raise(&mut self.floor, news);
    }

    /// Makes one entry for the whole issuer out of so many names, the oldest ones. Says how many there were.
    pub(super) fn collapse(&mut self, names: usize) -> usize {
        let mut collapsed = 0;
        while collapsed < names
            && let Some((end, name)) = self.by_age.pop_front()
        {
            if is_current(&self.dead, end, name)
                && let Some(entry) = self.dead.remove(&name)
            {
                let issued_until = entry.collapses_to;
                Entry::raise(&mut self.floor, Entry { issued_until, ..entry });
                collapsed += 1;
            }
        }
        collapsed
    }

    /// Says how many names were cleared away.
    pub(super) fn clear_expired(&mut self, now: Instant) -> usize {
        let before = self.dead.len();
        while let Some((end, name)) = self.by_age.front().copied().filter(|(end, _)| *end <= now) {
            self.by_age.pop_front();
            if is_current(&self.dead, end, name) {
                self.dead.remove(&name);
            }
        }
        self.floor = self.floor.filter(|floor| now < floor.over_at);
        before - self.dead.len()
    }
}

fn is_current(dead: &HashMap<u128, Entry>, end: Instant, name: u128) -> bool {
    dead.get(&name).is_some_and(|entry| entry.over_at == end)
}
