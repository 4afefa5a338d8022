//! A token on its way from text to trust. See the crate's documentation for the steps.

mod event;
mod introspection;
mod payload;
#[cfg(feature = "status-list")]
mod status_list;

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::algorithm::Algorithm;
use crate::claims::{self, Sender, StandardClaims};
use crate::error::InvalidToken;
use crate::header::Header;
use crate::key::{KeySet, NoKey, Thumbprint, VerifyingKey};
use crate::rules::Rules;

pub(crate) use self::payload::{Name, Payload, Places};
use crate::{LARGEST_TOKEN_BYTES, MAX_TOKEN_BYTES};

/// A token of which only the header has been looked at: for those who know by it that the rest is not worth the work.
///
/// ```
/// use tower_oauth_jose::{InvalidToken, MAX_TOKEN_BYTES, Undecoded};
///
/// // {"alg":"ES256","kid":"7"}, and no base64url behind it
/// let token = Undecoded::parse_up_to(MAX_TOKEN_BYTES, "eyJhbGciOiJFUzI1NiIsImtpZCI6IjcifQ.!.!")?;
/// assert_eq!(token.kid(), Some("7"));
/// assert_eq!(token.decode().unwrap_err(), InvalidToken::Malformed);
/// # Ok::<(), InvalidToken>(())
/// ```
pub struct Undecoded<'t> {
    header: Header,
    token: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
    room: Vec<u8>,
}

/// A token that has the right shape, and nothing more: a compact JWS (RFC 7515 section 7.1) whose
/// header is acceptable.
pub struct Unverified<'t> {
    header: Header,
    /// The first two parts as they came, which is what was signed.
    signing_input: Cow<'t, [u8]>,
    payload: Payload,
}

impl<'t> Unverified<'t> {
    /// Splits and decodes a token and reads its header. The claims are not looked at.
    ///
    /// Refused are, in this order: more than 8 KiB; anything but three parts, none of them empty; a
    /// header part of more than 2 KiB; base64 that is not strictly base64url without padding; a
    /// header that is not one strict JSON object; `crit`, `b64`, `zip`, `enc`, `cty`, `jwk` in it;
    /// an `alg` that is no supported [`Algorithm`]; a `kid` that is no string of 1 to 256 bytes.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn parse<T: AsRef<[u8]> + ?Sized>(token: &'t T) -> Result<Self, InvalidToken> {
        Self::parse_up_to(MAX_TOKEN_BYTES, token)
    }

    /// As [`parse`](Self::parse), with another limit for the whole token: that of the
    /// [rules](Rules::max_token_bytes), say. Never more than 64 KiB.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn parse_up_to<T: AsRef<[u8]> + ?Sized>(
        max_bytes: usize,
        token: &'t T,
    ) -> Result<Self, InvalidToken> {
        Undecoded::parse_up_to(max_bytes, token)?.decode()
    }

    /// The issuer that the token *says* it has, to choose among the [`Rules`] of several trusted
    /// issuers, and for nothing else: anybody can write anything here. Never fetch from it, and keep
    /// it out of logs. [`check`](Self::check) compares it with the issuer of the rules.
    ///
    /// # Errors
    ///
    /// The claims set is not one strict JSON object, or has no `iss` that is a string.
    pub fn claimed_issuer(&self) -> Result<Cow<'_, str>, InvalidToken> {
        claims::issuer(&self.payload)
    }

    /// Checks all that needs no key: that `alg` is allowed, the type of token, and the standard
    /// claims at the time `now`.
    ///
    /// The claims set must be one strict JSON object: no member twice at any level, no deeper than
    /// 32, nothing before or after it.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`].
    pub fn check(self, rules: &Rules, now: SystemTime) -> Result<Checked<'t>, InvalidToken> {
        self.check_from(rules, now, Sender::Unchecked)
    }

    /// As [`check`](Self::check), for a caller that also checks the sender: a token that is bound to
    /// a key (`cnf`) is not refused.
    ///
    /// The caller has to look at [`StandardClaims::confirmation`], and to let the token in only with
    /// the proof that it asks for (RFC 9449 section 7, RFC 8705 section 3).
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check); also for a `cnf` that is no JSON object or names nothing that we know how to check.
    pub fn check_bound(self, rules: &Rules, now: SystemTime) -> Result<Checked<'t>, InvalidToken> {
        self.check_from(rules, now, Sender::CheckedByCaller)
    }

    fn check_from(
        self,
        rules: &Rules,
        now: SystemTime,
        sender: Sender,
    ) -> Result<Checked<'t>, InvalidToken> {
        if !rules.algorithms.contains(self.header.algorithm) {
            return Err(InvalidToken::AlgorithmNotAllowed);
        }
        let claims = rules.check(self.header.token_type, &self.payload, now, sender)?;
        Ok(Checked { token: self, claims })
    }
}

