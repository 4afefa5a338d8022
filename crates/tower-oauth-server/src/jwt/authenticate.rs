//! From a token to a verdict: at once if the key is known, else after a fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_oauth_core::{ErrorKind, Scopes};
use tower_oauth_jose::{
    Checked, InvalidToken, KeySet, StandardClaims, Thumbprint, Unproven, Unverified, Verified,
};

use super::Jwt;
use crate::jwks::{Landed, Wait};
use crate::{Authenticate, Caller, Presented, Principal, Rejection, Verdict};

/// How often a token is looked at again: the first set, a set from before the question, one from
/// after it, and once more should a flight be lost.
const ROUNDS: usize = 4;
/// The shortest time after which a client is asked to come again.
const SOON: Duration = Duration::from_secs(1);

/// Why a token was not proven, and by which keys.
struct Doubt {
    reason: InvalidToken,
    /// The material under the token's key id.
    tried: Vec<Thumbprint>,
}

/// What one look at the keys says.
enum Look {
    Proven(Verified),
    Doubtful(Checked<'static>, Doubt),
    NoKeys(Checked<'static>),
}

impl<C: Send + Sync + 'static> Authenticate for Jwt<C> {
    type Claims = C;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<C> {
        let checked = Unverified::parse(presented.token)
            .and_then(|token| token.check(&self.0.rules, self.wall_clock()));
        let checked = match checked {
            Ok(checked) => checked,
            Err(reason) => return Verdict::Now(Err(Rejection::Invalid(reason))),
        };
        let peek = self.0.jwks.peek();
        let Some(keys) = peek.keys() else {
            return match self.0.jwks.first(None) {
                Ok(wait) => {
                    let settle = self.clone().settle(checked.into_owned(), None, wait);
                    Verdict::Later(Box::pin(settle))
                }
                Err((cause, left)) => Verdict::Now(Err(unavailable(cause, Some(left)))),
            };
        };
        let unproven = match checked.verify_by(keys) {
            Ok(verified) => return Verdict::Now(self.accept(verified)),
            Err(unproven) => unproven,
        };
        let reason = unproven.reason();
        if !newer_keys_may_help(reason) {
            return Verdict::Now(Err(Rejection::Invalid(reason)));
        }
        let checked = unproven.into_checked();
        match self.0.jwks.miss(checked.kid(), None) {
            Some(wait) => {
                let doubt = Doubt::new(reason, &checked, keys);
                let settle = self.clone().settle(checked.into_owned(), Some(doubt), wait);
                Verdict::Later(Box::pin(settle))
            }
            None => Verdict::Now(Err(Rejection::Invalid(reason))),
        }
    }
}

impl<C> Jwt<C> {
    /// The cold path: waits for keys, and looks again.
    async fn settle(
        self,
        mut checked: Checked<'static>,
        mut doubt: Option<Doubt>,
        mut wait: Wait,
    ) -> Result<Caller<C>, Rejection> {
        let jwks = &self.0.jwks;
        let asked = wait.asked;
        for _ in 0..ROUNDS {
            let landed = jwks.landed(wait).await;
            match self.look(checked, doubt.take()) {
                Look::Proven(verified) => return self.accept_late(verified),
                Look::Doubtful(token, found) => {
                    let reason = found.reason;
                    if !newer_keys_may_help(reason) {
                        return Err(Rejection::Invalid(reason));
                    }
                    if matches!(landed, Landed::Answered) {
                        jwks.absent(token.kid());
                        return Err(Rejection::Invalid(reason));
                    }
                    // The set may be from before the token's key, so that it is no answer yet.
                    match jwks.miss(token.kid(), Some(asked)) {
                        Some(next) => wait = next,
                        None => return Err(Rejection::Invalid(reason)),
                    }
                    (checked, doubt) = (token, Some(found));
                }
                Look::NoKeys(token) => {
                    if let Landed::Failed(error) = landed {
                        return Err(unavailable(error.kind(), error.retry_after()));
                    }
                    wait = jwks
                        .first(Some(asked))
                        .map_err(|(cause, left)| unavailable(cause, Some(left)))?;
                    checked = token;
                }
            }
        }
        Err(match doubt {
            Some(doubt) => Rejection::Invalid(doubt.reason),
            None => unavailable(ErrorKind::Lost, None),
        })
    }

    fn look(&self, checked: Checked<'static>, doubt: Option<Doubt>) -> Look {
        let peek = self.0.jwks.peek();
        let Some(keys) = peek.keys() else {
            return Look::NoKeys(checked);
        };
        // The same material gives the same answer, and a signature costs more than all the rest.
        if let Some(doubt) = doubt {
            let signed_badly = doubt.reason == InvalidToken::BadSignature;
            if signed_badly && doubt.tried == keys.thumbprints(checked.kid()) {
                return Look::Doubtful(checked, doubt);
            }
        }
        match checked.verify_by(keys) {
            Ok(verified) => Look::Proven(verified),
            Err(unproven) => {
                let (reason, checked) = (unproven.reason(), Unproven::into_checked(unproven));
                let doubt = Doubt::new(reason, &checked, keys);
                Look::Doubtful(checked, doubt)
            }
        }
    }

    fn accept(&self, verified: Verified) -> Result<Caller<C>, Rejection> {
        let principal = principal(verified.standard());
        let claims = (self.0.claims)(verified).map_err(Rejection::Invalid)?;
        Ok(Caller::new(principal, claims))
    }

    /// The token may have died while it waited.
    fn accept_late(&self, verified: Verified) -> Result<Caller<C>, Rejection> {
        let end = verified.standard().expires_at().checked_add(self.0.rules.leeway());
        if end.is_some_and(|end| self.wall_clock() >= end) {
            return Err(Rejection::Invalid(InvalidToken::Expired));
        }
        self.accept(verified)
    }

    fn wall_clock(&self) -> SystemTime {
        let seconds = u64::try_from(self.0.clock.unix_seconds()).unwrap_or(0);
        // A clock that no `SystemTime` can show reads as 1970: every token is then of the future.
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
    }
}

impl Doubt {
    fn new(reason: InvalidToken, checked: &Checked<'_>, keys: &KeySet) -> Self {
        Self { reason, tried: keys.thumbprints(checked.kid()) }
    }
}

/// Whether the issuer may have put another key in place.
fn newer_keys_may_help(reason: InvalidToken) -> bool {
    matches!(
        reason,
        InvalidToken::UnknownKey | InvalidToken::KeyMismatch | InvalidToken::BadSignature
    )
}

fn unavailable(cause: ErrorKind, left: Option<Duration>) -> Rejection {
    Rejection::Unavailable { cause, retry_after: left.unwrap_or_default().max(SOON) }
}

fn principal(claims: &StandardClaims) -> Arc<Principal> {
    let expires_at = claims.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut principal = Principal::new(claims.issuer(), expires_at);
    principal.subject = claims.subject().map(str::to_owned);
    principal.client_id = claims.client_id().map(str::to_owned);
    principal.token_id = claims.token_id().map(str::to_owned);
    principal.scopes = Scopes::parse(&claims.scopes().collect::<Vec<_>>().join(" "));
    Arc::new(principal)
}
