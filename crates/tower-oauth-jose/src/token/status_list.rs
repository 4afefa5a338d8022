//! A JWT that is no token but a list of the statuses of tokens: draft-ietf-oauth-status-list.

use std::time::SystemTime;

use super::{Checked, Undecoded, Unverified, Verified};
use crate::error::InvalidToken;
use crate::json::Object;
use crate::rules::Rules;
use crate::status_list::{LARGEST_STATUS_LIST_BYTES, PackedStatusList, StatusReference};

impl<'t> Unverified<'t> {
    /// As [`parse`](Self::parse), for a Status List Token, which may be longer than any token that comes with a request: never more than 4 MiB.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn parse_status_list<T: AsRef<[u8]> + ?Sized>(
        max_bytes: usize,
        token: &'t T,
    ) -> Result<Self, InvalidToken> {
        Undecoded::split(max_bytes.min(LARGEST_STATUS_LIST_BYTES), token.as_ref())?.decode()
    }

    /// Checks all of a Status List Token that needs no key (section 5.1), at the time `now`: `typ` is `statuslist+jwt`, `sub` is,
    /// byte for byte, the `uri` under which a token names the list, `iss` is the issuer of the rules if there is one,
    /// `iat` is not in the future, `exp`, if there is one, not in the past, and there is a list of 1, 2, 4 or 8 bits.
    ///
    /// Audience, profile and lifetime of the rules do not matter here. Such a JWT is never an access token, and an
    /// access token never passes here.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn check_status_list(
        self,
        rules: &Rules,
        uri: &str,
        now: SystemTime,
    ) -> Result<Checked<'t>, InvalidToken> {
        if !rules.algorithms.contains(self.header.algorithm) {
            return Err(InvalidToken::AlgorithmNotAllowed);
        }
        let claims = rules.check_status_list(self.header.token_type, &self.payload, uri, now)?;
        Ok(Checked { token: self, claims })
    }
}

impl Verified {
    /// Where the status of this token stands; `None` if the token does not speak of a status list.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::InvalidClaim`]: it speaks of one, but not as section 6.2 says.
    pub fn status_reference(&self) -> Result<Option<StatusReference>, InvalidToken> {
        StatusReference::parse(&self.payload)
    }

    /// The list, if this is a Status List Token. Its dates are in [`standard`](Self::standard); one without `exp` ends with the
    /// year 9999.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::MissingClaim`] and [`InvalidToken::InvalidClaim`], if it is not.
    pub fn status_list(&self) -> Result<PackedStatusList, InvalidToken> {
        PackedStatusList::parse(&Object::parse(&self.payload)?)
    }
}
