use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::key::{Public, Thumbprint, read_pkcs8_pem};
use crate::{MAX_KID_BYTES, base64url};

/// A key that signs JWTs, bound to one algorithm.
///
/// Cloning is a reference count. `Debug` shows the algorithm and the key id, never the key.
///
/// ```
/// use tower_oauth_jose::{Algorithm, InvalidSigningKey, SigningKey};
///
/// // A secret is shared with the server and must be at least as long as the hash.
/// let key = SigningKey::hmac(Algorithm::HS256, [7; 32])?.with_kid("2026-11")?;
/// assert_eq!(key.algorithm(), Algorithm::HS256);
/// assert_eq!(
///     SigningKey::hmac(Algorithm::HS256, "password").unwrap_err(),
///     InvalidSigningKey::ShortSecret,
/// );
/// # Ok::<(), InvalidSigningKey>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Option<Arc<str>>,
    material: Arc<Material>,
}

enum Material {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    /// Boxed, since it is some times as large.
    Hmac(Box<hmac::Key>),
}

/// Why a key cannot sign. It never holds any part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSigningKey {
    /// Not one PEM block `PRIVATE KEY` (PKCS #8, not encrypted). `openssl pkcs8 -topk8 -nocrypt` makes one
    /// of `RSA PRIVATE KEY` and `EC PRIVATE KEY`.
    NotPkcs8Pem,
    /// The key is not of the algorithm's type, curve or size, or is broken.
    AlgorithmMismatch,
    /// A secret shorter than its hash (RFC 7518 section 3.2).
    ShortSecret,
    /// The key id is empty or longer than 256 bytes.
    InvalidKid,
    /// The backend could not make a key, for want of randomness.
    NotGenerated,
}

// === impl SigningKey ===

