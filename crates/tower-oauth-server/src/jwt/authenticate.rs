//! From a token to a verdict: at once if the key is known, else after a fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_oauth_core::{ErrorKind, Scopes};
use tower_oauth_jose::{Checked, InvalidToken, StandardClaims, Thumbprint, Unverified, Verified};

use super::Jwt;
use crate::jwks::{Landed, Next, Wait};
use crate::{Authenticate, Caller, Presented, Principal, Rejection, Verdict};

/// How often a token is looked at: the first set, one from before the question, one from after it,
/// and more should flights be lost, or sets change while they are looked at.
const LOOKS: usize = 6;
/// The shortest time after which a client is asked to come again.
const SOON: Duration = Duration::from_secs(1);

/// Why a token was not proven, and by which keys.
struct Doubt {
    reason: InvalidToken,
    /// The fetch that the keys came from.
    seen: u64,
    /// The material under the token's key id.
    tried: Vec<Thumbprint>,
}

/// What one look at the keys says.
enum Look<'t> {
    Proven(Verified),
    Doubtful(Checked<'t>, Doubt),
    NoKeys(Checked<'t>),
}

impl<C: Send + Sync + 'static> Authenticate for Jwt<C> {
    type Claims = C;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<C> {
        let checked = Unverified::parse(presented.token).and_then(|token| {
            if presented.sender_is_checked {
                token.check_bound(&self.0.rules, self.wall_clock())
            } else {
                token.check(&self.0.rules, self.wall_clock())
            }
        });
        let mut checked = match checked {
            Ok(checked) => checked,
            Err(reason) => return Verdict::Now(Err(Rejection::Invalid(reason))),
        };
        let mut doubt = None;
        for _ in 0..LOOKS {
            let next = match self.look(checked, doubt.take()) {
                Look::Proven(verified) => return Verdict::Now(self.accept(verified)),
                Look::Doubtful(token, found) => {
                    let refusal = Rejection::Invalid(found.reason);
                    let next = self.miss(&token, &found, None, refusal);
                    (checked, doubt) = (token, Some(found));
                    next
                }
                Look::NoKeys(token) => {
                    checked = token;
                    self.first(None)
                }
            };
            match next {
                Next::LookAgain => {}
                Next::Refuse(rejection) => return Verdict::Now(Err(rejection)),
                Next::Wait(wait) => {
                    let settle = self.clone().settle(checked.into_owned(), doubt, wait);
                    return Verdict::Later(Box::pin(settle));
                }
            }
        }
        Verdict::Now(Err(undecided(doubt)))
    }
}

impl<C> Jwt<C> {
    /// The cold path: waits for keys, and looks again.
    async fn settle(
        self,
        mut checked: Checked<'static>,
        mut doubt: Option<Doubt>,
        wait: Wait,
    ) -> Result<Caller<C>, Rejection> {
        let asked = Some(wait.asked);
        let mut wait = Some(wait);
        for _ in 0..LOOKS {
            let landed = match wait.take() {
                Some(wait) => self.0.jwks.landed(wait).await,
                None => Landed::Nothing,
            };
            let next = match self.look(checked, doubt.take()) {
                Look::Proven(verified) => return self.accept_late(verified),
                Look::Doubtful(token, found) => {
                    let refusal = Rejection::Invalid(found.reason);
                    if matches!(landed, Landed::Answered) && newer_keys_may_help(found.reason) {
                        self.0.jwks.absent(token.kid());
                        return Err(refusal);
                    }
                    // The set may be from before the token's key, so that it is no answer yet.
                    let next = self.miss(&token, &found, asked, refusal);
                    (checked, doubt) = (token, Some(found));
                    next
                }
                Look::NoKeys(token) => {
                    if let Landed::Failed(error) = landed {
                        return Err(unavailable(error.kind(), error.retry_after()));
                    }
                    checked = token;
                    self.first(asked)
                }
            };
            match next {
                Next::LookAgain => {}
                Next::Refuse(rejection) => return Err(rejection),
                Next::Wait(next) => wait = Some(next),
            }
        }
        Err(undecided(doubt))
    }

    fn miss(
        &self,
        token: &Checked<'_>,
        doubt: &Doubt,
        asked: Option<u64>,
        refusal: Rejection,
    ) -> Next<Rejection> {
        if !newer_keys_may_help(doubt.reason) {
            return Next::Refuse(refusal);
        }
        match self.0.jwks.miss(token.kid(), doubt.seen, asked) {
            Next::LookAgain => Next::LookAgain,
            Next::Wait(wait) => Next::Wait(wait),
            Next::Refuse(()) => Next::Refuse(refusal),
        }
    }

    fn first(&self, asked: Option<u64>) -> Next<Rejection> {
        match self.0.jwks.first(asked) {
            Next::LookAgain => Next::LookAgain,
            Next::Wait(wait) => Next::Wait(wait),
            Next::Refuse((cause, left)) => Next::Refuse(unavailable(cause, Some(left))),
        }
    }

    fn look<'t>(&self, checked: Checked<'t>, doubt: Option<Doubt>) -> Look<'t> {
        let peek = self.0.jwks.peek();
        let Some(keys) = peek.keys() else {
            return Look::NoKeys(checked);
        };
        // The same material gives the same answer, and a signature costs more than all the rest.
        if let Some(doubt) = doubt {
            let signed_badly = doubt.reason == InvalidToken::BadSignature;
            if signed_badly && doubt.tried == keys.thumbprints(checked.kid()) {
                return Look::Doubtful(checked, Doubt { seen: peek.seq(), ..doubt });
            }
        }
        match checked.verify_by(keys) {
            Ok(verified) => Look::Proven(verified),
            Err(unproven) => {
                let (reason, checked) = (unproven.reason(), unproven.into_checked());
                let tried = keys.thumbprints(checked.kid());
                Look::Doubtful(checked, Doubt { reason, seen: peek.seq(), tried })
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

/// Whether the issuer may have put another key in place.
fn newer_keys_may_help(reason: InvalidToken) -> bool {
    matches!(
        reason,
        InvalidToken::UnknownKey | InvalidToken::KeyMismatch | InvalidToken::BadSignature
    )
}

/// Sets came and went while they were looked at, or their flights were lost.
fn undecided(doubt: Option<Doubt>) -> Rejection {
    match doubt {
        Some(doubt) => Rejection::Invalid(doubt.reason),
        None => unavailable(ErrorKind::Lost, None),
    }
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
    principal.confirmation = claims.confirmation().cloned();
    principal.scopes = Scopes::parse(&claims.scopes().collect::<Vec<_>>().join(" "));
    Arc::new(principal)
}
