//! The memory of proofs: each is good once.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::{BoxFuture, Error, ErrorKind};

/// How many expired entries a call clears away. More than it adds, so that the memory shrinks; few, so that no call pays for a whole
/// flood.
const CLEARED_AT_ONCE: usize = 4;

/// Remembers proofs for as long as they could be used again: the seam for a memory that several machines share.
///
/// The default is a bounded one in this process. Nothing of the client's is handed on: a [`ProofId`] is a keyed digest.
pub trait ReplayStore: Send + Sync + 'static {
    /// Remembers a proof for at least `life` from `now` (on the monotonic clock), and says whether it was known: one step, or two requests
    /// that race would both be the first.
    ///
    /// An error refuses the request with 503: what cannot be remembered is not let in.
    fn remember(&self, proof: ProofId, life: Duration, now: Instant) -> Remember;
}

/// The answer of a [`ReplayStore`].
#[non_exhaustive]
pub enum Remember {
    /// Known at once.
    Now(Result<Seen, Error>),
    /// Somebody has to be asked.
    Later(BoxFuture<Result<Seen, Error>>),
}

/// Whether a proof was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seen {
    /// This is the first time.
    First,
    /// It was used before.
    Before,
}

/// A keyed digest (HMAC-SHA-256) of a proof's key and `jti`.
///
/// The key of the digest is made anew in each process, unless a [secret](crate::DpopBuilder::shared_secret) is given: so nobody
/// can choose where in a table a proof will stand. Machines that share a store have to share the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 32]);

impl ProofId {
    pub(super) const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 32 bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl<R: ReplayStore + ?Sized> ReplayStore for Arc<R> {
    fn remember(&self, proof: ProofId, life: Duration, now: Instant) -> Remember {
        (**self).remember(proof, life, now)
    }
}

impl fmt::Debug for Remember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(seen) => f.debug_tuple("Now").field(seen).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// The memory of one process. When it is full it takes nothing more until something expires.
pub(super) struct MemoryStore {
    capacity: usize,
    proofs: Mutex<Proofs>,
}

#[derive(Default)]
struct Proofs {
    known: HashSet<ProofId>,
    /// All lives are equally long, so the first one in is the first to expire.
    by_age: VecDeque<(Instant, ProofId)>,
}

impl MemoryStore {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, proofs: Mutex::default() }
    }
}

impl ReplayStore for MemoryStore {
    fn remember(&self, proof: ProofId, life: Duration, now: Instant) -> Remember {
        // Nothing in the critical section can leave the two halves apart, and nothing in it panics.
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        Remember::Now(proofs.remember(proof, life, now, self.capacity))
    }
}

impl Proofs {
    fn remember(
        &mut self,
        proof: ProofId,
        life: Duration,
        now: Instant,
        capacity: usize,
    ) -> Result<Seen, Error> {
        for _ in 0..CLEARED_AT_ONCE {
            let Some(&(end, old)) = self.by_age.front() else { break };
            if end > now {
                break;
            }
            self.by_age.pop_front();
            self.known.remove(&old);
        }
        if self.known.contains(&proof) {
            return Ok(Seen::Before);
        }
        if self.known.len() >= capacity {
            let first_end = self.by_age.front().map(|(end, _)| end.saturating_duration_since(now));
            return Err(Error::new(ErrorKind::Full).with_retry_after(first_end));
        }
        let Some(end) = now.checked_add(life) else { return Err(ErrorKind::Full.into()) };
        self.known.insert(proof);
        self.by_age.push_back((end, proof));
        Ok(Seen::First)
    }
}

#[cfg(test)]
mod tests {
    use tower_oauth_core::Clock as _;
    use tower_oauth_test::ManualClock;

    use super::*;

    const LIFE: Duration = Duration::from_secs(65);

    fn proof(number: u64) -> ProofId {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        ProofId::new(digest)
    }

    fn ask(store: &MemoryStore, number: u64, now: Instant) -> Result<Seen, ErrorKind> {
        match store.remember(proof(number), LIFE, now) {
            Remember::Now(seen) => seen.map_err(|error| error.kind()),
            Remember::Later(_) => panic!("the memory of this process asks nobody"),
        }
    }

    #[test]
    fn d03_a_proof_is_new_once_in_its_life() {
        let (store, clock) = (MemoryStore::new(10), ManualClock::new());
        assert_eq!(ask(&store, 1, clock.now()), Ok(Seen::First));
        assert_eq!(ask(&store, 1, clock.now()), Ok(Seen::Before));
        assert_eq!(ask(&store, 2, clock.now()), Ok(Seen::First));
        clock.advance(LIFE - Duration::from_millis(1));
        assert_eq!(ask(&store, 1, clock.now()), Ok(Seen::Before));
        clock.advance(Duration::from_millis(1));
        // By then its own time refuses it; the memory has let it go.
        assert_eq!(ask(&store, 1, clock.now()), Ok(Seen::First));
    }

    #[test]
    fn d03_a_flood_fills_the_memory_and_forgets_nothing() {
        let (store, clock) = (MemoryStore::new(100), ManualClock::new());
        for number in 0..100 {
            assert_eq!(ask(&store, number, clock.now()), Ok(Seen::First));
        }
        for number in 100..10_000 {
            assert_eq!(ask(&store, number, clock.now()), Err(ErrorKind::Full));
        }
        assert_eq!(ask(&store, 0, clock.now()), Ok(Seen::Before));
        assert_eq!(store.proofs.lock().unwrap().by_age.len(), 100);
        clock.advance(LIFE);
        for number in 0..1_000 {
            let seen = ask(&store, 10_000 + number, clock.now());
            assert_eq!(seen.is_ok(), number < 100, "{number}");
        }
        let proofs = store.proofs.lock().unwrap();
        assert_eq!((proofs.known.len(), proofs.by_age.len()), (100, 100));
    }

    #[test]
    fn d03_a_full_memory_says_when_there_will_be_room() {
        let (store, clock) = (MemoryStore::new(1), ManualClock::new());
        assert_eq!(ask(&store, 1, clock.now()), Ok(Seen::First));
        clock.advance(Duration::from_secs(60));
        let Remember::Now(Err(error)) = store.remember(proof(2), LIFE, clock.now()) else {
            panic!("the memory is full");
        };
        assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    }
}
