//! One JSON Web Key, judged.

use std::borrow::Cow;
use std::fmt;

use super::VerifyingKey;
use super::material::Material;
use crate::MAX_KID_BYTES;
use crate::algorithm::Algorithm;
use crate::json::{Object, Value};

/// Members that a public key does not have (RFC 7518 section 6, RFC 8037 section 2, AKP's `priv`).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// Why a key is not used to verify tokens.
///
/// A closed list; nothing of the key itself is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// Not a JSON object, a member twice, or a member of the wrong type; in PEM, not the DER of a key.
    Malformed,
    /// Not one PEM block with nothing but white space round it.
    NotPem,
    /// It is a private key or holds private members: whoever could read it can sign. Tell its owner.
    Private,
    /// A shared secret (`oct`) in a public set.
    Symmetric,
    /// `kid` is not a string of 1 to 256 bytes.
    InvalidKid,
    /// `use` is not `sig`.
    NotForSignatures,
    /// `key_ops` does not allow `verify`, or is not a list of distinct strings.
    NotForVerifying,
    /// `alg` is not a signature algorithm that we support.
    UnsupportedAlgorithm,
    /// `alg` does not go with the key type or curve.
    AlgorithmMismatch,
    /// A key type that we do not support.
    UnsupportedKeyType,
    /// A curve that we do not support.
    UnsupportedCurve,
    /// The public members (`n` and `e`, `x` and `y`, `x`) are not there, or no strings.
    MissingMaterial,
    /// The public members are badly encoded, or no key of their type: a number of the wrong
    /// length, a point off the curve, an even modulus.
    InvalidMaterial,
    /// An RSA key of less than 2048 or more than 8192 bits.
    KeySize,
    /// An RSA exponent that is even, below 65537 or above 33 bits.
    WeakExponent,
    /// An Ed25519 point of small order.
    WeakPoint,
    /// An RSA modulus from a generator that is known to be broken (ROCA, CVE-2017-15361).
    WeakModulus,
    /// A secret that is shorter than the hash that it is for (RFC 7518 section 3.2).
    ShortSecret,
}

impl SkipReason {
    /// A short fixed name, for log fields and metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotPem => "not_pem",
            Self::Private => "private",
            Self::Symmetric => "symmetric",
            Self::InvalidKid => "invalid_kid",
            Self::NotForSignatures => "not_for_signatures",
            Self::NotForVerifying => "not_for_verifying",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::AlgorithmMismatch => "algorithm_mismatch",
            Self::UnsupportedKeyType => "unsupported_key_type",
            Self::UnsupportedCurve => "unsupported_curve",
            Self::MissingMaterial => "missing_material",
            Self::InvalidMaterial => "invalid_material",
            Self::KeySize => "key_size",
            Self::WeakExponent => "weak_exponent",
            Self::WeakPoint => "weak_point",
            Self::WeakModulus => "weak_modulus",
            Self::ShortSecret => "short_secret",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the key is malformed",
            Self::NotPem => "the text is not one PEM block",
            Self::Private => "the key is private or holds private members",
            Self::Symmetric => "the key is a shared secret",
            Self::InvalidKid => "the key id is invalid",
            Self::NotForSignatures => "the key is not for signatures",
            Self::NotForVerifying => "the key is not for verifying",
            Self::UnsupportedAlgorithm => "the key is for an unsupported algorithm",
            Self::AlgorithmMismatch => "the key's algorithm does not go with its type",
            Self::UnsupportedKeyType => "the key type is not supported",
            Self::UnsupportedCurve => "the curve is not supported",
            Self::MissingMaterial => "the public members are missing",
            Self::InvalidMaterial => "the public members are invalid",
            Self::KeySize => "the key is too short or too long",
            Self::WeakExponent => "the public exponent is weak",
            Self::WeakPoint => "the public point is weak",
            Self::WeakModulus => "the modulus is from a broken generator",
            Self::ShortSecret => "the secret is shorter than its hash",
        })
    }
}

impl std::error::Error for SkipReason {}

