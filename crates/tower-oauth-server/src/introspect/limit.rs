//! How many questions may be in the air, and how many more may wait.

use tokio::sync::{Semaphore, SemaphorePermit};

/// For each question that may be in the air, so many may wait for their turn.
const QUEUE: usize = 16;

/// Two queues, and a share of the turns that only one of them has.
///
/// Anybody can make up tokens, and each of them is worth a question. They must not keep the server from asking about those whose
/// verdict has just gone out of date.
pub(super) struct Limit {
    in_air: Semaphore,
    /// Fewer than are in the air, where there is more than a handful.
    strangers: Semaphore,
    known_places: Semaphore,
    stranger_places: Semaphore,
}

/// Of which kind a token is.
#[derive(Clone, Copy)]
pub(super) enum Sort {
    /// Active when it was last asked about.
    Known,
    Stranger,
}

/// A question may be asked for as long as this is held.
pub(super) struct Turn<'a> {
    _of_all: SemaphorePermit<'a>,
    _of_strangers: Option<SemaphorePermit<'a>>,
}

impl Limit {
    pub(super) fn new(max_concurrency: usize) -> Self {
        let places = max_concurrency.saturating_mul(QUEUE + 1).min(Semaphore::MAX_PERMITS);
        Self {
            in_air: Semaphore::new(max_concurrency),
            strangers: Semaphore::new(max_concurrency - max_concurrency / 4),
            known_places: Semaphore::new(places),
            stranger_places: Semaphore::new(places),
        }
    }

    /// A place in the queue, if there is one.
    pub(super) fn place(&self, sort: Sort) -> Option<SemaphorePermit<'_>> {
        let places = match sort {
            Sort::Known => &self.known_places,
            Sort::Stranger => &self.stranger_places,
        };
        places.try_acquire().ok()
    }

    /// Strangers wait for each other first, so that a known token meets few of them in the queue for the turn itself, which is fair.
    pub(super) async fn turn(&self, sort: Sort) -> Option<Turn<'_>> {
        let of_strangers = match sort {
            Sort::Known => None,
            Sort::Stranger => Some(self.strangers.acquire().await.ok()?),
        };
        let of_all = self.in_air.acquire().await.ok()?;
        Some(Turn { _of_all: of_all, _of_strangers: of_strangers })
    }
}
