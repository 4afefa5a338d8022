//! A JWT that is no token but an answer about one: RFC 9701.

use std::time::SystemTime;

use super::{Checked, Unverified, Verified};
use crate::error::InvalidToken;
use crate::json::Object;
use crate::rules::Rules;

impl<'t> Unverified<'t> {
    /// Checks all of a signed introspection answer that needs no key (RFC 9701 section 5), at the time `now`:
    /// `typ` is `token-introspection+jwt`, `iss` and `aud` are those of the rules (the audience is
    /// us, by our client id or another name), `iat` is no more than 60 s and the leeway ago, and there is an object `token_introspection`.
    ///
    /// The profile and the lifetime of the rules do not matter here. Such a JWT is never an access token, and an
    /// access token never passes here.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn check_introspection(
        self,
        rules: &Rules,
        now: SystemTime,
    ) -> Result<Checked<'t>, InvalidToken> {
        if !rules.algorithms.contains(self.header.algorithm) {
            return Err(InvalidToken::AlgorithmNotAllowed);
        }
        let claims = rules.check_introspection(self.header.token_type, &self.payload, now)?;
        Ok(Checked { token: self, claims })
    }
}

impl Verified {
    /// The JSON text of the member `token_introspection`, if this is a signed introspection answer.
    #[must_use]
    pub fn token_introspection(&self) -> Option<&str> {
        Object::parse(&self.payload).ok()?.get("token_introspection").map(|answer| answer.text())
    }
}
