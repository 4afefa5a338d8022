//! Signatures and which key they are tried with.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
};
use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, KeySet, Unverified, VerifyingKey};

use crate::signer::{
    ED25519, NOW, P256, P384, RSA, Signer, accept, at, decode, encode, good_claims, key_set, rules,
};

fn header(alg: &str) -> Value {
    json!({"alg": alg, "typ": "at+jwt", "kid": "k"})
}

fn verdict(token: &str, keys: &KeySet) -> Result<(), InvalidToken> {
    accept(token, &rules(), keys).map(drop)
}

/// A token with this signature instead of its own.
fn resigned(token: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{}.{}", token.rsplit_once('.').unwrap().0, encode(signature))
}

fn signature_of(token: &str) -> Vec<u8> {
    decode(token.rsplit_once('.').unwrap().1)
}

/// The order of P-256.
fn p256_order() -> Vec<u8> {
    hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference = a.to_vec();
    for (to, from) in difference.iter_mut().zip(b).rev() {
        let value = i16::from(*to) - i16::from(*from) - borrow;
        borrow = i16::from(value < 0);
        *to = (value & 0xff) as u8;
    }
    difference
}

#[test]
fn every_algorithm_is_verified_with_a_key_that_is_bound_and_with_one_that_is_not() {
    for (signer, algorithms) in [
        (&*RSA, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&*P256, &["ES256"]),
        (&*P384, &["ES384"]),
        (&*ED25519, &["EdDSA"]),
    ] {
        for alg in algorithms {
            let token = signer.token(&header(alg), &good_claims());
            let bound = json!({"kid": "k", "alg": alg, "use": "sig", "key_ops": ["verify"]});
            assert_eq!(verdict(&token, &signer.key_set(json!({"kid": "k"}))), Ok(()), "{alg}");
            assert_eq!(verdict(&token, &signer.key_set(bound)), Ok(()), "{alg}");
        }
    }
}

