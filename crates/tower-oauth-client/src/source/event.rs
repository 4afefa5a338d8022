use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tower_oauth_core::{ErrorKind, Flush, TokenId};

/// What happened to the token of a [`TokenCache`](crate::TokenCache).
///
/// No token text is in it. What happens to each of many requests alike (a late rejection, a spent budget) is told
/// once for each token or each pause; the counters of the feature `metrics` count every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEvent {
    /// There was no token, or none that could be sent; now there is.
    Issued {
        /// The new token.
        token: TokenId,
        /// Its life, as the server says.
        expires_in: Option<Duration>,
    },
    /// The token was renewed ahead of its end.
    Refreshed {
        /// The new token.
        token: TokenId,
        /// Its life, as the server says.
        expires_in: Option<Duration>,
    },
    /// The token that was rejected has been replaced.
    Replaced {
        /// The new token.
        token: TokenId,
        /// The one that was rejected.
        rejected: TokenId,
        /// The life of the new one, as the server says.
        expires_in: Option<Duration>,
    },
    /// A resource has rejected the token, and an exchange is made for another.
    Rejected {
        /// The rejected token.
        token: TokenId,
        /// Whether a resource had accepted it: it died. Else it was rejected at first sight.
        was_accepted: bool,
    },
    /// A request that was rejected was sent again with another token, and accepted. Its caller noticed nothing.
    Healed {
        /// The token that was accepted.
        token: TokenId,
    },
    /// A request was sent again with another token, and rejected again.
    RejectedAgain {
        /// The token that was rejected, too.
        token: TokenId,
    },
    /// An older token was rejected when this one was there already: no exchange.
    LateRejectionIgnored {
        /// The token that is current.
        token: TokenId,
    },
    /// A token was rejected on a request that cannot be sent again.
    NotReplayable {
        /// The rejected token.
        token: TokenId,
    },
    /// Tokens are rejected at first sight, or by one resource and not by another: no exchange for now.
    BudgetSpent {
        /// When the next one may be made.
        retry_in: Duration,
    },
    /// Tokens that worked die soon after each exchange: another holder of the same account is active.
    DuelSuspected {
        /// When the next exchange may be made.
        retry_in: Duration,
    },
    /// In place of the rejected token the source gave the same one again.
    SameTokenAgain {
        /// The token.
        token: TokenId,
    },
    /// An exchange failed, with all its tries.
    ExchangeFailed {
        /// What went wrong.
        kind: ErrorKind,
        /// When the next one may be made.
        retry_in: Duration,
    },
    /// A request was for an origin that the token is not meant for.
    OriginRefused,
    /// The token was dropped by [`TokenCache::flush`](crate::TokenCache::flush), or by a policy that said how far
    /// a rejection reaches.
    Flushed {
        /// How far; `None` if it was by hand.
        by: Option<Flush>,
    },
    /// This receiver was too slow: so many events were dropped.
    Missed {
        /// How many.
        events: u64,
    },
}

/// The events of a [`TokenCache`](crate::TokenCache), from the moment of
/// [`subscribe`](crate::TokenCache::subscribe) on.
///
/// The last [`CAPACITY`](Self::CAPACITY) events wait for a slow receiver; one that comes later is told
/// how many it has [missed](TokenEvent::Missed). Nobody ever waits for a receiver.
#[derive(Debug)]
pub struct TokenEvents(broadcast::Receiver<TokenEvent>);

impl TokenEvents {
    /// How many events wait for a receiver: 64.
    pub const CAPACITY: usize = 64;

    /// Waits for the next event. `None`: the cache is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<TokenEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(TokenEvent::Missed { events }),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Where events go. It costs nothing until somebody subscribes.
#[derive(Default)]
pub(super) struct Announcer(OnceLock<broadcast::Sender<TokenEvent>>);

impl Announcer {
    pub(super) fn subscribe(&self) -> TokenEvents {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(TokenEvents::CAPACITY));
        TokenEvents(sender.subscribe())
    }

    pub(super) fn announce(&self, event: TokenEvent) {
        if let Some(sender) = self.0.get() {
            // An error means that nobody listens any more.
            drop(sender.send(event));
        }
    }
}

/// What a state has to tell when its lock is free again.
#[derive(Clone, Default)]
pub(super) struct Notes(Vec<Note>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) event: TokenEvent,
    /// Whether it is the first of its kind, for this token or this pause: told to subscribers. Others are only counted.
    pub(super) is_news: bool,
}

impl Notes {
    pub(super) fn tell(&mut self, event: TokenEvent) {
        self.0.push(Note { event, is_news: true });
    }

    pub(super) fn count(&mut self, event: TokenEvent, is_news: bool) {
        self.0.push(Note { event, is_news });
    }

    pub(super) fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.0)
    }
}
