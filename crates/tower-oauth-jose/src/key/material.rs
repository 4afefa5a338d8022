//! From the numbers of a JWK to a prepared key, with every check that a hostile or careless issuer
//! makes necessary. All of them run when the key is loaded, none of them later.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::jwk::SkipReason;
use super::{Prepared, Thumbprint};
use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::base64url;

/// The RSA key sizes that we take, in bits (RFC 7518 section 3.3 sets the lower bound).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Small exponents have a history of forgeries; beyond 33 bits each verification costs too much.
const RSA_EXPONENTS: std::ops::RangeInclusive<u64> = 65_537..=(1 << 33) - 1;

/// The public material of a JWK, still in base64url.
#[derive(Clone, Copy)]
pub(super) enum Material<'a> {
    Rsa { n: &'a str, e: &'a str },
    P256 { x: &'a str, y: &'a str },
    P384 { x: &'a str, y: &'a str },
    Ed25519 { x: &'a str },
}

impl Material<'_> {
    /// The algorithms that go with the key type and curve.
    pub(super) const fn algorithms(&self) -> AlgorithmSet {
        match self {
            Self::Rsa { .. } => AlgorithmSet::RSA,
            Self::P256 { .. } => AlgorithmSet::one(Algorithm::ES256),
            Self::P384 { .. } => AlgorithmSet::one(Algorithm::ES384),
            Self::Ed25519 { .. } => AlgorithmSet::one(Algorithm::EdDSA),
        }
    }

    /// RFC 7638 section 3.2, RFC 8037 section 2. Decoding is strict, so the texts are canonical.
    pub(super) fn thumbprint(&self) -> Thumbprint {
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
    pub(super) fn prepare(&self, algorithms: AlgorithmSet) -> Result<Vec<Prepared>, SkipReason> {
        let public = match *self {
            Self::Rsa { n, e } => rsa(n, e)?,
            Self::P256 { x, y } => ec_point(x, y, 32)?,
            Self::P384 { x, y } => ec_point(x, y, 48)?,
            Self::Ed25519 { x } => ed25519_point(x)?,
        };
        algorithms
            .iter()
            .map(|algorithm| {
                let key = ParsedPublicKey::new(backend(algorithm), &public)
                    .map_err(|_| SkipReason::InvalidMaterial)?;
                Ok(Prepared { algorithm, key })
            })
            .collect()
    }
}

/// The length of a signature where the algorithm fixes it; RSA's is the modulus', checked behind.
pub(super) const fn signature_length(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::ES256 | Algorithm::EdDSA => Some(64),
        Algorithm::ES384 => Some(96),
        _ => None,
    }
}

fn backend(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &ED25519,
    }
}

fn decode(text: &str) -> Result<Vec<u8>, SkipReason> {
    base64url::decode(text).ok_or(SkipReason::InvalidMaterial)
}

/// RFC 7518 section 6.3.1: unsigned, big-endian, in as few bytes as possible.
fn rsa(n: &str, e: &str) -> Result<Vec<u8>, SkipReason> {
    let (n, e) = (decode(n)?, decode(e)?);

    let bits = match n.first() {
        None | Some(0) => return Err(SkipReason::InvalidMaterial),
        Some(first) => n.len() * 8 - first.leading_zeros() as usize,
    };
    if !RSA_BITS.contains(&bits) {
        return Err(SkipReason::KeySize);
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(SkipReason::InvalidMaterial);
    }

    if e.len() > 8 || matches!(e.first(), None | Some(0)) {
        return Err(SkipReason::WeakExponent);
    }
    let exponent = e.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if !RSA_EXPONENTS.contains(&exponent) || exponent % 2 == 0 {
        return Err(SkipReason::WeakExponent);
    }

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

/// RFC 8037 section 2, and what RFC 8032 leaves to the verifier: the point must be canonical and
/// its order large, or one signature fits every message.
fn ed25519_point(x: &str) -> Result<Vec<u8>, SkipReason> {
    let x = decode(x)?;
    let mut y = <[u8; 32]>::try_from(x.as_slice()).map_err(|_| SkipReason::InvalidMaterial)?;
    // The top bit is the sign of the other coordinate.
    y[31] &= 0x7f;
    // The bytes are little-endian, so the last of them decides first.
    if y.iter().rev().ge(FIELD_PRIME.iter().rev()) {
        return Err(SkipReason::InvalidMaterial);
    }
    if SMALL_ORDER.contains(&y) {
        return Err(SkipReason::WeakPoint);
    }
    Ok(x)
}

/// 2^255 - 19, little-endian.
const FIELD_PRIME: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The `y` of the eight points whose order divides 8. With either sign each of them is refused;
/// their encodings by `y + p` are not canonical.
const SMALL_ORDER: [[u8; 32]; 5] = [
    // Order 4: y = 0.
    [0; 32],
    // Order 1, the neutral element: y = 1.
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    // Order 2: y = -1.
    {
        let mut minus_one = FIELD_PRIME;
        minus_one[0] = 0xec;
        minus_one
    },
    // Order 8: two values of y, each other's negative.
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];
