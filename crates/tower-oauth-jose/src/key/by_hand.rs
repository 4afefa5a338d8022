//! Keys that no issuer's set brings: configured by whoever runs the service.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::{hmac, rand};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

use super::material::Public;
use super::{Backend, Inner, Prepared, SkipReason, Thumbprint, VerifyingKey, der, jwk, pem};
use crate::algorithm::{Algorithm, AlgorithmSet};

impl VerifyingKey {
    /// Reads a public key from PEM (RFC 7468): `PUBLIC KEY`, `RSA PUBLIC KEY`, or the key of a
    /// `CERTIFICATE`.
    ///
    /// It is held to the rules of [`from_jwk`](Self::from_jwk), and bound to the algorithms of its
    /// type: see [`only_for`](Self::only_for). It has no key id: see [`with_kid`](Self::with_kid).
    ///
    /// Of a certificate nothing but the key counts. Its dates, names and signature are not looked at:
    /// to trust a certificate is to pin its key.
    ///
    /// Refused are private keys; several blocks, and text or headers round one; points in compressed
    /// form; RSA keys that their file ties to PSS (`id-RSASSA-PSS`); and more than 64 KiB.
    ///
    /// # Errors
    ///
    /// The [`SkipReason`] tells what is wrong; it never holds any part of the key.
    ///
    /// ```
    /// use tower_oauth_jose::{Algorithm, KeySet, VerifyingKey};
    ///
    /// // RFC 8410 section 10.1
    /// let key = VerifyingKey::from_pem(
    ///     "-----BEGIN PUBLIC KEY-----\n\
    ///      MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    ///      -----END PUBLIC KEY-----\n",
    /// )?
    /// .with_kid("2026-11")?;
    /// assert!(key.algorithms().contains(Algorithm::EdDSA));
    /// let keys = KeySet::from_keys([key]);
    /// # assert!(keys.candidates(Some("2026-11"), Algorithm::EdDSA).is_ok());
    /// # Ok::<(), tower_oauth_jose::SkipReason>(())
    /// ```
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, SkipReason> {
        pem::read(pem.as_ref())?.into_key()
    }

    /// A secret that the issuer and we share, for one HMAC algorithm (RFC 7518 section 3.2).
    ///
    /// Whoever can verify with it can sign with it: a service that only accepts tokens is better off
    /// with a public key. A secret comes from here only; an `oct` key in a JWK or a JWK Set is
    /// refused, and no public key is ever used as a secret.
    ///
    /// The secret is taken as bytes, as it is: decode it first if it is written in base64. It should
    /// be random; a password can be found from one token.
    ///
    /// # Errors
    ///
    /// [`SkipReason::ShortSecret`] if it is shorter than the hash (32, 48, 64 bytes);
    /// [`SkipReason::AlgorithmMismatch`] if `algorithm` is not HMAC.
    ///
    /// ```
    /// use tower_oauth_jose::{Algorithm, SkipReason, VerifyingKey};
    ///
    /// let secret = [7; 32]; // for the example only
    /// let key = VerifyingKey::hmac(Algorithm::HS256, secret)?.with_kid("gateway")?;
    /// assert_eq!(key.algorithms(), Algorithm::HS256.into());
    ///
    /// let short = VerifyingKey::hmac(Algorithm::HS256, "password");
    /// assert_eq!(short.unwrap_err(), SkipReason::ShortSecret);
    /// # Ok::<(), SkipReason>(())
    /// ```
    pub fn hmac(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, SkipReason> {
        let secret = secret.as_ref();
        let (hash, length) = match algorithm {
            Algorithm::HS256 => (hmac::HMAC_SHA256, 32),
            Algorithm::HS384 => (hmac::HMAC_SHA384, 48),
            Algorithm::HS512 => (hmac::HMAC_SHA512, 64),
            _ => return Err(SkipReason::AlgorithmMismatch),
        };
        if secret.len() < length {
            return Err(SkipReason::ShortSecret);
        }
        let key = Backend::Hmac(Box::new(hmac::Key::new(hash, secret)));
        let prepared = vec![Prepared { algorithm, key }];
        let inner = Inner { thumbprint: thumbprint_of_secret(secret), prepared };
        Ok(Self { kid: None, algorithms: algorithm.into(), inner: Arc::new(inner) })
    }

    /// Names the key. A token that names another one is not verified with it.
    ///
    /// # Errors
    ///
    /// [`SkipReason::InvalidKid`] if the name is empty or longer than 256 bytes.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, SkipReason> {
        let kid = kid.into();
        jwk::check_kid(&kid)?;
        self.kid = Some(kid.into());
        Ok(self)
    }