impl SigningKey {
    /// Reads a private key from PEM: one block `PRIVATE KEY` (PKCS #8), not encrypted.
    ///
    /// RSA keys of 2048 to 8192 bits sign RS256 to PS512, P-256 keys ES256, P-384 keys ES384, Ed25519 keys EdDSA.
    ///
    /// # Errors
    ///
    /// The form is another one, or the key is not for this algorithm.
    pub fn from_pkcs8_pem(
        algorithm: Algorithm,
        pem: impl AsRef<[u8]>,
    ) -> Result<Self, InvalidSigningKey> {
        let der = read_pkcs8_pem(pem.as_ref()).ok_or(InvalidSigningKey::NotPkcs8Pem)?;
        let material = match algorithm {
            Algorithm::ES256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Material::Ec)
            }
            Algorithm::ES384 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der).map(Material::Ec)
            }
            // Both versions of the form: OpenSSL writes the one without the public half.
            Algorithm::EdDSA => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Material::Ed25519)
            }
            algorithm => match rsa_encoding(algorithm) {
                Some(encoding) => {
                    RsaKeyPair::from_pkcs8(&der).map(|pair| Material::Rsa(pair, encoding))
                }
                None => return Err(InvalidSigningKey::AlgorithmMismatch),
            },
        };
        let material = material.map_err(|_| InvalidSigningKey::AlgorithmMismatch)?;
        Ok(Self { algorithm, kid: None, material: Arc::new(material) })
    }

    /// A secret that is shared with the server, for one HMAC algorithm.
    ///
    /// # Errors
    ///
    /// The secret is shorter than the hash (32, 48, 64 bytes), or `algorithm` is not HMAC.
    pub fn hmac(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, InvalidSigningKey> {
        let secret = secret.as_ref();
        let (hash, length) = match algorithm {
            Algorithm::HS256 => (hmac::HMAC_SHA256, 32),
            Algorithm::HS384 => (hmac::HMAC_SHA384, 48),
            Algorithm::HS512 => (hmac::HMAC_SHA512, 64),
            _ => return Err(InvalidSigningKey::AlgorithmMismatch),
        };
        if secret.len() < length {
            return Err(InvalidSigningKey::ShortSecret);
        }
        let material = Arc::new(Material::Hmac(Box::new(hmac::Key::new(hash, secret))));
        Ok(Self { algorithm, kid: None, material })
    }

    /// Makes a new key for ES256, ES384 or EdDSA. It lives in this process: there is no way to write it down.
    ///
    /// # Errors
    ///
    /// `algorithm` is another one, or the backend has no randomness.
    ///
    /// ```
    /// use tower_oauth_jose::{Algorithm, SigningKey, VerifyingKey};
    ///
    /// let key = SigningKey::generate(Algorithm::ES256)?;
    /// let public = VerifyingKey::from_jwk(key.public_jwk().unwrap())?;
    /// assert_eq!(Some(public.thumbprint()), key.thumbprint());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate(algorithm: Algorithm) -> Result<Self, InvalidSigningKey> {
        let material = match algorithm {
            Algorithm::ES256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Material::Ec)
            }
            Algorithm::ES384 => {
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Material::Ec)
            }
            Algorithm::EdDSA => Ed25519KeyPair::generate().map(Material::Ed25519),
            _ => return Err(InvalidSigningKey::AlgorithmMismatch),
        };
        let material = material.map_err(|_| InvalidSigningKey::NotGenerated)?;
        Ok(Self { algorithm, kid: None, material: Arc::new(material) })
    }

    /// Names the key in the header of what it signs, as `kid` of the JWK that the server has.
    ///
    /// # Errors
    ///
    /// The name is empty or longer than 256 bytes.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, InvalidSigningKey> {
        let kid = kid.into();
        if kid.is_empty() || kid.len() > MAX_KID_BYTES {
            return Err(InvalidSigningKey::InvalidKid);
        }
        self.kid = Some(kid.into());
        Ok(self)
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half as a JSON Web Key (RFC 7517), with the members that a thumbprint is made of and no others; `None` for a shared
    /// secret, which has none.
    #[must_use]
    pub fn public_jwk(&self) -> Option<String> {
        self.public().map(|public| public.to_jwk())
    }

    /// The thumbprint of the public half (RFC 7638), by which a token is bound to it; `None` for a shared secret.
    #[must_use]
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        Some(self.public()?.into_key().ok()?.thumbprint())
    }

    fn public(&self) -> Option<Public> {
        match (&*self.material, self.algorithm) {
            (Material::Rsa(pair, _), _) => Public::rsa(pair.public_key().as_ref()),
            (Material::Ec(pair), Algorithm::ES384) => Public::p384(pair.public_key().as_ref()),
            (Material::Ec(pair), _) => Public::p256(pair.public_key().as_ref()),
            (Material::Ed25519(pair), _) => {
                Some(Public::Ed25519 { x: pair.public_key().as_ref().to_vec() })
            }
            (Material::Hmac(_), _) => None,
        }
    }

    /// Signs a JWT with these claims, in compact form. `typ` stands in the header.
    ///
    /// `None` where the backend fails, for want of randomness or memory.
    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> Option<String> {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": typ });
        if let (Some(kid), Some(header)) = (&self.kid, header.as_object_mut()) {
            header.insert("kid".to_owned(), json!(**kid));
        }
        self.sign_under(&base64url::encode(header.to_string()), claims)
    }

    /// Signs these claims under a header that is encoded already.
    pub(super) fn sign_under(&self, header: &str, claims: &Value) -> Option<String> {
        let mut token = format!("{header}.{}", base64url::encode(claims.to_string()));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url::encode(signature));
        Some(token)
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        Some(match &*self.material {
            Material::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).ok()?;
                signature
            }
            Material::Ec(pair) => pair.sign(&random, message).ok()?.as_ref().to_vec(),
            Material::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Material::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
        })
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_SHA512,
        Algorithm::PS256 => &RSA_PSS_SHA256,
        Algorithm::PS384 => &RSA_PSS_SHA384,
        Algorithm::PS512 => &RSA_PSS_SHA512,
        _ => return None,
    })
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

// === impl InvalidSigningKey ===

impl fmt::Display for InvalidSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPkcs8Pem => "not one PEM block `PRIVATE KEY` (PKCS #8, not encrypted)",
            Self::AlgorithmMismatch => "the key is not for this algorithm",
            Self::ShortSecret => "the secret is shorter than the hash",
            Self::InvalidKid => "the key id is empty or too long",
            Self::NotGenerated => "no key could be made",
        })
    }
}

impl std::error::Error for InvalidSigningKey {}
