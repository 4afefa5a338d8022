//! Keys that verify: one key, the set of an issuer's keys, and how a token finds its own.

mod by_hand;
mod der;
mod ed25519;
mod jwk;
mod material;
mod pem;
mod rsa;
mod set;
mod thumbprint;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

pub use self::jwk::SkipReason;
pub(crate) use self::material::Public;
pub(crate) use self::pem::read_pkcs8_pem;
pub use self::set::{Candidates, KeyDiff, KeySet, KeySetError, NoKey, SkippedKey};
pub use self::thumbprint::Thumbprint;
use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::error::InvalidToken;

/// A key that was checked and prepared once, when it was loaded.
///
/// It knows for which algorithms it may be used: the key decides, not the token. A JWK with `alg`
/// is bound to that one; without, an RSA key may verify each of RS256 to PS512 (which of them are
/// accepted is up to the [`Rules`](crate::Rules)), and a key on a curve the one algorithm of that
/// curve.
///
/// What a JWK must be like to become a key is told at [`VerifyingKey::from_jwk`]. Keys that are
/// configured by hand come from [`from_pem`](VerifyingKey::from_pem), from `jsonwebtoken`'s types, or
/// are a secret ([`hmac`](VerifyingKey::hmac)); put them into a [`KeySet`] with
/// [`KeySet::from_keys`]. Cloning is cheap.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<Arc<str>>,
    /// Some or all of those that it is prepared for.
    algorithms: AlgorithmSet,
    inner: Arc<Inner>,
}

struct Inner {
    thumbprint: Thumbprint,
    prepared: Vec<Prepared>,
}

/// The key, parsed for one algorithm.
struct Prepared {
    algorithm: Algorithm,
    key: Backend,
}

enum Backend {
    Public(ParsedPublicKey),
    /// Boxed, since it is some twenty times as large.
    Hmac(Box<hmac::Key>),
}

impl VerifyingKey {
    /// Reads one JSON Web Key (RFC 7517 section 4) and prepares it.
    ///
    /// It must be a public key for verifying signatures:
    ///
    /// 1. RSA of 2048 to 8192 bits with an odd exponent from 65537 to 2^33, EC on P-256 or P-384
    ///    with a point on the curve, or OKP on Ed25519 with a canonical point of large order;
    ///    numbers and coordinates have exactly the length that RFC 7518 section 6 gives them;
    /// 2. `use`, if it is there, is `sig`; `key_ops` lists `verify`, no operation twice;
    /// 3. `alg`, if it is there, is an [`Algorithm`] that goes with the key type and curve;
    /// 4. `kid`, if it is there, is a string of 1 to 256 bytes;
    /// 5. there are no private members, and no member occurs twice.
    ///
    /// Certificates (`x5c`, `x5u`) are not looked at.
    ///
    /// # Errors
    ///
    /// The [`SkipReason`] tells what is wrong; it never holds any part of the key.
    ///
    /// ```
    /// use tower_oauth_jose::{Algorithm, SkipReason, VerifyingKey};
    ///
    /// // RFC 8037 appendix A.2
    /// let key = VerifyingKey::from_jwk(
    ///     r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    /// )?;
    /// assert!(key.algorithms().contains(Algorithm::EdDSA));
    /// assert_eq!(key.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    ///
    /// let secret = VerifyingKey::from_jwk(r#"{"kty":"oct","k":"c2VjcmV0"}"#);
    /// assert_eq!(secret.unwrap_err(), SkipReason::Symmetric);
    /// # Ok::<(), SkipReason>(())
    /// ```
    pub fn from_jwk(jwk: impl AsRef<[u8]>) -> Result<Self, SkipReason> {
        jwk::read(jwk.as_ref()).1
    }

    /// The key id, if the key has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The RFC 7638 thumbprint (SHA-256): equal for equal key material. That of a secret is keyed, and
    /// means nothing outside of this process.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.inner.thumbprint
    }

    /// The algorithms for which the key may be used.
    #[must_use]
    pub fn algorithms(&self) -> AlgorithmSet {
        self.algorithms
    }

    /// Verifies `signature` over `message`.
    ///
    /// ECDSA signatures are the two numbers at fixed length, 64 bytes for ES256 and 96 for ES384
    /// (RFC 7518 section 3.4); DER is refused.
    ///
    /// # Errors
    ///
    /// [`InvalidToken::KeyMismatch`] if the key is not for `algorithm`,
    /// [`InvalidToken::BadSignature`] if the signature is not this key's.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidToken> {
        let allowed = |prepared: &&Prepared| {
            prepared.algorithm == algorithm && self.algorithms.contains(algorithm)
        };
        let prepared = self.inner.prepared.iter().find(allowed);
        let key = &prepared.ok_or(InvalidToken::KeyMismatch)?.key;
        if material::signature_length(algorithm).is_some_and(|length| length != signature.len()) {
            return Err(InvalidToken::BadSignature);
        }
        match key {
            Backend::Public(key) => key.verify_sig(message, signature),
            // In constant time, and only for a whole tag (RFC 7518 section 3.2).
            Backend::Hmac(key) => hmac::verify(key, message, signature),
        }
        .map_err(|_| InvalidToken::BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid())
            .field("thumbprint", &self.thumbprint())
            .field("algorithms", &self.algorithms())
            .finish_non_exhaustive()
    }
}
