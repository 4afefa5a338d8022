//! A bounded table without a clock: what was not asked for in a long while goes first.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::key::Key;

/// From this size on the table is cut into shards, so that requests seldom meet at a lock.
const SHARDED_FROM: usize = 1024;
const SHARDS: usize = 16;

/// Entries by key, at most so many. Each lock is held for one look-up.
///
/// A shard has a young and an old half. What is put in or asked for goes to the young one; when that is
/// full it becomes the old one, and what was still in the old one is gone. So making room costs nothing
/// per entry, and there is no list to keep in order.
pub(super) struct Table<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    /// The most entries of one half.
    half: usize,
}

struct Shard<V> {
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
}

impl<V: Clone> Table<V> {
    pub(super) fn new(max_entries: usize) -> Self {
        let count = if max_entries >= SHARDED_FROM { SHARDS } else { 1 };
        let shards = (0..count)
            .map(|_| Mutex::new(Shard { young: HashMap::new(), old: HashMap::new() }))
            .collect();
        Self { shards, half: (max_entries / count / 2).max(1) }
    }

    pub(super) fn find(&self, key: &Key) -> Option<V> {
        let mut shard = self.shard(key)?;
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let value = shard.old.remove(key)?;
        let gone = shard.put(*key, value.clone(), self.half);
        drop(shard);
        drop(gone);
        Some(value)
    }

    pub(super) fn put(&self, key: Key, value: V) {
        let Some(mut shard) = self.shard(&key) else { return };
        let before = shard.old.remove(&key);
        let gone = shard.put(key, value, self.half);
        // What runs when many entries are dropped does not run under the lock.
        drop(shard);
        drop((before, gone));
    }

    pub(super) fn remove(&self, key: &Key) {
        let Some(mut shard) = self.shard(key) else { return };
        let gone = (shard.young.remove(key), shard.old.remove(key));
        drop(shard);
        drop(gone);
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let gone = (mem::take(&mut shard.young), mem::take(&mut shard.old));
            drop(shard);
            drop(gone);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(lock).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard<V>>> {
        self.shards.get(key.shard(self.shards.len())).map(lock)
    }
}

impl<V> Shard<V> {
    fn put(&mut self, key: Key, value: V, half: usize) -> Option<HashMap<Key, V>> {
        let gone = if self.young.len() >= half && !self.young.contains_key(&key) {
            let full = mem::take(&mut self.young);
            Some(mem::replace(&mut self.old, full))
        } else {
            None
        };
        self.young.insert(key, value);
        gone
    }
}

/// Nothing that can panic runs under these locks.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::key::Keys;
    use super::*;

    fn keys(count: usize) -> Vec<Key> {
        let keys = Keys::new("e", "c").unwrap();
        (0..count).map(|n| keys.of(&n.to_string())).collect()
    }

    #[test]
    fn d09_the_table_is_bounded_whatever_comes() {
        for max in [1, 2, 3, 10, 1023, 1024, 5000] {
            let table = Table::new(max);
            for key in keys(20_000) {
                table.put(key, ());
                assert!(table.len() <= max.max(2), "{max}: {}", table.len());
            }
            assert!(table.len() >= max / 3, "{max}: {} is a table of nothing", table.len());
        }
    }

    #[test]
    fn what_is_asked_for_outlives_a_flood() {
        let table = Table::new(100);
        let keys = keys(10_000);
        let (busy, flood) = keys.split_first().unwrap();
        table.put(*busy, "busy");
        for key in flood {
            table.put(*key, "flood");
            assert_eq!(table.find(busy), Some("busy"));
        }
        assert_eq!(table.find(&flood[0]), None);
    }

    #[test]
    fn a_key_has_one_value_wherever_it_stands() {
        let table = Table::new(4);
        let keys = keys(4);
        let [a, b, c, d] = keys[..] else { panic!("four keys") };
        table.put(a, 1);
        table.put(b, 1);
        table.put(c, 1);
        // `a` is in the old half now.
        table.put(a, 2);
        assert_eq!((table.find(&a), table.len()), (Some(2), 3));
        table.remove(&a);
        assert_eq!(table.find(&a), None);
        table.put(d, 1);
        table.clear();
        assert_eq!((table.len(), table.find(&d)), (0, None));
    }
}