#[test]
fn j33_ed25519_under_its_new_name() {
    for (token_alg, key_alg) in [("Ed25519", "EdDSA"), ("EdDSA", "Ed25519"), ("Ed25519", "Ed25519")]
    {
        let token = ED25519.token(&header(token_alg), &good_claims());
        let keys = ED25519.key_set(json!({"kid": "k", "alg": key_alg}));
        assert_eq!(verdict(&token, &keys), Ok(()));
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn j02_hmac_with_the_public_key_as_its_secret() {
    let jwk = RSA.jwk_with(json!({"kid": "k"}));
    let keys = key_set([jwk.clone()]);
    let n = jwk["n"].as_str().unwrap();
    // What a forger can have of a public key: each is the text of it as somebody may publish it.
    let [pkcs1, spki] = RSA.public_ders();
    let pems =
        [("RSA PUBLIC KEY", &pkcs1), ("PUBLIC KEY", &spki)].map(|(label, der)| pem(label, der));
    for pem in &pems {
        let key = VerifyingKey::from_pem(pem).unwrap();
        assert_eq!(key.thumbprint(), keys.keys()[0].thumbprint(), "a control");
    }
    let trimmed = pems.each_ref().map(|pem| pem.trim().to_owned());
    let secrets = [jwk.to_string().into_bytes(), n.as_bytes().to_vec(), decode(n), pkcs1, spki];
    for secret in secrets.into_iter().chain(pems.into_iter().chain(trimmed).map(String::into_bytes))
    {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let input = format!(
            "{}.{}",
            encode(header("HS256").to_string()),
            encode(good_claims().to_string())
        );
        let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        let token = format!("{input}.{}", encode(tag));
        assert_eq!(verdict(&token, &keys), Err(InvalidToken::AlgorithmNotAllowed));
        // The same bytes under an algorithm that we do take.
        let input = format!(
            "{}.{}",
            encode(header("RS256").to_string()),
            encode(good_claims().to_string())
        );
        let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        let token = format!("{input}.{}", encode(tag));
        assert_eq!(verdict(&token, &keys), Err(InvalidToken::BadSignature));
    }
}

#[test]
fn j03_alg_of_same_family_but_not_the_keys() {
    for (token_alg, key_alg) in
        [("RS256", "PS512"), ("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512")]
    {
        let token = RSA.token(&header(token_alg), &good_claims());
        let keys = RSA.key_set(json!({"kid": "k", "alg": key_alg}));
        assert_eq!(verdict(&token, &keys), Err(InvalidToken::KeyMismatch), "{token_alg} {key_alg}");
    }
    // And a signature of one algorithm under the name of another.
    let token = RSA.token(&header("RS256"), &good_claims());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (_, claims) = input.split_once('.').unwrap();
    let renamed = format!("{}.{claims}.{signature}", encode(header("PS256").to_string()));
    let keys = RSA.key_set(json!({"kid": "k"}));
    assert_eq!(verdict(&renamed, &keys), Err(InvalidToken::BadSignature));
}

#[test]
fn j04_alg_that_is_not_the_curves() {
    for (signer, alg) in
        [(&*P384, "ES256"), (&*P256, "ES384"), (&*P256, "EdDSA"), (&*ED25519, "ES256")]
    {
        let token = signer.token(&header(alg), &good_claims());
        let keys = signer.key_set(json!({"kid": "k"}));
        assert_eq!(verdict(&token, &keys), Err(InvalidToken::KeyMismatch), "{alg}");
    }
}

#[test]
fn case_50_a_signature_by_another_key_of_the_set() {
    let (one, two) = (Signer::ed25519(), Signer::ed25519());
    let keys = key_set([one.jwk_with(json!({"kid": "k"})), two.jwk_with(json!({"kid": "other"}))]);
    let token = two.token(&header("EdDSA"), &good_claims());
    assert_eq!(verdict(&token, &keys), Err(InvalidToken::BadSignature));
}

#[test]
fn case_28_a_refused_token_comes_back_for_the_issuers_newer_keys() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let token = new.token(&header("ES256"), &good_claims());
    let checked = Unverified::parse(&token).unwrap().check(&rules(), at(NOW)).unwrap();
    let old = old.key_set(json!({"kid": "k"}));
    let unproven = checked.verify_by(&old).unwrap_err();
    assert_eq!(unproven.reason(), InvalidToken::BadSignature);
    // It owns all it needs, so it can wait for a fetch.
    let waiting = unproven.into_checked().into_owned();
    drop(token);
    let new = new.key_set(json!({"kid": "k"}));
    let verified = waiting.verify_by(&new).unwrap();
    assert_eq!(verified.key(), new.keys()[0].thumbprint());
    assert_ne!(old.thumbprints(Some("k")), new.thumbprints(Some("k")));
}

#[test]
fn j11_es256_numbers_out_of_range() {
    let keys = P256.key_set(json!({"kid": "k"}));
    let token = P256.token(&header("ES256"), &good_claims());
    let (n, zero) = (p256_order(), vec![0; 32]);
    let mut one = zero.clone();
    one[31] = 1;
    let n_minus_1 = subtract(&n, &one);
    let mut n_plus_1 = n.clone();
    n_plus_1[31] += 1;
    let p = hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    let top = vec![0xff; 32];
    let good = signature_of(&token);
    let (r, s) = good.split_at(32);
    let odd = [&zero, &one, &n, &n_minus_1, &n_plus_1, &p, &top];
    for a in odd {
        for b in odd {
            let forged = resigned(&token, [a.as_slice(), b].concat());
            assert_eq!(verdict(&forged, &keys), Err(InvalidToken::BadSignature));
        }
        let forged = resigned(&token, [r, a].concat());
        assert_eq!(verdict(&forged, &keys), Err(InvalidToken::BadSignature));
        let forged = resigned(&token, [a.as_slice(), s].concat());
        assert_eq!(verdict(&forged, &keys), Err(InvalidToken::BadSignature));
    }
}

#[test]
fn j12_es256_of_the_wrong_length_or_in_der() {
    let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let document = document.to_pkcs8v1().unwrap();
    let fixed = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref());
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
    let signer = Signer::P256(fixed.unwrap());
    let keys = signer.key_set(json!({"kid": "k"}));
    let token = signer.token(&header("ES256"), &good_claims());
    assert_eq!(verdict(&token, &keys), Ok(()));

    let input = token.rsplit_once('.').unwrap().0;
    let in_der = der.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    let good = signature_of(&token);
    let (r, s) = good.split_at(32);
    for signature in [
        in_der.as_ref().to_vec(),
        good[..63].to_vec(),
        good[1..].to_vec(),
        [&good[..], &[0]].concat(),
        [&[0], &good[..]].concat(),
        [&[0; 16], r, &[0; 16], s].concat(),
        [r, r, s].concat(),
        r.to_vec(),
    ] {
        let forged = resigned(&token, &signature);
        assert_eq!(verdict(&forged, &keys), Err(InvalidToken::BadSignature), "{}", signature.len());
    }
}

#[test]
fn j13_es256_with_the_other_s_is_the_same_signature() {
    let keys = P256.key_set(json!({"kid": "k"}));
    let token = P256.token(&header("ES256"), &good_claims());
    let good = signature_of(&token);
    let (r, s) = good.split_at(32);
    let other = resigned(&token, [r, &subtract(&p256_order(), s)].concat());
    assert_ne!(token, other);
    assert_eq!(verdict(&other, &keys), Ok(()));
}

#[test]
fn j15_rsa_signatures_of_the_wrong_size_or_none_at_all() {
    let keys = RSA.key_set(json!({"kid": "k"}));
    for alg in ["RS256", "PS256"] {
        let token = RSA.token(&header(alg), &good_claims());
        let good = signature_of(&token);
        let modulus = decode(RSA.jwk()["n"].as_str().unwrap());
        for signature in [
            good[1..].to_vec(),
            good[..255].to_vec(),
            [&[0], &good[..]].concat(),
            [&good[..], &[0]].concat(),
            vec![0; 256],
            [&[0; 255][..], &[1]].concat(),
            modulus,
        ] {
            let forged = resigned(&token, signature);
            assert_eq!(verdict(&forged, &keys), Err(InvalidToken::BadSignature), "{alg}");
        }
    }
}

