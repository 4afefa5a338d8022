//! Key sets: what becomes a key, what is skipped and why, and how keys are found.

use serde_json::{Value, json};
use tower_oauth_jose::{
    Algorithm, AlgorithmSet, KeySet, KeySetError, NoKey, SkipReason, VerifyingKey,
};

use crate::signer::{ED25519, P256, P384, RSA, Signer, decode, encode, key_set, with};

fn judged(jwk: Value) -> Result<AlgorithmSet, SkipReason> {
    VerifyingKey::from_jwk(jwk.to_string()).map(|key| key.algorithms())
}

/// A modulus of so many bits: the top bit and the lowest are set.
fn modulus(bits: usize) -> Vec<u8> {
    let mut n = vec![0x5a; bits.div_ceil(8)];
    n[0] = match bits % 8 {
        0 => 0x80,
        rest => 1 << (rest - 1),
    };
    *n.last_mut().unwrap() = 0x5b;
    n
}

fn rsa(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
}

#[test]
fn a_key_is_bound_to_its_alg_or_to_its_type_and_curve() {
    assert_eq!(judged(RSA.jwk()).unwrap().iter().count(), 6);
    for (jwk, alg, expected) in [
        (RSA.jwk(), "PS384", Algorithm::PS384),
        (P256.jwk(), "ES256", Algorithm::ES256),
        (P384.jwk(), "ES384", Algorithm::ES384),
        (ED25519.jwk(), "EdDSA", Algorithm::EdDSA),
        (ED25519.jwk(), "Ed25519", Algorithm::EdDSA),
    ] {
        assert_eq!(judged(with(jwk, json!({"alg": alg}))), Ok(expected.into()));
    }
    for (signer, expected) in
        [(&*P256, Algorithm::ES256), (&*P384, Algorithm::ES384), (&*ED25519, Algorithm::EdDSA)]
    {
        assert_eq!(judged(signer.jwk()), Ok(expected.into()));
    }
}

#[test]
fn j04_keys_labelled_with_another_curve_type_or_alg() {
    use SkipReason::{AlgorithmMismatch, InvalidMaterial, MissingMaterial};
    for (jwk, expected) in [
        (P256.jwk_with(json!({"crv": "P-384"})), InvalidMaterial),
        (P384.jwk_with(json!({"crv": "P-256"})), InvalidMaterial),
        (P256.jwk_with(json!({"alg": "ES384"})), AlgorithmMismatch),
        (P384.jwk_with(json!({"alg": "ES256"})), AlgorithmMismatch),
        (P256.jwk_with(json!({"alg": "RS256"})), AlgorithmMismatch),
        (P256.jwk_with(json!({"alg": "EdDSA"})), AlgorithmMismatch),
        (RSA.jwk_with(json!({"alg": "ES256"})), AlgorithmMismatch),
        (RSA.jwk_with(json!({"alg": "EdDSA"})), AlgorithmMismatch),
        (ED25519.jwk_with(json!({"alg": "ES256"})), AlgorithmMismatch),
        (
            P256.jwk_with(json!({"kty": "OKP", "crv": "Ed25519", "x": encode([7; 33])})),
            InvalidMaterial,
        ),
        (P256.jwk_with(json!({"kty": "OKP"})), SkipReason::UnsupportedCurve),
        (ED25519.jwk_with(json!({"kty": "EC"})), SkipReason::UnsupportedCurve),
        (ED25519.jwk_with(json!({"kty": "EC", "crv": "P-256"})), MissingMaterial),
        (P256.jwk_with(json!({"kty": "RSA"})), MissingMaterial),
    ] {
        assert_eq!(judged(jwk.clone()), Err(expected), "{jwk}");
    }
}

