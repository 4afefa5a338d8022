use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaSignatureEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The signature algorithms of the issuer (RFC 7518 §3.1, RFC 8037, RFC 9864).
///
/// RSA keys have 2048 bits and take a tenth of a second or more to make; the others take none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 under its first name, `EdDSA`.
    EdDsa,
    /// Ed25519 under its fully specified name (RFC 9864).
    Ed25519,
}

/// A private key with its name. `Debug` shows the name.
pub(crate) struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(Box<rsa::KeyPair>, &'static RsaSignatureEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Ed25519,
    ];

    /// The name in a JOSE header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The length of a signature, in bytes.
    pub(crate) const fn signature_len(self) -> usize {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => 256,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => 256,
            Self::Es256 | Self::EdDsa | Self::Ed25519 => 64,
            Self::Es384 => 96,
        }
    }

    const fn rsa_encoding(self) -> Option<&'static RsaSignatureEncoding> {
        match self {
            Self::Rs256 => Some(&RSA_PKCS1_SHA256),
            Self::Rs384 => Some(&RSA_PKCS1_SHA384),
            Self::Rs512 => Some(&RSA_PKCS1_SHA512),
            Self::Ps256 => Some(&RSA_PSS_SHA256),
            Self::Ps384 => Some(&RSA_PSS_SHA384),
            Self::Ps512 => Some(&RSA_PSS_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa | Self::Ed25519 => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl SigningKey {
    pub(crate) fn generate(kid: String, algorithm: Algorithm) -> Result<Self, Unspecified> {
        let pair = match (algorithm.rsa_encoding(), algorithm) {
            (Some(encoding), _) => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?;
                Pair::Rsa(Box::new(pair), encoding)
            }
            (None, Algorithm::Es256) => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?)
            }
            (None, Algorithm::Es384) => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?)
            }
            (None, _) => Pair::Ed(Ed25519KeyPair::generate()?),
        };
        Ok(Self { kid, algorithm, pair })
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }

    /// The public half as a JWK (RFC 7517 §4), with `alg`, `kid` and `use`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": base64url(public.modulus().big_endian_without_leading_zero()),
                    "e": base64url(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                // SEC 1 §2.3.3: a 4 ("uncompressed"), then both coordinates at full length.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if self.algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) })
            }
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), self.kid.as_str().into());
            members.insert("alg".into(), self.algorithm.name().into());
            members.insert("use".into(), "sig".into());
        }
        jwk
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    must(rand::fill(&mut bytes), "random bytes");
    bytes
}

/// The cryptographic library fails where the system has no randomness or no memory. A test cannot
/// go on then, and a `Result` on every rotation would only move the panic into every test.
#[allow(clippy::panic)]
pub(crate) fn must<T>(result: Result<T, Unspecified>, what: &str) -> T {
    result.unwrap_or_else(|_| panic!("the cryptographic library refused: {what}"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents,
        UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    fn part(jwk: &Value, name: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
    }

    /// Verifies by the published key alone.
    fn verifies(jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters| {
            RsaPublicKeyComponents { n: part(jwk, "n"), e: part(jwk, "e") }
                .verify(parameters, message, signature)
                .is_ok()
        };
        let ec = |algorithm: &'static dyn VerificationAlgorithm| {
            let point = [vec![4], part(jwk, "x"), part(jwk, "y")].concat();
            UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
        };
        match jwk["alg"].as_str().unwrap() {
            "RS256" => rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => rsa(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => rsa(&RSA_PSS_2048_8192_SHA256),
            "PS384" => rsa(&RSA_PSS_2048_8192_SHA384),
            "PS512" => rsa(&RSA_PSS_2048_8192_SHA512),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED),
            _ => {
                UnparsedPublicKey::new(&ED25519, part(jwk, "x")).verify(message, signature).is_ok()
            }
        }
    }

    #[test]
    fn the_published_key_verifies_what_the_private_key_signs() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate("k".into(), algorithm).unwrap();
            let (jwk, signature) = (key.jwk(), key.sign(b"message").unwrap());
            assert_eq!(jwk["alg"], algorithm.name());
            assert_eq!(signature.len(), algorithm.signature_len(), "{algorithm}");
            assert!(verifies(&jwk, b"message", &signature), "{algorithm}");
            assert!(!verifies(&jwk, b"massage", &signature), "{algorithm}");
        }
    }

    #[test]
    fn no_private_member_is_published() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let jwk = SigningKey::generate("k".into(), algorithm).unwrap().jwk();
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert_eq!(jwk.get(private), None, "{algorithm}");
            }
        }
    }
}
