//! A JWT of the issuer's that is no token but an answer to us: it is proven by the same keys.

use tower_oauth_core::{Error, ErrorKind};
use tower_oauth_jose::{Checked, InvalidToken, Verified};

use super::{Jwks, Landed, Next, NoFetch};

/// The first set, one from before the question, one from after it, and one more.
const LOOKS: usize = 4;

impl Jwks {
    /// Verifies the signature, with keys that are fetched if they have to be.
    pub(crate) async fn prove(&self, mut checked: Checked<'_>) -> Result<Verified, Error> {
        let mut asked = None;
        for _ in 0..LOOKS {
            // A look must not last into a wait: it holds on to the set.
            let next = {
                let peek = self.peek();
                match peek.keys() {
                    None => match self.first(asked) {
                        Next::LookAgain => continue,
                        Next::Wait(wait) => wait,
                        Next::Refuse((cause, left)) => {
                            return Err(Error::new(cause).with_retry_after(Some(left)));
                        }
                    },
                    Some(keys) => {
                        let reason = match checked.verify_by(keys) {
                            Ok(verified) => return Ok(verified),
                            Err(unproven) => {
                                let reason = unproven.reason();
                                checked = unproven.into_checked();
                                reason
                            }
                        };
                        if reason == InvalidToken::AmbiguousKey {
                            return Err(unsound(reason));
                        }
                        // The issuer may sign with a key that is newer than the set.
                        match self.miss(checked.kid(), peek.seq(), asked) {
                            Next::LookAgain => continue,
                            Next::Wait(wait) => wait,
                            Next::Refuse(NoFetch::Failing(cause, left)) => {
                                return Err(Error::new(cause).with_retry_after(Some(left)));
                            }
                            Next::Refuse(NoFetch::Absent | NoFetch::NoBudget) => {
                                return Err(unsound(reason));
                            }
                        }
                    }
                }
            };
            asked = asked.or(Some(next.asked));
            if let Landed::Failed(error) = self.landed(next).await {
                return Err(error);
            }
        }
        Err(ErrorKind::Malformed("the signature of the answer cannot be verified").into())
    }
}

/// An answer that is not the issuer's is no answer: neither good nor bad is known of the token.
pub(crate) fn unsound(reason: InvalidToken) -> Error {
    Error::new(ErrorKind::Malformed("the signed answer is not sound")).with_source(reason)
}
