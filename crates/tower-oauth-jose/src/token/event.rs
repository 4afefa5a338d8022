//! JWTs that tell an event and are no access tokens.

use std::time::SystemTime;

use super::{Checked, Unverified};
use crate::error::InvalidToken;
use crate::rules::Rules;

impl<'t> Unverified<'t> {
    /// Checks all of a logout token that needs no key (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6), at the time `now`.
    ///
    /// `typ` is `logout+jwt`; `iss` and `aud` are those of the rules (the audience is our client id); `iat` is not in the future, `exp` is, and the two
    /// are no further apart than the maximum lifetime of the rules; there is a `jti`; `events` has the one member for logout, an object; there is a `sub`
    /// or a `sid` or both; and there is no `nonce`. The profile of the rules does not matter.
    ///
    /// Such a JWT is never an access token, nor an access or ID token a logout token.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn check_logout(self, rules: &Rules, now: SystemTime) -> Result<Checked<'t>, InvalidToken> {
        self.check_logout_of(rules, false, now)
    }

    /// As [`check_logout`](Self::check_logout), also for a token whose `typ` is missing or `JWT`, which the standard allows and older issuers send.
    ///
    /// It is told from other tokens by its `events`, and by its having no `nonce`.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn check_untyped_logout(
        self,
        rules: &Rules,
        now: SystemTime,
    ) -> Result<Checked<'t>, InvalidToken> {
        self.check_logout_of(rules, true, now)
    }

    /// Checks all of a security event token that needs no key (RFC 8417 section 2.2, OpenID Shared Signals Framework 1.0 section 4.1), at the time `now`.
    ///
    /// `typ` is `secevent+jwt`; `iss` (the transmitter) and `aud` (us) are those of the rules; `iat` is not in the future, and may be long ago; there is
    /// a `jti`; `events` has from 1 to 16 members, all of them objects; `sub_id` is an object; and there is neither `exp` nor `sub`. What the events and the
    /// subject mean is the caller's to read, with [`Verified::claims`](crate::Verified::claims). The profile and the lifetime of the rules do not
    /// matter.
    ///
    /// Such a JWT is never an access token, and an access token never passes here. The standard claims of it have no end: their
    /// `expires_at` means nothing.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn check_security_event(
        self,
        rules: &Rules,
        now: SystemTime,
    ) -> Result<Checked<'t>, InvalidToken> {
        self.check_algorithm(rules)?;
        let claims = rules.check_security_event(self.header.token_type, &self.payload, now)?;
        Ok(Checked { token: self, claims })
    }

    fn check_logout_of(
        self,
        rules: &Rules,
        may_be_untyped: bool,
        now: SystemTime,
    ) -> Result<Checked<'t>, InvalidToken> {
        self.check_algorithm(rules)?;
        let token_type = self.header.token_type;
        let claims = rules.check_logout(token_type, may_be_untyped, &self.payload, now)?;
        Ok(Checked { token: self, claims })
    }

    fn check_algorithm(&self, rules: &Rules) -> Result<(), InvalidToken> {
        if rules.algorithms.contains(self.header.algorithm) {
            Ok(())
        } else {
            Err(InvalidToken::AlgorithmNotAllowed)
        }
    }
}