/// Judges one JWK. The key id comes back in either case, as far as it can be read.
pub(super) fn read(text: &[u8]) -> (Option<Box<str>>, Result<VerifyingKey, SkipReason>) {
    let Ok(jwk) = Object::parse(text) else {
        return (None, Err(SkipReason::Malformed));
    };
    let kid = read_kid(&jwk);
    let key = kid.clone().and_then(|kid| read_key(&jwk, kid));
    (kid.ok().flatten(), key)
}

fn read_key(jwk: &Object<'_>, kid: Option<Box<str>>) -> Result<VerifyingKey, SkipReason> {
    if PRIVATE.iter().any(|name| jwk.contains(name)) {
        return Err(SkipReason::Private);
    }
    let kty = jwk.get("kty").and_then(Value::string).ok_or(SkipReason::Malformed)?;
    if kty == "oct" || jwk.contains("k") {
        return Err(SkipReason::Symmetric);
    }
    check_use(jwk)?;
    let alg = read_alg(jwk)?;

    let (n, e, x, y) = (jwk.get("n"), jwk.get("e"), jwk.get("x"), jwk.get("y"));
    match kty.as_ref() {
        "RSA" => Material::Rsa { n: &text(n)?, e: &text(e)? }.bind(alg, kid),
        "EC" => match curve(jwk)?.as_ref() {
            "P-256" => Material::P256 { x: &text(x)?, y: &text(y)? }.bind(alg, kid),
            "P-384" => Material::P384 { x: &text(x)?, y: &text(y)? }.bind(alg, kid),
            _ => Err(SkipReason::UnsupportedCurve),
        },
        "OKP" => match curve(jwk)?.as_ref() {
            "Ed25519" => Material::Ed25519 { x: &text(x)? }.bind(alg, kid),
            _ => Err(SkipReason::UnsupportedCurve),
        },
        _ => Err(SkipReason::UnsupportedKeyType),
    }
}

fn read_kid(jwk: &Object<'_>) -> Result<Option<Box<str>>, SkipReason> {
    let Some(kid) = jwk.get("kid") else { return Ok(None) };
    let kid = kid.string().ok_or(SkipReason::InvalidKid)?;
    check_kid(&kid)?;
    Ok(Some(kid.into()))
}

pub(super) fn check_kid(kid: &str) -> Result<(), SkipReason> {
    let fits = !kid.is_empty() && kid.len() <= MAX_KID_BYTES;
    if fits { Ok(()) } else { Err(SkipReason::InvalidKid) }
}

/// RFC 7517 sections 4.2 and 4.3.
fn check_use(jwk: &Object<'_>) -> Result<(), SkipReason> {
    if let Some(usage) = jwk.get("use")
        && usage.string().as_deref() != Some("sig")
    {
        return Err(SkipReason::NotForSignatures);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations: Option<Vec<Cow<'_, str>>> =
            operations.elements().and_then(|list| list.map(Value::string).collect());
        let mut operations = operations.ok_or(SkipReason::NotForVerifying)?;
        operations.sort_unstable();
        let twice = operations.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
        if twice || !operations.iter().any(|operation| operation == "verify") {
            return Err(SkipReason::NotForVerifying);
        }
    }
    Ok(())
}

fn read_alg(jwk: &Object<'_>) -> Result<Option<Algorithm>, SkipReason> {
    let Some(alg) = jwk.get("alg") else { return Ok(None) };
    let alg = alg.string().ok_or(SkipReason::Malformed)?;
    // A public set holds no secret, whatever it calls one (case J02).
    let alg = Algorithm::from_name(&alg).filter(|alg| !alg.is_hmac());
    alg.map(Some).ok_or(SkipReason::UnsupportedAlgorithm)
}

fn curve<'a>(jwk: &Object<'a>) -> Result<Cow<'a, str>, SkipReason> {
    jwk.get("crv").and_then(Value::string).ok_or(SkipReason::Malformed)
}

fn text(value: Option<Value<'_>>) -> Result<Cow<'_, str>, SkipReason> {
    value.and_then(Value::string).ok_or(SkipReason::MissingMaterial)
}