#[test]
fn j16_ed25519_signatures_that_are_not_canonical() {
    let keys = ED25519.key_set(json!({"kid": "k"}));
    let token = ED25519.token(&header("EdDSA"), &good_claims());
    let good = signature_of(&token);
    let (r, s) = good.split_at(32);
    // s + L, for the order L of the base point, little-endian.
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0_u16;
    let s_plus_l: Vec<u8> = s
        .iter()
        .zip(&order)
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(*b);
            let byte = (carry & 0xff) as u8;
            carry >>= 8;
            byte
        })
        .collect();
    let mut p_plus_1 = [0xff; 32];
    (p_plus_1[0], p_plus_1[31]) = (0xee, 0x7f);
    for signature in [
        [r, &s_plus_l].concat(),
        [r, &order].concat(),
        [&p_plus_1[..], s].concat(),
        [&p_plus_1[..], &[0; 32]].concat(),
        [&[1], &[0; 63][..]].concat(),
        vec![0; 64],
        good[..63].to_vec(),
        [&good[..], &[0]].concat(),
        vec![0xff; 64],
    ] {
        let forged = resigned(&token, signature);
        assert_eq!(verdict(&forged, &keys), Err(InvalidToken::BadSignature));
    }
}

#[test]
fn j20_signatures_cut_short_doubled_or_of_another_token() {
    for (signer, alg) in [(&*RSA, "RS256"), (&*P256, "ES256"), (&*ED25519, "EdDSA")] {
        let keys = signer.key_set(json!({"kid": "k"}));
        let token = signer.token(&header(alg), &good_claims());
        let good = signature_of(&token);
        for length in 1..good.len() {
            let cut = resigned(&token, &good[..length]);
            assert_eq!(verdict(&cut, &keys), Err(InvalidToken::BadSignature), "{alg} {length}");
        }
        let doubled = resigned(&token, [&good[..], &good[..]].concat());
        assert_eq!(verdict(&doubled, &keys), Err(InvalidToken::BadSignature), "{alg}");

        let mut claims = good_claims();
        claims["sub"] = json!("admin");
        let other = signer.token(&header(alg), &claims);
        let swapped = resigned(&other, &good);
        assert_eq!(verdict(&swapped, &keys), Err(InvalidToken::BadSignature), "{alg}");
    }
}

#[test]
fn a_bit_flipped_anywhere_is_seen() {
    let keys = ED25519.key_set(json!({"kid": "k"}));
    let token = ED25519.token(&header("EdDSA"), &good_claims());
    assert_eq!(verdict(&token, &keys), Ok(()));
    for at_byte in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at_byte] ^= 1;
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(verdict(&text, &keys).is_err(), "{at_byte}");
        }
    }
}

#[test]
fn j33_a_set_with_keys_of_tomorrow_loads_and_their_tokens_are_refused() {
    let keys = key_set([
        P256.jwk_with(json!({"kid": "k1", "crv": "secp256k1", "alg": "ES256K"})),
        json!({"kty": "EC", "kid": "k2", "crv": "P-521", "alg": "ES512", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "kid": "k3", "crv": "Ed448", "alg": "EdDSA", "x": encode([7; 57])}),
        json!({"kty": "OKP", "kid": "k4", "crv": "Ed448", "alg": "Ed448", "x": encode([7; 57])}),
        json!({"kty": "AKP", "kid": "k5", "alg": "ML-DSA-44", "pub": encode([7; 1312])}),
        json!({"kty": "AKP", "kid": "k6", "alg": "ML-DSA-65-ES256", "pub": encode([7; 2017])}),
        ED25519.jwk_with(json!({"kid": "k"})),
    ]);
    assert_eq!((keys.keys().len(), keys.skipped().len()), (1, 6));
    assert_eq!(verdict(&ED25519.token(&header("EdDSA"), &good_claims()), &keys), Ok(()));
    for alg in [
        "ES512",
        "ES256K",
        "Ed448",
        "ML-DSA-44",
        "ML-DSA-87",
        "ML-DSA-65-ES256",
        "HSS-LMS",
        "SLH-DSA-SHA2-128s",
        "ES256-Ed25519",
        "RSA1_5",
    ] {
        for kid in ["k", "k1", "k5"] {
            let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
            let token = ED25519.token(&header, &good_claims());
            assert_eq!(verdict(&token, &keys), Err(InvalidToken::AlgorithmNotAllowed), "{alg}");
        }
    }
    // `EdDSA` with what Ed448 would give: a signature of 114 bytes, under the one name or the other.
    let token = ED25519.token(&header("EdDSA"), &good_claims());
    assert_eq!(verdict(&resigned(&token, [1; 114]), &keys), Err(InvalidToken::BadSignature));
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k3"});
    let token = resigned(&ED25519.token(&header, &good_claims()), [1; 114]);
    assert_eq!(verdict(&token, &keys), Err(InvalidToken::UnknownKey));
}