#[test]
fn j14_rsa_keys_out_of_bounds() {
    use SkipReason::{InvalidMaterial, KeySize, WeakExponent};
    let e = [1, 0, 1];
    for (bits, expected) in [
        (512, Err(KeySize)),
        (1024, Err(KeySize)),
        (2040, Err(KeySize)),
        (2047, Err(KeySize)),
        (2048, Ok(AlgorithmSet::ASYMMETRIC)),
        (2049, Ok(AlgorithmSet::ASYMMETRIC)),
        (4096, Ok(AlgorithmSet::ASYMMETRIC)),
        (8192, Ok(AlgorithmSet::ASYMMETRIC)),
        (8193, Err(KeySize)),
        (16_384, Err(KeySize)),
    ] {
        let verdict = judged(rsa(&modulus(bits), &e));
        assert_eq!(verdict.map(drop), expected.map(drop), "{bits}");
    }

    let n = modulus(2048);
    for (e, expected) in [
        (&[1][..], Err(WeakExponent)),
        (&[2], Err(WeakExponent)),
        (&[3], Err(WeakExponent)),
        (&[17], Err(WeakExponent)),
        (&[0xff, 0xff], Err(WeakExponent)),
        (&[1, 0, 0], Err(WeakExponent)),
        (&[1, 0, 1], Ok(())),
        (&[1, 0, 2], Err(WeakExponent)),
        (&[1, 0xff, 0xff, 0xff, 0xff], Ok(())),
        (&[2, 0, 0, 0, 1], Err(WeakExponent)),
        (&[0xff; 8], Err(WeakExponent)),
        (&[0xff; 9], Err(WeakExponent)),
        (&n, Err(WeakExponent)),
        (&[0, 1, 0, 1], Err(WeakExponent)),
        (&[0], Err(WeakExponent)),
        (&[], Err(WeakExponent)),
    ] {
        assert_eq!(judged(rsa(&n, e)).map(drop), expected, "e = {e:?}");
    }

    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    let leading_zero = [&[0], n.as_slice()].concat();
    for (jwk, expected) in [
        (rsa(&even, &e), InvalidMaterial),
        (rsa(&leading_zero, &e), InvalidMaterial),
        (rsa(&[], &e), InvalidMaterial),
        (with(rsa(&n, &e), json!({"n": format!("{}=", encode(&n))})), InvalidMaterial),
        (with(rsa(&n, &e), json!({"n": "!!"})), InvalidMaterial),
        (with(rsa(&n, &e), json!({"e": "AQAB=="})), InvalidMaterial),
        (with(rsa(&n, &e), json!({"e": 65537})), SkipReason::MissingMaterial),
        (with(rsa(&n, &e), json!({"n": null})), SkipReason::MissingMaterial),
    ] {
        assert_eq!(judged(jwk), Err(expected));
    }
}

/// The product of two primes of the form k * M + (65537^a mod M), for the product M of the first 126
/// primes: what the broken generator made.
const ROCA: &str = "x50bvOI9mzGqnZ3BoBoofMxVWc9ah89q1926Qc1B2UfesY2TyXRYJTmtqhysQWDN7Qj4MlvwFWWLVmapwR63y-kzGyZZe8v9fYS1crCSYeO14EnEEdYTGBCUwo1BnxtfNI-1VrZhasXxwsKxrVHQ6EwjAgcTFdTxDH3B7PYfxdkZPXNowAPI-Iw1qwUOXU0r10KBs7K-_TLrhewjMOnegNRJjPvfw97IvHGAA4-tHSqj5xGw65-Vmm5ss56_B5yr7Gd-XgQhqSbM4nRqLIHtqVxdu-eFK-TW9Z5ex5TqaWwYK9wzNQ3s3rwlezbCppoCJ0FxN6OQScXKFqYcq9YYQw";

#[test]
fn j14_a_modulus_of_the_broken_generator() {
    let e = encode([1, 0, 1]);
    let jwk = |n: &str| json!({"kty": "RSA", "n": n, "e": e});
    assert_eq!(judged(jwk(ROCA)), Err(SkipReason::WeakModulus));
    // Another number of the same length is none, nor is any key that is made for these tests.
    let mut other = decode(ROCA);
    other[200] ^= 1;
    assert!(judged(jwk(&encode(other))).is_ok());
    assert!(judged(RSA.jwk()).is_ok());
}

