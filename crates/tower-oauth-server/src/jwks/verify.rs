//! Verifying what is no access token: signed answers, logout tokens, security events.

use tower_oauth_core::ErrorKind;
use tower_oauth_jose::{Checked, InvalidToken, Thumbprint, Verified};

use super::{Jwks, Landed, Next, NoFetch, Wait};
use crate::Rejection;
use crate::jwt::{newer_keys_may_help, unavailable};

/// How often a token is looked at: the first set, one from before the question, one from after it, and more should flights be lost.
const LOOKS: usize = 6;

/// Why a token was not proven, and by which keys.
struct Doubt {
    reason: InvalidToken,
    /// The fetch that the keys came from.
    seen: u64,
    tried: Vec<Thumbprint>,
}

/// What one look at the keys says; without a doubt there were none.
enum Look<'t> {
    Proven(Verified),
    Not(Checked<'t>, Option<Doubt>),
}

impl Jwks {
    /// Verifies the signature of a JWT whose claims were checked, with a key of this set; waits for the set, or for a newer one, where that is
    /// needed and within the budgets that access tokens have. For JWTs that are no access tokens; those are for [`Jwt`](crate::Jwt).
    ///
    /// # Errors
    /// [`Rejection::Invalid`] if the signature is not one of the set's, or the key is not there; [`Rejection::Unavailable`] if nobody can tell, since there is
    /// no set, or the look-up of the key has failed.
    pub async fn verify(&self, mut checked: Checked<'_>) -> Result<Verified, Rejection> {
        let (mut doubt, mut asked, mut landed) = (None, None, Landed::Nothing);
        for _ in 0..LOOKS {
            // A look must not last into a wait: it holds on to the set.
            let wait = match self.look(checked, doubt.take()) {
                Look::Proven(verified) => return Ok(verified),
                Look::Not(token, found) => {
                    checked = token;
                    let wait = self.wait_for(&checked, found.as_ref(), asked, &landed)?;
                    doubt = found;
                    wait
                }
            };
            landed = match wait {
                Some(wait) => {
                    asked = asked.or(Some(wait.asked));
                    self.landed(wait).await
                }
                None => Landed::Nothing,
            };
        }
        Err(unavailable(ErrorKind::Lost, None))
    }

    fn look<'t>(&self, checked: Checked<'t>, doubt: Option<Doubt>) -> Look<'t> {
        let peek = self.peek();
        let Some(keys) = peek.keys() else { return Look::Not(checked, None) };
        // The same material gives the same answer, and a signature costs more than all the rest.
        if let Some(doubt) = doubt {
            let signed_badly = doubt.reason == InvalidToken::BadSignature;
            if signed_badly && doubt.tried == keys.thumbprints(checked.kid()) {
                return Look::Not(checked, Some(Doubt { seen: peek.seq(), ..doubt }));
            }
        }
        match checked.verify_by(keys) {
            Ok(verified) => Look::Proven(verified),
            Err(unproven) => {
                let (reason, checked) = (unproven.reason(), unproven.into_checked());
                let tried = keys.thumbprints(checked.kid());
                Look::Not(checked, Some(Doubt { reason, seen: peek.seq(), tried }))
            }
        }
    }

    /// What to wait for before the next look, if for anything.
    fn wait_for(
        &self,
        checked: &Checked<'_>,
        doubt: Option<&Doubt>,
        asked: Option<u64>,
        landed: &Landed,
    ) -> Result<Option<Wait>, Rejection> {
        let Some(doubt) = doubt else {
            if let Landed::Failed(error) = landed {
                return Err(unavailable(error.kind(), error.retry_after()));
            }
            return match self.first(asked) {
                Next::LookAgain => Ok(None),
                Next::Wait(wait) => Ok(Some(wait)),
                Next::Refuse((cause, left)) => Err(unavailable(cause, Some(left))),
            };
        };
        let invalid = Rejection::Invalid(doubt.reason);
        if !newer_keys_may_help(doubt.reason) {
            return Err(invalid);
        }
        match landed {
            Landed::Answered => {
                self.absent(checked.kid());
                return Err(invalid);
            }
            Landed::Failed(error) if error.kind() == ErrorKind::TooManyWaiters => {
                return Err(unavailable(error.kind(), error.retry_after()));
            }
            _ => {}
        }
        match self.miss(checked.kid(), doubt.seen, asked) {
            Next::LookAgain => Ok(None),
            Next::Wait(wait) => Ok(Some(wait)),
            // Who could not ask does not know that the token is bad.
            Next::Refuse(NoFetch::Failing(cause, left)) => Err(unavailable(cause, Some(left))),
            Next::Refuse(NoFetch::Absent) => Err(invalid),
            Next::Refuse(NoFetch::NoBudget) => match landed {
                Landed::Failed(error) => Err(unavailable(error.kind(), error.retry_after())),
                _ => Err(invalid),
            },
        }
    }
}