    /// Binds the key to one of its algorithms, as `alg` in a JWK does.
    ///
    /// # Errors
    ///
    /// [`SkipReason::AlgorithmMismatch`] if the key is not for it.
    pub fn only_for(mut self, algorithm: Algorithm) -> Result<Self, SkipReason> {
        if !self.algorithms.contains(algorithm) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        self.algorithms = AlgorithmSet::one(algorithm);
        Ok(self)
    }
}

/// The thumbprint of RFC 7638 would let anybody who sees it in a log try out secrets; with a key of
/// this process only we can. (RFC 7638 section 7 warns of the former.)
fn thumbprint_of_secret(secret: &[u8]) -> Thumbprint {
    static PROCESS: LazyLock<hmac::Key> = LazyLock::new(|| {
        let mut key = [0; 32];
        // If there is no randomness, it is still a one-way function.
        let _ = rand::fill(&mut key);
        hmac::Key::new(hmac::HMAC_SHA256, &key)
    });
    Thumbprint::of_digest(hmac::sign(&PROCESS, secret).as_ref())
}

impl TryFrom<&jsonwebtoken::jwk::Jwk> for VerifyingKey {
    type Error = SkipReason;

    /// As [`VerifyingKey::from_jwk`]. What `jsonwebtoken` does not keep of a JWK (private members,
    /// unknown ones) cannot be checked here.
    fn try_from(jwk: &jsonwebtoken::jwk::Jwk) -> Result<Self, SkipReason> {
        let text = serde_json::to_vec(jwk).map_err(|_| SkipReason::Malformed)?;
        Self::from_jwk(text)
    }
}

impl TryFrom<&DecodingKey> for VerifyingKey {
    type Error = SkipReason;

    /// Takes the public key out of a key of `jsonwebtoken`, and holds it to our rules.
    ///
    /// A `DecodingKey` knows neither a key id nor an algorithm, only its family, and a point on a
    /// curve is told by its length: use [`with_kid`](Self::with_kid) and
    /// [`only_for`](Self::only_for). HMAC is refused as [`SkipReason::Symmetric`], since the hash
    /// that the secret must fit is not known: use [`VerifyingKey::hmac`]. So is, as
    /// [`SkipReason::InvalidMaterial`], an EC or Ed25519 key that was made of anything but its point.
    fn try_from(key: &DecodingKey) -> Result<Self, SkipReason> {
        let public = match (key.family(), key.kind()) {
            (AlgorithmFamily::Hmac, _) => return Err(SkipReason::Symmetric),
            (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                Public::Rsa { n: n.clone(), e: e.clone() }
            }
            (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => der::rsa(der)?,
            (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
                if point.len() == 1 + 2 * 32 {
                    let (x, y) = der::ec_point(point, 32)?;
                    Public::P256 { x, y }
                } else {
                    let (x, y) = der::ec_point(point, 48)?;
                    Public::P384 { x, y }
                }
            }
            (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(x)) => {
                Public::Ed25519 { x: x.clone() }
            }
            _ => return Err(SkipReason::InvalidMaterial),
        };
        public.into_key()
    }
}
