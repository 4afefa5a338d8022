//! Signed answers (RFC 9701): verified like a token, and never taken for one.

use std::time::{Duration, UNIX_EPOCH};

use tower_oauth_core::codec::IntrospectionResponse;
use tower_oauth_core::{Clock, Error, ErrorKind, Secret};
use tower_oauth_jose::{InvalidToken, Rules, Unverified, Verified};

use crate::Jwks;
use crate::jwks::{Landed, Next, NoFetch};

/// The first set, one from before the question, one from after it, and one more.
const LOOKS: usize = 4;

/// Opens signed answers.
pub(super) struct SignedAnswers {
    pub(super) jwks: Jwks,
    /// The issuer, and all our names as audiences.
    pub(super) rules: Rules,
}

impl SignedAnswers {
    pub(super) async fn open(
        &self,
        jwt: &Secret,
        clock: &dyn Clock,
    ) -> Result<IntrospectionResponse, Error> {
        let verified = self.verify(jwt.expose(), clock).await?;
        let answer = verified.token_introspection();
        let answer = answer.ok_or(ErrorKind::Malformed("the signed answer has no answer in it"))?;
        IntrospectionResponse::parse(answer.as_bytes().to_vec())
    }

    async fn verify(&self, jwt: &str, clock: &dyn Clock) -> Result<Verified, Error> {
        let seconds = u64::try_from(clock.unix_seconds()).unwrap_or(0);
        let now = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
        let mut checked = Unverified::parse(jwt)
            .and_then(|jwt| jwt.check_introspection(&self.rules, now))
            .map_err(unsound)?;
        let mut asked = None;
        for _ in 0..LOOKS {
            // A look must not last into a wait: it holds on to the set.
            let next = {
                let peek = self.jwks.peek();
                match peek.keys() {
                    None => match self.jwks.first(asked) {
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
                        match self.jwks.miss(checked.kid(), peek.seq(), asked) {
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
            if let Landed::Failed(error) = self.jwks.landed(next).await {
                return Err(error);
            }
        }
        Err(ErrorKind::Malformed("the signature of the answer cannot be verified").into())
    }
}

/// An answer that is not the issuer's is no answer: neither good nor bad is known of the token.
fn unsound(reason: InvalidToken) -> Error {
    Error::new(ErrorKind::Malformed("the signed answer is not sound")).with_source(reason)
}