// === impl Undecoded ===

impl<'t> Undecoded<'t> {
    /// Splits a token and reads its header, with this limit for the whole token, never more than 64 KiB. The rest is not looked at.
    ///
    /// # Errors
    ///
    /// The reason, as an [`InvalidToken`]: see [`Unverified::parse`].
    pub fn parse_up_to<T: AsRef<[u8]> + ?Sized>(
        max_bytes: usize,
        token: &'t T,
    ) -> Result<Self, InvalidToken> {
        Self::split(max_bytes.min(LARGEST_TOKEN_BYTES), token.as_ref())
    }

    fn split(max_bytes: usize, token: &'t [u8]) -> Result<Self, InvalidToken> {
        if token.len() > max_bytes {
            return Err(InvalidToken::TooLarge);
        }
        let (header, rest) = split_at_dot(token).ok_or(InvalidToken::Malformed)?;
        let (payload, signature) = split_at_dot(rest).ok_or(InvalidToken::Malformed)?;
        if split_at_dot(signature).is_some() {
            return Err(InvalidToken::Malformed);
        }
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(InvalidToken::Malformed);
        }
        // One allocation for all three parts; the header is gone when the others come.
        let mut room = Vec::with_capacity(token.len() / 4 * 3);
        let header = Header::parse(header, &mut room)?;
        Ok(Self { header, token, payload, signature, room })
    }

    /// The key id that the token names. Anybody can write anything here, as for [`Checked::kid`].
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The algorithm that the token names. Whether it is allowed is asked with the claims.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// Decodes the rest.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::Malformed`] if that is not strictly base64url.
    pub fn decode(self) -> Result<Unverified<'t>, InvalidToken> {
        let Self { header, token, payload, signature, room } = self;
        // Without the last part and its dot.
        let signed = token.len().checked_sub(signature.len() + 1);
        let signing_input = signed.and_then(|length| token.get(..length));
        Ok(Unverified {
            header,
            signing_input: Cow::Borrowed(signing_input.ok_or(InvalidToken::Malformed)?),
            payload: Payload::decode(payload, signature, room).ok_or(InvalidToken::Malformed)?,
        })
    }
}

impl fmt::Debug for Undecoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecoded").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// What is before the first dot, and behind it.
///
/// Block by block, each without a branch: a token is looked for its dots before anything else is known of it.
fn split_at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let has_dot = |block: &[u8; 32]| block.iter().fold(false, |any, byte| any | (*byte == b'.'));
    let blocks = text.as_chunks::<32>().0.iter().take_while(|block| !has_dot(block)).count();
    let (before, rest) = text.split_at_checked(blocks * 32)?;
    let at = before.len() + rest.iter().position(|byte| *byte == b'.')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("algorithm", &self.header.algorithm)
            .finish_non_exhaustive()
    }
}

// === impl Checked ===

/// A token whose claims would be accepted, if only its signature is the issuer's.
///
/// Nothing of the claims can be read yet:
///
/// ```compile_fail,E0599
/// fn subject(token: &tower_oauth_jose::Checked<'_>) -> Option<&str> {
///     token.standard().subject()
/// }
/// ```
///
/// Only of a verified one:
///
/// ```
/// fn subject(token: &tower_oauth_jose::Verified) -> Option<&str> {
///     token.standard().subject()
/// }
/// ```
pub struct Checked<'t> {
    token: Unverified<'t>,
    claims: StandardClaims,
}

