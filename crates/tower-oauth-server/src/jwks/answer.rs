//! A JWT of the issuer's that is no token but an answer to us: it is proven by the same keys.

use tower_oauth_core::{Error, ErrorKind};
use tower_oauth_jose::{Checked, InvalidToken, Verified};

use super::Jwks;
use crate::Rejection;

impl Jwks {
    /// As [`verify`](Self::verify), with what is wrong told as the trouble of an endpoint.
    pub(crate) async fn prove(&self, checked: Checked<'_>) -> Result<Verified, Error> {
        self.verify(checked).await.map_err(|rejection| match rejection {
            Rejection::Invalid(reason) => unsound(reason),
            Rejection::Unavailable { cause, retry_after } => {
                Error::new(cause).with_retry_after(Some(retry_after))
            }
            _ => ErrorKind::Malformed("the signature of the answer cannot be verified").into(),
        })
    }
}

/// An answer that is not the issuer's is no answer: neither good nor bad is known of the token.
pub(crate) fn unsound(reason: InvalidToken) -> Error {
    Error::new(ErrorKind::Malformed("the signed answer is not sound")).with_source(reason)
}
