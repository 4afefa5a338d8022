//! From the numbers of a key to a prepared key, with every check that a hostile or careless issuer
//! makes necessary. All of them run when the key is loaded, none of them later.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::{Backend, Inner, Prepared, SkipReason, Thumbprint, VerifyingKey, der, ed25519, rsa};
use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::base64url;

/// The public material of a key, in bytes.
pub(crate) enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { x: Vec<u8>, y: Vec<u8> },
    P384 { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

impl Public {
    /// Of an RSA key in the form of RFC 8017.
    pub(crate) fn rsa(key: &[u8]) -> Option<Self> {
        der::rsa(key).ok()
    }

    /// Of a point in the uncompressed form.
    pub(crate) fn p256(point: &[u8]) -> Option<Self> {
        der::ec_point(point, 32).ok().map(|(x, y)| Self::P256 { x, y })
    }

    /// Of a point in the uncompressed form.
    pub(crate) fn p384(point: &[u8]) -> Option<Self> {
        der::ec_point(point, 48).ok().map(|(x, y)| Self::P384 { x, y })
    }

    /// The required members, sorted by name: the text whose digest is the thumbprint.
    pub(crate) fn to_jwk(&self) -> String {
        let text = |bytes: &[u8]| base64url::encode(bytes);
        match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::P256 { x, y } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
            }
            Self::P384 { x, y } => {
                format!(r#"{{"crv":"P-384","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
            }
            Self::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x))
            }
        }
    }

    /// Takes the same way as a JWK, through the same checks and to the same thumbprint.
    pub(crate) fn into_key(self) -> Result<VerifyingKey, SkipReason> {
        let text = |bytes: Vec<u8>| base64url::encode(bytes);
        match self {
            Self::Rsa { n, e } => Material::Rsa { n: &text(n), e: &text(e) }.bind(None, None),
            Self::P256 { x, y } => Material::P256 { x: &text(x), y: &text(y) }.bind(None, None),
            Self::P384 { x, y } => Material::P384 { x: &text(x), y: &text(y) }.bind(None, None),
            Self::Ed25519 { x } => Material::Ed25519 { x: &text(x) }.bind(None, None),
        }
    }
}

/// The public material of a JWK, still in base64url.
#[derive(Clone, Copy)]
pub(super) enum Material<'a> {
    Rsa { n: &'a str, e: &'a str },
    P256 { x: &'a str, y: &'a str },
    P384 { x: &'a str, y: &'a str },
    Ed25519 { x: &'a str },
}

impl Material<'_> {
    /// Binds the key to its algorithms and prepares it for them.
    pub(super) fn bind(
        self,
        alg: Option<Algorithm>,
        kid: Option<Box<str>>,
    ) -> Result<VerifyingKey, SkipReason> {
        let algorithms = match alg {
            None => self.algorithms(),
            Some(alg) if self.algorithms().contains(alg) => AlgorithmSet::one(alg),
            Some(_) => return Err(SkipReason::AlgorithmMismatch),
        };
        let prepared = self.prepare(algorithms)?;
        let inner = Inner { thumbprint: self.thumbprint(), prepared };
        Ok(VerifyingKey { kid: kid.map(Into::into), algorithms, inner: inner.into() })
    }

    /// The algorithms that go with the key type and curve.
    const fn algorithms(&self) -> AlgorithmSet {
        match self {
            Self::Rsa { .. } => AlgorithmSet::RSA,
            Self::P256 { .. } => AlgorithmSet::one(Algorithm::ES256),
            Self::P384 { .. } => AlgorithmSet::one(Algorithm::ES384),
            Self::Ed25519 { .. } => AlgorithmSet::one(Algorithm::EdDSA),
        }
    }

    /// RFC 7638 section 3.2, RFC 8037 section 2. Decoding is strict, so the texts are canonical.
    fn thumbprint(&self) -> Thumbprint {
        match *self {
            Self::Rsa { n, e } => Thumbprint::of_members(&[("e", e), ("kty", "RSA"), ("n", n)]),
            Self::P256 { x, y } => {
                Thumbprint::of_members(&[("crv", "P-256"), ("kty", "EC"), ("x", x), ("y", y)])
            }
            Self::P384 { x, y } => {
                Thumbprint::of_members(&[("crv", "P-384"), ("kty", "EC"), ("x", x), ("y", y)])
            }
            Self::Ed25519 { x } => {
                Thumbprint::of_members(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", x)])
            }
        }
    }

    /// Checks the material and parses it once for each of `algorithms`.
    fn prepare(&self, algorithms: AlgorithmSet) -> Result<Vec<Prepared>, SkipReason> {
        let public = match *self {
            Self::Rsa { n, e } => rsa_key(n, e)?,
            Self::P256 { x, y } => ec_point(x, y, 32)?,
            Self::P384 { x, y } => ec_point(x, y, 48)?,
            Self::Ed25519 { x } => ed25519_point(x)?,
        };
        algorithms
            .iter()
            .map(|algorithm| {
                let backend = backend(algorithm).ok_or(SkipReason::AlgorithmMismatch)?;
                let key = ParsedPublicKey::new(backend, &public)
                    .map_err(|_| SkipReason::InvalidMaterial)?;
                Ok(Prepared { algorithm, key: Backend::Public(key) })
            })
            .collect()
    }
}

/// The length of a signature where the algorithm fixes it; RSA's is the modulus', checked behind.
pub(super) const fn signature_length(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::ES256 | Algorithm::EdDSA | Algorithm::HS512 => Some(64),
        Algorithm::ES384 => Some(96),
        _ => None,
    }
}

fn backend(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &ED25519,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return None,
    })
}

fn decode(text: &str) -> Result<Vec<u8>, SkipReason> {
    base64url::decode(text).ok_or(SkipReason::InvalidMaterial)
}

fn rsa_key(n: &str, e: &str) -> Result<Vec<u8>, SkipReason> {
    let (n, e) = (decode(n)?, decode(e)?);
    rsa::check(&n, &e)?;
    let der: PublicKeyX509Der<'_> =
        RsaPublicKeyComponents { n, e }.as_der().map_err(|_| SkipReason::InvalidMaterial)?;
    Ok(der.as_ref().to_vec())
}

/// RFC 7518 section 6.2.1: full-length coordinates. Parsing checks that the point is on the curve.
fn ec_point(x: &str, y: &str, length: usize) -> Result<Vec<u8>, SkipReason> {
    let (x, y) = (decode(x)?, decode(y)?);
    if x.len() != length || y.len() != length {
        return Err(SkipReason::InvalidMaterial);
    }
    // The uncompressed form of SEC 1 section 2.3.3.
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

/// RFC 8037 section 2.
fn ed25519_point(x: &str) -> Result<Vec<u8>, SkipReason> {
    let x = decode(x)?;
    ed25519::check(&x)?;
    Ok(x)
}
