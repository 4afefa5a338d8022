use std::time::Duration;

use tower_oauth_core::ErrorKind;

/// How well a [`TokenCache`](crate::TokenCache) is. Made by [`TokenCache::health`](crate::TokenCache::health).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenHealth {
    /// What it has.
    pub status: TokenStatus,
    /// For how long it has been so.
    pub since: Duration,
}

/// What a [`TokenCache`](crate::TokenCache) has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenStatus {
    /// No token: none was asked for yet, or the last one is over and was not asked for again.
    Idle,
    /// A token that is sent.
    Fresh {
        /// For how long; `None` if nobody knows its end.
        left: Option<Duration>,
    },
    /// An exchange is in the air.
    Refreshing {
        /// Whether requests go on with the token that there is meanwhile.
        is_serving: bool,
    },
    /// A token that is sent, though the last exchange for another one failed.
    Stale {
        /// For how long; `None` if nobody knows its end.
        left: Option<Duration>,
        /// What the exchange failed of.
        cause: ErrorKind,
    },
    /// Requests fail: there is no token, or the one that there is was rejected and is not replaced.
    Failing {
        /// Why.
        cause: ErrorKind,
    },
}

impl TokenStatus {
    /// Whether requests go out with a token that nobody has rejected, or will when an exchange lands.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !matches!(self, Self::Failing { .. })
    }
}