#[test]
fn j16_ed25519_points_off_the_curve() {
    // Half of all numbers are the y of a point. How many of these, and which of the first ones, was
    // worked out apart from this code.
    let (mut on, mut off) = (0, 0);
    for low in 2..=201_u8 {
        let mut y = [0; 32];
        y[0] = low;
        match judged(ED25519.jwk_with(json!({"x": encode(y)}))) {
            Ok(_) => on += 1,
            Err(SkipReason::InvalidMaterial) => off += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((on, off), (99, 101));
    for (low, good) in [(2, false), (3, true), (4, true), (5, true), (6, true), (7, false)] {
        let mut y = [0; 32];
        y[0] = low;
        let key = judged(ED25519.jwk_with(json!({"x": encode(y)})));
        assert_eq!(key.is_ok(), good, "{low}");
    }
    for _ in 0..50 {
        assert!(judged(Signer::ed25519().jwk()).is_ok());
    }
}

#[test]
fn j16_ed25519_points_of_small_order_or_not_canonical() {
    let p = |low: u8, top: u8| {
        let mut y = [0xff; 32];
        (y[0], y[31]) = (low, top);
        y
    };
    let small = |low: u8, top: u8| {
        let mut y = [0; 32];
        (y[0], y[31]) = (low, top);
        y
    };
    let order_8 = [
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
    ];
    let mut weak = vec![small(0, 0), small(0, 0x80), small(1, 0), small(1, 0x80)];
    weak.extend([p(0xec, 0x7f), p(0xec, 0xff)]);
    weak.extend(order_8.map(|x| <[u8; 32]>::try_from(decode(x)).unwrap()));
    for x in weak {
        let jwk = ED25519.jwk_with(json!({"x": encode(x)}));
        assert_eq!(judged(jwk), Err(SkipReason::WeakPoint), "{x:?}");
    }
    for low in 0xed..=0xff {
        for top in [0x7f, 0xff] {
            let jwk = ED25519.jwk_with(json!({"x": encode(p(low, top))}));
            assert_eq!(judged(jwk), Err(SkipReason::InvalidMaterial), "{low:x} {top:x}");
        }
    }
}

#[test]
fn j17_okp_keys_of_the_wrong_length_or_curve() {
    for length in [0, 10, 31, 33, 64] {
        let jwk = ED25519.jwk_with(json!({"x": encode(vec![7; length])}));
        assert_eq!(judged(jwk), Err(SkipReason::InvalidMaterial), "{length}");
    }
    for crv in ["X25519", "Ed448", "X448", "ed25519", "secp256k1", ""] {
        let jwk = ED25519.jwk_with(json!({"crv": crv}));
        assert_eq!(judged(jwk), Err(SkipReason::UnsupportedCurve), "{crv}");
    }
    assert_eq!(judged(ED25519.jwk_with(json!({"crv": null}))), Err(SkipReason::Malformed));
    assert_eq!(judged(ED25519.jwk_with(json!({"crv": 1}))), Err(SkipReason::Malformed));
}

#[test]
fn j18_ec_points_off_the_curve_or_of_the_wrong_length() {
    for (signer, length) in [(&*P256, 32), (&*P384, 48)] {
        let jwk = signer.jwk();
        let x = decode(jwk["x"].as_str().unwrap());
        let y = decode(jwk["y"].as_str().unwrap());
        let mut off = y.clone();
        off[length - 1] ^= 1;
        for (x, y) in [
            (x.clone(), off),
            (y.clone(), x.clone()),
            (vec![0; length], vec![0; length]),
            (vec![0xff; length], vec![0xff; length]),
            (x[1..].to_vec(), y.clone()),
            (x.clone(), y[..length - 1].to_vec()),
            ([&[0], x.as_slice()].concat(), y.clone()),
            ([x.as_slice(), &y[..1]].concat(), y[1..].to_vec()),
            (vec![], vec![]),
        ] {
            let jwk = with(jwk.clone(), json!({"x": encode(x), "y": encode(y)}));
            assert_eq!(judged(jwk.clone()), Err(SkipReason::InvalidMaterial), "{jwk}");
        }
        let compressed = with(jwk, json!({"y": null}));
        assert_eq!(judged(compressed), Err(SkipReason::MissingMaterial));
    }
    let jwk = P256.jwk_with(json!({"crv": "secp256k1"}));
    assert_eq!(judged(jwk), Err(SkipReason::UnsupportedCurve));
    let jwk = P256.jwk_with(json!({"crv": "P-521"}));
    assert_eq!(judged(jwk), Err(SkipReason::UnsupportedCurve));
}

#[test]
fn k05_private_and_symmetric_keys_in_a_public_set() {
    let canary = "Y2FuYXJ5LXNlY3JldA";
    let mut keys = vec![ED25519.jwk_with(json!({"kid": "good"}))];
    for name in ["d", "p", "q", "dp", "dq", "qi", "priv"] {
        for signer in [&*RSA, &*P256, &*ED25519] {
            keys.push(signer.jwk_with(json!({ name: canary, "kid": "bad" })));
        }
    }
    keys.push(RSA.jwk_with(json!({"oth": [{"r": canary}], "kid": "bad"})));
    keys.push(json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "priv": canary, "kid": "bad"}));
    let private = keys.len() - 1;
    keys.push(json!({"kty": "oct", "k": canary, "kid": "bad"}));
    keys.push(json!({"kty": "oct", "kid": "bad"}));
    keys.push(RSA.jwk_with(json!({"k": canary, "kid": "bad"})));
    let set = key_set(keys);

    assert_eq!(set.keys().len(), 1);
    let count = |reason| set.skipped().iter().filter(|key| key.reason() == reason).count();
    assert_eq!(count(SkipReason::Private), private);
    assert_eq!(count(SkipReason::Symmetric), 3);
    assert!(set.skipped().iter().all(|key| key.kid() == Some("bad")));
    let shown = format!("{set:?} {:?} {}", set.keys(), set.skipped()[0].reason());
    assert!(!shown.contains(canary), "{shown}");
    assert!(!shown.contains(ED25519.jwk()["x"].as_str().unwrap()), "{shown}");
    assert_eq!(set.candidates(Some("bad"), Algorithm::RS256).unwrap_err(), NoKey::UnknownKid);
}

