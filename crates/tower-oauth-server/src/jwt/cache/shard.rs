use std::collections::HashMap;

use super::{Digest, Entry};

/// How many entries are looked at for one that may go: work under a lock is bounded.
const LOOKS: usize = 32;

/// A part of the cache: a table, and a clock hand that goes round it ("second chance").
///
/// An entry that was hit since the hand last passed stays. That is nearly as good as to order all
/// by their last use, and a hit only sets a flag.
pub(super) struct Shard<C> {
    capacity: usize,
    /// Keyed at random by the standard library, so that digests choose no place that can be foreseen.
    places: HashMap<Digest, usize>,
    slots: Vec<Option<Slot<C>>>,
    free: Vec<usize>,
    hand: usize,
}

struct Slot<C> {
    digest: Digest,
    entry: Entry<C>,
    was_hit: bool,
}

impl<C> Shard<C> {
    pub(super) fn new(capacity: usize) -> Self {
        let (slots, free) = (Vec::new(), Vec::new());
        Self { capacity, places: HashMap::new(), slots, free, hand: 0 }
    }

    pub(super) fn get(&mut self, digest: &Digest) -> Option<&mut Entry<C>> {
        let slot = self.slots.get_mut(*self.places.get(digest)?)?.as_mut()?;
        slot.was_hit = true;
        Some(&mut slot.entry)
    }

    pub(super) fn remove(&mut self, digest: &Digest) -> Option<Entry<C>> {
        let place = self.places.remove(digest)?;
        let slot = self.slots.get_mut(place)?.take()?;
        self.free.push(place);
        Some(slot.entry)
    }

    /// Gives back the entry whose place was taken, so that the caller can drop it elsewhere.
    pub(super) fn insert(&mut self, digest: Digest, entry: Entry<C>, now: i64) -> Option<Entry<C>> {
        let known = self.places.get(&digest).copied();
        let place = known.or_else(|| self.free.pop()).unwrap_or_else(|| self.next(now));
        let slot = self.slots.get_mut(place)?.replace(Slot { digest, entry, was_hit: false });
        if let Some(gone) = &slot {
            self.places.remove(&gone.digest);
        }
        self.places.insert(digest, place);
        slot.map(|slot| slot.entry)
    }

    /// A new place, or the place of an entry that has to go.
    fn next(&mut self, now: i64) -> usize {
        if self.slots.len() < self.capacity {
            self.slots.push(None);
            return self.slots.len() - 1;
        }
        for _ in 0..LOOKS {
            let place = self.advance();
            match self.slots.get_mut(place) {
                Some(Some(slot)) if slot.was_hit && now < slot.entry.until => slot.was_hit = false,
                _ => return place,
            }
        }
        self.advance()
    }

    fn advance(&mut self) -> usize {
        let place = self.hand;
        self.hand = (place + 1) % self.capacity.max(1);
        place
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_jose::{Algorithm, KeySet};

    use super::super::digest::Digester;
    use super::super::{Standing, VerifiedTokenCache, VerifiedTokens};
    use super::*;
    use crate::{Caller, Principal};

    const ED25519: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn entry(until: i64) -> Entry<i64> {
        let principal = Principal::new("https://idp.example", std::time::Duration::ZERO);
        let keys = KeySet::from_jwks(ED25519).unwrap();
        let key = keys.keys()[0].thumbprint();
        let algorithm = Algorithm::EdDSA;
        let standing = Standing { kid: Some("a".into()), algorithm, key, generation: 1 };
        Entry { caller: Caller::new(principal, until), from: 0, until, standing }
    }

    fn held(shard: &Shard<i64>) -> usize {
        shard.slots.iter().flatten().count()
    }

    #[test]
    fn d09_it_never_holds_more_than_it_may() {
        let digester = Digester::new().unwrap();
        let mut shard = Shard::new(8);
        for n in 0..1_000_i64 {
            let digest = digester.digest(&n.to_be_bytes()).unwrap();
            shard.insert(digest, entry(100), 0);
            if n % 3 == 0 {
                assert!(shard.remove(&digest).is_some());
            } else {
                assert_eq!(*shard.get(&digest).unwrap().caller.claims, 100);
            }
            assert!(held(&shard) <= 8 && shard.slots.len() <= 8);
            assert_eq!(shard.places.len(), held(&shard));
        }
    }

    #[test]
    fn what_was_hit_stays_before_what_was_not_and_the_dead_go_first() {
        let digester = Digester::new().unwrap();
        let digest = |n: i64| digester.digest(&n.to_be_bytes()).unwrap();
        let mut shard = Shard::new(4);
        for n in 0..4 {
            shard.insert(digest(n), entry(if n == 3 { 5 } else { 100 }), 0);
        }
        for n in [0, 1, 3] {
            shard.get(&digest(n)).unwrap();
        }
        shard.insert(digest(4), entry(100), 10);
        assert!(shard.get(&digest(2)).is_none(), "it was not hit");
        shard.insert(digest(5), entry(100), 10);
        assert!(shard.get(&digest(3)).is_none(), "it was hit, and is dead");
        for n in [0, 1, 4, 5] {
            assert!(shard.get(&digest(n)).is_some(), "{n}");
        }
    }

    #[test]
    fn a_token_that_comes_again_takes_its_own_place() {
        let digester = Digester::new().unwrap();
        let digest = digester.digest(b"token").unwrap();
        let mut shard = Shard::new(2);
        for until in 1..10 {
            shard.insert(digest, entry(until), 0);
            assert_eq!((held(&shard), shard.places.len()), (1, 1));
            assert_eq!(shard.get(&digest).unwrap().until, until);
        }
    }

    #[test]
    fn case_58_the_window_of_an_entry_is_asked_on_every_hit() {
        let cache = VerifiedTokens::new(VerifiedTokenCache::new()).unwrap();
        let keys = KeySet::from_jwks(ED25519).unwrap();
        let digest = cache.digest("token").unwrap();
        cache.put(digest, Entry { from: 10, ..entry(20) }, 15);
        for (now, hit) in [(15, true), (9, false), (10, true), (19, true), (20, false), (19, false)]
        {
            assert_eq!(cache.get(&digest, now, &keys, 1).is_some(), hit, "{now}");
        }
        cache.put(digest, entry(20), 20);
        assert!(cache.get(&digest, 19, &keys, 1).is_none(), "what is dead is not remembered");
    }

    #[test]
    fn a_room_of_nothing_or_of_everything_is_refused() {
        for entries in [0, 10_000_001, usize::MAX] {
            let error = VerifiedTokens::<()>::new(VerifiedTokenCache::new().entries(entries));
            let text = error.err().unwrap().to_string();
            assert!(text.contains(&entries.to_string()), "{text}");
        }
    }
}