impl<'t> Checked<'t> {
    /// The key id that the token names. Anybody can write anything here: use it to look up a key,
    /// and keep it out of logs.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.token.header.kid.as_deref()
    }

    /// The algorithm that the token names; one that the rules allow.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.token.header.algorithm
    }

    /// Verifies the signature with this key.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::KeyMismatch`] or [`InvalidToken::BadSignature`]; the token comes back in the
    /// [`Unproven`], so that another key can be tried.
    pub fn verify(self, key: &VerifyingKey) -> Result<Verified, Unproven<'t>> {
        match self.try_key(key) {
            Ok(()) => Ok(self.verified_by(key)),
            Err(reason) => Err(self.unproven(reason)),
        }
    }

    /// Verifies the signature with the key of the set that fits, or at most two; see
    /// [`KeySet::candidates`].
    ///
    /// # Errors
    ///
    /// [`InvalidToken::UnknownKey`], [`InvalidToken::KeyMismatch`] and
    /// [`InvalidToken::BadSignature`] may all mean that the issuer has newer keys than the set: the
    /// token comes back in the [`Unproven`] for a second try. [`InvalidToken::AmbiguousKey`] does
    /// not.
    pub fn verify_by(self, keys: &KeySet) -> Result<Verified, Unproven<'t>> {
        let candidates = match keys.candidates(self.kid(), self.algorithm()) {
            Ok(candidates) => candidates,
            Err(NoKey::UnknownKid | NoKey::NoneFits) => {
                return Err(self.unproven(InvalidToken::UnknownKey));
            }
            Err(NoKey::AlgorithmMismatch) => return Err(self.unproven(InvalidToken::KeyMismatch)),
            Err(NoKey::Ambiguous) => return Err(self.unproven(InvalidToken::AmbiguousKey)),
        };
        for key in candidates {
            if self.try_key(key).is_ok() {
                return Ok(self.verified_by(key));
            }
        }
        Err(self.unproven(InvalidToken::BadSignature))
    }

    /// Copies what is still borrowed, so that the token can wait for a key.
    #[must_use]
    pub fn into_owned(self) -> Checked<'static> {
        let Unverified { header, signing_input, payload } = self.token;
        let signing_input = Cow::Owned(signing_input.into_owned());
        let token = Unverified { header, signing_input, payload };
        Checked { token, claims: self.claims }
    }

    fn try_key(&self, key: &VerifyingKey) -> Result<(), InvalidToken> {
        key.verify(self.algorithm(), &self.token.signing_input, self.token.payload.signature())
    }

    fn verified_by(self, key: &VerifyingKey) -> Verified {
        Verified {
            claims: self.claims,
            payload: self.token.payload.into_bytes(),
            key: key.thumbprint(),
        }
    }

    fn unproven(self, reason: InvalidToken) -> Unproven<'t> {
        Unproven { checked: Box::new(self), reason }
    }
}

impl fmt::Debug for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

// === impl Unproven ===

/// A token whose signature could not be verified, with the reason.
///
/// It turns into the bare [`InvalidToken`] by `?`.
#[derive(Debug)]
pub struct Unproven<'t> {
    checked: Box<Checked<'t>>,
    reason: InvalidToken,
}

impl<'t> Unproven<'t> {
    /// Why the signature could not be verified.
    #[must_use]
    pub fn reason(&self) -> InvalidToken {
        self.reason
    }

    /// The token, for a second try with newer keys.
    #[must_use]
    pub fn into_checked(self) -> Checked<'t> {
        *self.checked
    }
}

impl fmt::Display for Unproven<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Unproven<'_> {}

impl From<Unproven<'_>> for InvalidToken {
    fn from(unproven: Unproven<'_>) -> Self {
        unproven.reason
    }
}

// === impl Verified ===

/// A valid token: its claims are acceptable, and its issuer signed them.
pub struct Verified {
    claims: StandardClaims,
    payload: Vec<u8>,
    key: Thumbprint,
}

impl Verified {
    /// The standard claims.
    #[must_use]
    pub fn standard(&self) -> &StandardClaims {
        &self.claims
    }

    /// The standard claims, by value.
    #[must_use]
    pub fn into_standard(self) -> StandardClaims {
        self.claims
    }

    /// All claims, in the application's own type.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::UnfitClaims`] if they do not fit; what serde says is dropped, since it may
    /// quote a claim.
    pub fn claims<C: DeserializeOwned>(&self) -> Result<C, InvalidToken> {
        serde_json::from_slice(&self.payload).map_err(|_| InvalidToken::UnfitClaims)
    }

    /// The key that verified the token. When the issuer withdraws it, the verdict is void.
    #[must_use]
    pub fn key(&self) -> Thumbprint {
        self.key
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("key", &self.key).finish_non_exhaustive()
    }
}