#[test]
fn k06_the_same_kid_more_than_once() {
    let named = |signer: &Signer| signer.jwk_with(json!({"kid": "k"}));
    let [a, b, c] = [Signer::p256(), Signer::p256(), Signer::p256()];
    let tried = |set: &KeySet, algorithm| set.candidates(Some("k"), algorithm).unwrap().count();

    // The same material is one key, however often it is listed.
    let set = key_set([named(&a), named(&a), a.jwk_with(json!({"kid": "k", "alg": "ES256"}))]);
    assert_eq!((set.keys().len(), tried(&set, Algorithm::ES256)), (1, 1));
    // Different types: the one that fits.
    let set = key_set([named(&ED25519), named(&a)]);
    let found: Vec<_> = set.candidates(Some("k"), Algorithm::ES256).unwrap().collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].algorithms().contains(Algorithm::ES256));
    // The same material for two algorithms: both entries are of use, each for its own.
    let set = key_set([
        RSA.jwk_with(json!({"kid": "k", "alg": "RS256"})),
        RSA.jwk_with(json!({"kid": "k", "alg": "PS256"})),
    ]);
    assert_eq!((tried(&set, Algorithm::RS256), tried(&set, Algorithm::PS256)), (1, 1));
    assert_eq!(set.candidates(Some("k"), Algorithm::RS512).unwrap_err(), NoKey::AlgorithmMismatch);
    // Different material of the same type: two are tried, never more.
    let set = key_set([named(&a), named(&b), named(&c)]);
    assert_eq!((set.keys().len(), tried(&set, Algorithm::ES256)), (3, 2));
    // The same key under two names.
    let set = key_set([a.jwk_with(json!({"kid": "x"})), a.jwk_with(json!({"kid": "y"}))]);
    assert!(set.candidates(Some("x"), Algorithm::ES256).is_ok());
    assert!(set.candidates(Some("y"), Algorithm::ES256).is_ok());
    assert_eq!(set.candidates(None, Algorithm::ES256).unwrap().count(), 1);
}

