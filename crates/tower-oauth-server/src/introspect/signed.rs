//! Signed answers (RFC 9701): verified like a token, and never taken for one.

use std::time::{Duration, UNIX_EPOCH};

use tower_oauth_core::codec::IntrospectionResponse;
use tower_oauth_core::{Clock, Error, ErrorKind, Secret};
use tower_oauth_jose::{InvalidToken, Rules, Unverified, Verified};

use crate::{Jwks, Rejection};

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
        let checked = Unverified::parse(jwt)
            .and_then(|jwt| jwt.check_introspection(&self.rules, now))
            .map_err(unsound)?;
        // The issuer may sign with a key that is newer than the set.
        self.jwks.verify(checked).await.map_err(|rejection| match rejection {
            Rejection::Invalid(reason) => unsound(reason),
            Rejection::Unavailable { cause, retry_after } => {
                Error::new(cause).with_retry_after(Some(retry_after))
            }
            _ => ErrorKind::Malformed("the signature of the answer cannot be verified").into(),
        })
    }
}

/// An answer that is not the issuer's is no answer: neither good nor bad is known of the token.
fn unsound(reason: InvalidToken) -> Error {
    Error::new(ErrorKind::Malformed("the signed answer is not sound")).with_source(reason)
}
