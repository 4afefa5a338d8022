//! A refresh token is redeemed once: whatever happens to callers, answers and other processes.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, Instant};

use tower_oauth_core::codec::{Grant, TokenAnswer, TokenRequest, TokenResponse};
use tower_oauth_core::{Error, ErrorKind, OAuthCode, Secret};

use super::session::{Replaces, Session};
use super::{Redeeming, StoredRefreshToken};

/// What becomes of a refresh token whose answer was lost: it may be spent, and a server that watches for reuse
/// (RFC 9700 §4.14) ends the whole session when it comes again.
///
/// It is about servers that rotate. A refresh token that was once used without a successor coming is presented again at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostRefresh {
    /// The same token is presented again for so long after it was first sent, and then not any more. The default, with
    /// 10 seconds. For servers with a grace (leeway, reuse interval): set this a little below theirs.
    RetryWithin(Duration),
    /// It is never presented twice. The exchange goes on with what there is to fall back on, else it ends in
    /// [`ErrorKind::Reauthenticate`].
    FallBack,
}

impl Default for LostRefresh {
    fn default() -> Self {
        Self::RetryWithin(Duration::from_secs(10))
    }
}

/// What redeeming came to.
pub(super) enum Redeemed {
    /// A token.
    Token(TokenResponse),
    /// There is no refresh token, or none that may be presented; why, where it was refused; and the generation that a new
    /// one replaces.
    No(Option<Error>, u64),
    /// Trouble that another grant would not help.
    Stop(Error),
}

/// Between two looks at what another process does.
const LOOK: Duration = Duration::from_millis(100);
/// For so long another process that has the token in hand is waited for, beyond the deadline of an exchange.
const LEASE: Duration = Duration::from_secs(2);
/// So often a record that others change under our hands is read again.
pub(super) const ROUNDS: u32 = 200;

impl Session {
    /// Redeems the refresh token, if there is one. Only with [`turn`](Self::turn) in hand.
    pub(super) async fn redeem(&self, epoch: u64, request: &TokenRequest) -> Redeemed {
        let mut refused: Option<(Error, u64)> = None;
        let mut watched: Option<(u64, Instant)> = None;
        for _ in 0..ROUNDS {
            let found = match self.record().await {
                Ok(Some(found)) => found,
                Ok(None) => return Redeemed::No(refused.map(|(error, _)| error), 0),
                Err(error) => return Redeemed::Stop(error),
            };
            let record = &found.record;
            if let Some((error, generation)) = &refused
                && *generation == record.generation
            {
                // Read once more, and nobody else has renewed it.
                return Redeemed::No(Some(error.clone()), found.stored);
            }
            let now = self.clock().unix_seconds();
            if record.redeeming.is_some_and(|other| other.holder != self.holder)
                && self.is_in_hand(record.generation, &mut watched)
            {
                // Its successor is what we want, never the token itself.
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let since = match record.redeeming {
                None => now,
                Some(lost) if self.lost.may_present(record, lost.since, now) => lost.since,
                Some(_) => return Redeemed::No(refused.map(|(error, _)| error), found.stored),
            };
            let redeeming = Some(Redeeming { holder: self.holder, since });
            let mark = StoredRefreshToken { redeeming, ..record.next() };
            match self.swap(found.stored, Some(mark.clone())).await {
                Ok(true) => self.is_stored(),
                // Somebody was faster: read again.
                Ok(false) => continue,
                Err(error) => return Redeemed::Stop(error),
            }
            let grant = Grant::RefreshToken(mark.token.clone());
            let asked = TokenRequest { grant, ..request.clone() };
            let may_repeat = |error: &Error| {
                let now = self.clock().unix_seconds();
                is_untouched(error) || self.lost.may_present(&mark, since, now)
            };
            let error = match self.edge.exchange(asked, may_repeat).await {
                Ok(answer) => return self.redeemed(epoch, answer, mark).await,
                Err(error) => error,
            };
            if is_untouched(&error) {
                // As it was before; with an earlier loss, if there was one.
                let as_before = StoredRefreshToken { redeeming: record.redeeming, ..mark.next() };
                let generation = as_before.generation;
                self.keep(mark.generation, as_before).await;
                if falls_through(&error) {
                    if refused.is_some() {
                        return Redeemed::No(Some(error), generation);
                    }
                    refused = Some((error, generation));
                    continue;
                }
            }
            return Redeemed::Stop(error);
        }
        Redeemed::Stop(ErrorKind::Store.into())
    }

    async fn redeemed(
        &self,
        epoch: u64,
        mut answer: TokenAnswer,
        mut mark: StoredRefreshToken,
    ) -> Redeemed {
        let is_new = |token: &Secret| token.expose() != mark.token.expose();
        if answer.refresh_token.as_ref().is_some_and(is_new) {
            mark.rotates = Some(true);
        } else {
            answer.refresh_token = None;
            let rotates = mark.rotates.or(Some(false));
            let same = StoredRefreshToken { redeeming: None, rotates, ..mark.next() };
            self.keep(mark.generation, same).await;
        }
        match self.landed(epoch, answer, Replaces::Record(&mark)).await {
            Ok(response) => Redeemed::Token(response),
            Err(error) => Redeemed::Stop(error),
        }
    }

    /// Whether another process may still be redeeming the record. Measured by how long we have looked at it, since the clock of
    /// that process may be another one than ours.
    fn is_in_hand(&self, generation: u64, watched: &mut Option<(u64, Instant)>) -> bool {
        let now = self.clock().now();
        match watched {
            Some((seen, since)) if *seen == generation => {
                now.saturating_duration_since(*since) < self.edge.deadline.saturating_add(LEASE)
            }
            _ => {
                *watched = Some((generation, now));
                true
            }
        }
    }
}

impl LostRefresh {
    /// Whether a token that was first sent at `since`, and of which nothing was heard, may be sent again.
    fn may_present(self, record: &StoredRefreshToken, since: i64, now: i64) -> bool {
        if record.rotates == Some(false) {
            return true;
        }
        match self {
            Self::RetryWithin(grace) => {
                // Nobody has seen a successor yet: what would be lost is what is lost already.
                record.rotates.is_none()
                    || now.saturating_sub(since)
                        <= i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)
            }
            Self::FallBack => false,
        }
    }
}

/// The refusals that are about what was presented, so that something else may help. Not among them are those about the client
/// (`invalid_client`, `unauthorized_client`), about what it asks for (`invalid_scope`, `invalid_target`), and any trouble that
/// passes: that a server does not answer is no reason to send it a password.
pub(super) fn falls_through(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::OAuth(
            OAuthCode::InvalidGrant
                | OAuthCode::UnsupportedGrantType
                | OAuthCode::InvalidRequest
                | OAuthCode::Other
        )
    )
}

/// Whether the refresh token is as good as before: the server has not had it, or has said no.
fn is_untouched(error: &Error) -> bool {
    match error.kind() {
        // 503 and 429 come from who has not looked at the request (RFC 9110 §15.6.4, RFC 6585 §4).
        ErrorKind::Status(status) => status < 500 || status == 503,
        ErrorKind::Transport => was_never_sent(error),
        ErrorKind::Timeout
        | ErrorKind::TooLarge
        | ErrorKind::Malformed(_)
        | ErrorKind::Panicked
        | ErrorKind::Lost => false,
        _ => true,
    }
}

fn was_never_sent(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            )
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}
