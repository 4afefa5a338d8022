//! Key pairs made for the test run, and tokens signed with them, good or bad.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, KeySet, Profile, Rules, Unverified, Verified};

pub(crate) const ISSUER: &str = "https://idp.example.com/realms/shop";
pub(crate) const AUDIENCE: &str = "inventory";
/// The time at which the tests take place.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
pub(crate) static P256: LazyLock<Signer> = LazyLock::new(Signer::p256);
pub(crate) static P384: LazyLock<Signer> = LazyLock::new(|| {
    Signer::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
});
pub(crate) static ED25519: LazyLock<Signer> = LazyLock::new(Signer::ed25519);

#[derive(Debug)]
pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The public key, without `kid`, `use`, `alg`.
    pub(crate) fn jwk(&self) -> Value {
        match self {
            Self::Rsa(pair) => {
                let mut der = pair.public_key().as_ref();
                assert_eq!(take_header(&mut der, 0x30), der.len());
                let n = take_integer(&mut der);
                let e = take_integer(&mut der);
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Self::P384(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
                json!({"kty": "EC", "crv": "P-384", "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())})
            }
        }
    }

    /// An RSA key as `RSAPublicKey` and as `SubjectPublicKeyInfo`.
    pub(crate) fn public_ders(&self) -> [Vec<u8>; 2] {
        use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
        let Self::Rsa(pair) = self else { panic!("{self:?} is no RSA key") };
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        [pair.public_key().as_ref().to_vec(), spki.as_ref().to_vec()]
    }

    /// The public key with more members.
    pub(crate) fn jwk_with(&self, more: Value) -> Value {
        with(self.jwk(), more)
    }

    pub(crate) fn key_set(&self, more: Value) -> KeySet {
        key_set([self.jwk_with(more)])
    }

    /// Signs as `alg` says if the key can, else as the key likes best.
    pub(crate) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(pair) | Self::P384(pair) => {
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), claims.to_string())
    }

    /// A token of texts that need not be JSON.
    pub(crate) fn token_of(&self, header: &str, claims: impl AsRef<[u8]>) -> String {
        self.token_of_parts(&encode(header), &encode(claims))
    }

    /// A token of parts that need not be base64.
    pub(crate) fn token_of_parts(&self, header: &str, claims: &str) -> String {
        let algorithms =
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
        let text = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let alg = algorithms.into_iter().find(|alg| text.contains(alg)).unwrap_or_default();
        let input = format!("{header}.{claims}");
        format!("{input}.{}", encode(self.sign(alg, input.as_bytes())))
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// `base` with members added, replaced, or (by `null`) removed.
pub(crate) fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => base[name] = value.clone(),
        }
    }
    base
}

/// A header as RFC 9068 wants it, for the Ed25519 signer.
pub(crate) fn good_header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k"})
}

/// Claims as RFC 9068 wants them.
pub(crate) fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-7", "client_id": "shop", "jti": "token-1",
        "iat": NOW - 10, "exp": NOW + 290, "scope": "inventory.read inventory.write",
    })
}

pub(crate) fn rules() -> Rules {
    Rules::builder(ISSUER, AUDIENCE).build().unwrap()
}

pub(crate) fn lenient() -> Rules {
    Rules::builder(ISSUER, AUDIENCE).profile(Profile::Lenient).build().unwrap()
}

pub(crate) fn key_set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::from_jwks(json!({ "keys": keys }).to_string()).unwrap()
}

pub(crate) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

/// The whole way of a token.
pub(crate) fn accept(token: &str, rules: &Rules, keys: &KeySet) -> Result<Verified, InvalidToken> {
    Ok(Unverified::parse(token)?.check(rules, at(NOW))?.verify_by(keys)?)
}

/// The verdict over a token of these texts, rightly signed with the one Ed25519 key of the set.
pub(crate) fn verdict_of(
    rules: &Rules,
    header: &str,
    claims: impl AsRef<[u8]>,
) -> Result<Verified, InvalidToken> {
    let keys = ED25519.key_set(json!({"kid": "k"}));
    accept(&ED25519.token_of(header, claims), rules, &keys)
}

fn take_header(der: &mut &[u8], tag: u8) -> usize {
    assert_eq!(der[0], tag);
    let (length, rest) = match der[1] {
        0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), &der[4..]),
        0x81 => (usize::from(der[2]), &der[3..]),
        short => (usize::from(short), &der[2..]),
    };
    *der = rest;
    length
}

fn take_integer<'a>(der: &mut &'a [u8]) -> &'a [u8] {
    let length = take_header(der, 0x02);
    let (integer, rest) = der.split_at(length);
    *der = rest;
    integer.strip_prefix(&[0]).unwrap_or(integer)
}
