//! Who may fetch, and when; and what must not come back with a fetch that was in the air.

use std::sync::Arc;

use tower_oauth_core::ErrorKind;

use super::fetch::Why;
use super::limiter::{Absent, Misses, Refresh};
use super::snapshot::Snapshot;

/// Who may fetch, and when.
#[derive(Default)]
pub(super) struct Gate {
    /// The number of the last fetch that was set off.
    pub(super) started: u64,
    pub(super) in_air: Option<(u64, Why)>,
    pub(super) misses: Misses,
    /// For a set that grows old.
    pub(super) refresh: Refresh,
    /// For a set that is not there.
    pub(super) first: Refresh,
    pub(super) absent: Absent,
    pub(super) last_error: Option<ErrorKind>,
    /// How often the keys have changed, also while there were none: a number never comes twice.
    pub(super) generation: u64,
    pub(super) dropped: Dropped,
    /// A set of the snapshot file that is past its freshness: for when the issuer does not answer.
    pub(super) fallback: Option<Arc<Snapshot>>,
}

/// What was dropped by hand. A fetch that was set off before that must not bring it back.
#[derive(Debug, Default)]
pub(super) enum Dropped {
    #[default]
    Nothing,
    /// These keys, by fetches up to that number. No more than a set has, since only a key of the set
    /// is dropped.
    Keys { kids: Vec<Box<str>>, before: u64 },
    /// All, by fetches up to that number.
    All { before: u64 },
}

// === impl Gate ===

impl Gate {
    /// The flight ended without a word; whoever comes next may lead at once.
    pub(super) fn lost(&mut self, seq: u64) {
        if let Some((_, why)) = self.in_air.take_if(|(in_air, _)| *in_air == seq) {
            match why {
                Why::Miss(spent) => self.misses.give_back(spent),
                Why::First => self.first.clear(),
                Why::Refresh => self.refresh.clear(),
                Why::Manual | Why::Join => {}
            }
        }
    }

    pub(super) fn healed(&mut self) {
        self.misses.healed();
        self.first.clear();
        self.refresh.clear();
        self.last_error = None;
    }
}

// === impl Dropped ===

impl Dropped {
    pub(super) fn key(&mut self, kid: &str, started: u64) {
        match self {
            // Whoever drops all has dropped the key, too.
            Self::All { before } => *before = started,
            Self::Keys { kids, before } => {
                kids.push(kid.into());
                *before = started;
            }
            Self::Nothing => *self = Self::Keys { kids: vec![kid.into()], before: started },
        }
    }

    pub(super) fn all(&mut self, started: u64) {
        *self = Self::All { before: started };
    }

    /// The fetch `seq` has landed: what it must not bring. A fetch from after the drop ends it.
    pub(super) fn by(&mut self, seq: u64) -> &Self {
        let (Self::Keys { before, .. } | Self::All { before }) = self else { return self };
        if seq > *before {
            *self = Self::Nothing;
        }
        self
    }
}
