//! Caches by key: bounded, with a clock hand that finds one to let go.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many places are looked at for one that may go: work under a lock is bounded.
const LOOKS: usize = 64;

/// A table, and a clock hand that goes round it ("second chance"): what was used since the hand last passed
/// stays. That is nearly as good as to order all by their last use, and a use only sets a flag.
pub(super) struct Shelf<K, V> {
    capacity: usize,
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
}

struct Slot<K, V> {
    key: K,
    value: V,
    was_used: AtomicBool,
}

/// Something that may be busy, and then must not be let go.
pub(super) trait Idle {
    fn is_idle(&self) -> bool;
}

/// What is on the shelf under a key that was put there.
pub(super) enum Kept<'a, V> {
    /// This one: what was put, or what somebody else put before.
    This(&'a V),
    /// Nothing: everything that was looked at is busy.
    None,
}

impl<K: Clone + Eq + Hash, V: Idle + Clone> Shelf<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, places: HashMap::new(), slots: Vec::new(), hand: 0 }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let slot = self.slots.get(*self.places.get(key)?)?;
        // Read first: the line stays shared between cores once the answer is known.
        if !slot.was_used.load(Ordering::Relaxed) {
            slot.was_used.store(true, Ordering::Relaxed);
        }
        Some(&slot.value)
    }

    pub(super) fn put(&mut self, key: K, value: V) -> Kept<'_, V> {
        let known = self.places.get(&key).copied();
        let place = match known {
            Some(place) => place,
            None => {
                let slot = Slot { key: key.clone(), value, was_used: AtomicBool::new(false) };
                let Some(place) = self.settle(slot) else { return Kept::None };
                self.places.insert(key, place);
                place
            }
        };
        self.slots.get(place).map_or(Kept::None, |slot| Kept::This(&slot.value))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn all(&self) -> Vec<(K, V)> {
        self.slots.iter().map(|slot| (slot.key.clone(), slot.value.clone())).collect()
    }

    fn settle(&mut self, slot: Slot<K, V>) -> Option<usize> {
        if self.slots.len() < self.capacity {
            self.slots.push(slot);
            return Some(self.slots.len() - 1);
        }
        let place = self.one_that_may_go()?;
        let held = self.slots.get_mut(place)?;
        let gone = std::mem::replace(held, slot);
        self.places.remove(&gone.key);
        Some(place)
    }

    /// The first idle one that was not used lately; if all were, the first idle one.
    fn one_that_may_go(&mut self) -> Option<usize> {
        let mut used = None;
        for _ in 0..LOOKS.min(2 * self.slots.len()) {
            let place = self.hand;
            self.hand = (place + 1) % self.slots.len();
            let slot = self.slots.get(place)?;
            if !slot.value.is_idle() {
                continue;
            }
            if !slot.was_used.swap(false, Ordering::Relaxed) {
                return Some(place);
            }
            used = used.or(Some(place));
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone)]
    struct Thing(Arc<AtomicBool>);

    impl Idle for Thing {
        fn is_idle(&self) -> bool {
            !self.0.load(Ordering::Relaxed)
        }
    }

    fn thing(is_busy: bool) -> Thing {
        Thing(Arc::new(AtomicBool::new(is_busy)))
    }

    fn holds(shelf: &Shelf<u32, Thing>, key: u32) -> bool {
        shelf.places.contains_key(&key)
    }

    #[test]
    fn what_is_used_stays_and_what_is_busy_stays() {
        let mut shelf = Shelf::new(3);
        shelf.put(0, thing(true));
        shelf.put(1, thing(false));
        shelf.put(2, thing(false));
        for flood in 10..1000 {
            assert!(shelf.get(&1).is_some());
            assert!(matches!(shelf.put(flood, thing(false)), Kept::This(_)), "{flood}");
            assert!(holds(&shelf, 0) && holds(&shelf, 1) && holds(&shelf, flood), "{flood}");
            assert_eq!((shelf.len(), shelf.places.len()), (3, 3));
        }
    }

    #[test]
    fn a_shelf_of_busy_ones_takes_no_more() {
        let mut shelf = Shelf::new(2);
        let first = thing(true);
        shelf.put(0, first.clone());
        shelf.put(1, thing(true));
        assert!(matches!(shelf.put(2, thing(false)), Kept::None));
        assert!(matches!(shelf.put(1, thing(false)), Kept::This(_)), "it is there");
        first.0.store(false, Ordering::Relaxed);
        assert!(matches!(shelf.put(2, thing(false)), Kept::This(_)));
        assert!(!holds(&shelf, 0));
    }

    #[test]
    fn the_first_to_be_put_is_the_one_that_is_kept() {
        let mut shelf = Shelf::new(2);
        let first = thing(false);
        shelf.put(7, first.clone());
        match shelf.put(7, thing(false)) {
            Kept::This(kept) => assert!(Arc::ptr_eq(&kept.0, &first.0)),
            Kept::None => panic!("there is room"),
        }
    }
}