#[test]
fn k06_both_keys_of_a_doubled_kid_verify() {
    use crate::signer::{accept, good_claims, rules};
    let [a, b] = [Signer::ed25519(), Signer::ed25519()];
    let set = key_set([a.jwk_with(json!({"kid": "k"})), b.jwk_with(json!({"kid": "k"}))]);
    for (signer, key) in [(&a, &set.keys()[0]), (&b, &set.keys()[1])] {
        let token = signer.token(&crate::signer::good_header(), &good_claims());
        let verified = accept(&token, &rules(), &set).unwrap();
        assert_eq!(verified.key(), key.thumbprint());
    }
}

#[test]
fn k07_a_key_that_cannot_be_used_never_spoils_the_set() {
    let good = ED25519.jwk_with(json!({"kid": "good"})).to_string();
    let deep = format!("{{\"kty\":\"RSA\",\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for (bad, expected) in [
        ("null", SkipReason::Malformed),
        ("7", SkipReason::Malformed),
        ("\"x\"", SkipReason::Malformed),
        ("[]", SkipReason::Malformed),
        ("{}", SkipReason::Malformed),
        (r#"{"kty":7}"#, SkipReason::Malformed),
        (r#"{"kty":"EC","kty":"RSA"}"#, SkipReason::Malformed),
        (r#"{"kty":"EC","\u006bty":"RSA"}"#, SkipReason::Malformed),
        (deep.as_str(), SkipReason::Malformed),
        (r#"{"kty":"NEW","x":"AA"}"#, SkipReason::UnsupportedKeyType),
        (r#"{"kty":"AKP","alg":"ES256","pub":"AA"}"#, SkipReason::UnsupportedKeyType),
        (r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#, SkipReason::UnsupportedAlgorithm),
        (r#"{"kty":"rsa","n":"AA","e":"AQAB"}"#, SkipReason::UnsupportedKeyType),
        (r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#, SkipReason::UnsupportedCurve),
        (r#"{"kty":"RSA","e":"AQAB"}"#, SkipReason::MissingMaterial),
        (r#"{"kty":"RSA","x5c":["MIIB"]}"#, SkipReason::MissingMaterial),
        (r#"{"kty":"RSA","x5c":"MIIB"}"#, SkipReason::MissingMaterial),
        (r#"{"kty":"RSA","n":"*","e":"AQAB"}"#, SkipReason::InvalidMaterial),
        (r#"{"kty":"RSA","alg":7,"n":"AA","e":"AQAB"}"#, SkipReason::Malformed),
        (r#"{"kty":"RSA","kid":7,"n":"AA","e":"AQAB"}"#, SkipReason::InvalidKid),
    ] {
        for jwks in [format!("[{bad},{good}]"), format!("[{good},{bad}]")] {
            let set = KeySet::from_jwks(format!("{{\"keys\":{jwks}}}")).unwrap();
            assert_eq!(set.keys().len(), 1, "{bad}");
            assert_eq!(set.keys()[0].kid(), Some("good"));
            assert_eq!(set.skipped().len(), 1);
            assert_eq!(set.skipped()[0].reason(), expected, "{bad}");
        }
    }
}

#[test]
fn case_53_a_certificate_beside_the_key_is_not_looked_at() {
    for x5c in [json!(["MIIBnonsense"]), json!([]), json!("MIIB"), json!(7)] {
        assert!(judged(RSA.jwk_with(json!({"x5c": x5c, "x5t": "AA", "x5u": "http://x"}))).is_ok());
    }
}

#[test]
fn k08_keys_for_other_uses() {
    use SkipReason::{NotForSignatures, NotForVerifying, UnsupportedAlgorithm};
    for (more, expected) in [
        (json!({"use": "sig"}), Ok(())),
        (json!({"use": "enc"}), Err(NotForSignatures)),
        (json!({"use": "SIG"}), Err(NotForSignatures)),
        (json!({"use": ""}), Err(NotForSignatures)),
        (json!({"use": ["sig"]}), Err(NotForSignatures)),
        (json!({"key_ops": ["verify"]}), Ok(())),
        (json!({"key_ops": ["sign", "verify"]}), Ok(())),
        (json!({"key_ops": ["encrypt"]}), Err(NotForVerifying)),
        (json!({"key_ops": ["sign"]}), Err(NotForVerifying)),
        (json!({"key_ops": []}), Err(NotForVerifying)),
        (json!({"key_ops": "verify"}), Err(NotForVerifying)),
        (json!({"key_ops": {"verify": true}}), Err(NotForVerifying)),
        (json!({"key_ops": ["verify", 7]}), Err(NotForVerifying)),
        (json!({"key_ops": ["verify", "verify"]}), Err(NotForVerifying)),
        (json!({"key_ops": ["verify", "sign", "sign"]}), Err(NotForVerifying)),
        (json!({"use": "enc", "key_ops": ["verify"]}), Err(NotForSignatures)),
        (json!({"alg": "RSA-OAEP"}), Err(UnsupportedAlgorithm)),
        (json!({"alg": "A256KW"}), Err(UnsupportedAlgorithm)),
        (json!({"alg": "HS256"}), Err(UnsupportedAlgorithm)),
        (json!({"alg": "none"}), Err(UnsupportedAlgorithm)),
        (json!({"alg": ""}), Err(UnsupportedAlgorithm)),
        (json!({"alg": "ES512"}), Err(UnsupportedAlgorithm)),
    ] {
        assert_eq!(judged(RSA.jwk_with(more.clone())).map(drop), expected, "{more}");
    }
}

#[test]
fn case_51_key_ids_that_are_no_plain_names() {
    for (kid, expected) in [
        (json!("k"), Ok(())),
        (json!("k".repeat(256)), Ok(())),
        (json!("k".repeat(257)), Err(SkipReason::InvalidKid)),
        (json!(""), Err(SkipReason::InvalidKid)),
        (json!(7), Err(SkipReason::InvalidKid)),
        (json!(["k"]), Err(SkipReason::InvalidKid)),
    ] {
        assert_eq!(judged(ED25519.jwk_with(json!({"kid": kid}))).map(drop), expected);
    }
}

#[test]
fn case_38_answers_that_are_no_key_set() {
    let good = ED25519.jwk().to_string();
    for text in [
        "".to_owned(),
        "null".into(),
        "{}".into(),
        "[]".into(),
        format!("[[{good}]]"),
        r#"{"keys":null}"#.into(),
        r#"{"keys":{}}"#.into(),
        r#"{"keys":"x"}"#.into(),
        r#"{"Keys":[]}"#.into(),
        r#"{"keys":[],"keys":[]}"#.into(),
        format!(r#"{{"keys":[{good}]"#),
        format!(r#"{{"keys":[{good}"#),
        format!(r#"{{"keys":[{good}]}}x"#),
        format!("\u{feff}{{\"keys\":[{good}]}}"),
        "<!doctype html><html></html>".into(),
    ] {
        assert_eq!(KeySet::from_jwks(&text).unwrap_err(), KeySetError::Malformed, "{text}");
    }
    assert_eq!(KeySet::from_jwks(b"{\"keys\":[\"\xff\"]}").unwrap_err(), KeySetError::Malformed);
    // Space around a document is no fault, nor are members that we do not know.
    let spaced = format!("\r\n {{ \"keys\" : [ {good} ] , \"x\":[{{}}] }}\n");
    assert_eq!(KeySet::from_jwks(spaced).unwrap().keys().len(), 1);
}

#[test]
fn case_39_a_set_without_a_usable_key_says_so() {
    for text in [r#"{"keys":[]}"#, r#"{"keys":[null]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#] {
        assert!(KeySet::from_jwks(text).unwrap().is_empty(), "{text}");
    }
    assert!(!ED25519.key_set(json!({})).is_empty());
}

#[test]
fn case_41_more_than_a_hundred_keys() {
    let keys = |count: usize| format!("{{\"keys\":[{}]}}", vec!["{}"; count].join(","));
    assert_eq!(KeySet::from_jwks(keys(100)).unwrap().skipped().len(), 100);
    assert_eq!(KeySet::from_jwks(keys(101)).unwrap_err(), KeySetError::TooManyKeys);
    assert_eq!(KeySet::from_jwks(keys(80_000)).unwrap_err(), KeySetError::TooManyKeys);
}

#[test]
fn case_49_no_kid_means_the_only_key_that_fits() {
    let other = Signer::p256();
    let set = key_set([P256.jwk(), ED25519.jwk_with(json!({"kid": "e"})), RSA.jwk()]);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256] {
        assert_eq!(set.candidates(None, algorithm).unwrap().count(), 1);
    }
    assert_eq!(set.candidates(None, Algorithm::ES384).unwrap_err(), NoKey::NoneFits);
    let two = key_set([P256.jwk(), other.jwk_with(json!({"kid": "k"}))]);
    assert_eq!(two.candidates(None, Algorithm::ES256).unwrap_err(), NoKey::Ambiguous);
    // A key without an id is not meant by a token that names one.
    assert_eq!(set.candidates(Some("e2"), Algorithm::ES256).unwrap_err(), NoKey::UnknownKid);
    assert_eq!(set.candidates(Some("e"), Algorithm::ES256).unwrap_err(), NoKey::AlgorithmMismatch);
}

#[test]
fn case_18_and_28_what_a_refresh_brings() {
    let [a, b, c] = [Signer::p256(), Signer::p256(), Signer::ed25519()];
    let named = |signer: &Signer, kid| signer.jwk_with(json!({"kid": kid}));
    let old = key_set([named(&a, "a"), named(&b, "b"), c.jwk()]);

    let reordered = key_set([c.jwk(), named(&b, "b"), named(&a, "a")]);
    assert!(old.diff(&reordered).is_empty());
    assert!(old.diff(&old).is_empty());

    let new = key_set([named(&b, "a"), named(&c, "n"), c.jwk()]);
    let diff = old.diff(&new);
    assert_eq!(diff.added(), ["n"]);
    assert_eq!(diff.removed(), ["b"]);
    assert_eq!(diff.changed(), ["a"]);
    assert!(!diff.is_empty());

    // A key without an id goes by its thumbprint.
    let gone = old.diff(&key_set([named(&a, "a"), named(&b, "b")]));
    assert_eq!(gone.removed(), [old.keys()[2].thumbprint().to_string()]);
    // The same material for another algorithm is a change.
    let rebound = RSA
        .key_set(json!({"kid": "k", "alg": "RS256"}))
        .diff(&RSA.key_set(json!({"kid": "k", "alg": "PS256"})));
    assert_eq!(rebound.changed(), ["k"]);

    assert_eq!(old.thumbprints(Some("a")), [old.keys()[0].thumbprint()]);
    assert_eq!(old.thumbprints(Some("zz")), []);
    assert_eq!(old.thumbprints(None).len(), 3);
    assert_eq!(old.thumbprints(None), reordered.thumbprints(None));
}

#[test]
fn keys_that_were_loaded_otherwise_make_a_set_too() {
    let jwk: jsonwebtoken::jwk::Jwk =
        serde_json::from_value(P256.jwk_with(json!({"kid": "k", "alg": "ES256"}))).unwrap();
    let key = VerifyingKey::try_from(&jwk).unwrap();
    assert_eq!(key.kid(), Some("k"));
    let set = KeySet::from_keys([key.clone(), key]);
    assert_eq!(set.keys().len(), 1);
    assert_eq!(set.thumbprints(None), P256.key_set(json!({})).thumbprints(None));
}
