//! Keys that are configured by hand: PEM, secrets, `jsonwebtoken`'s own.

use aws_lc_rs::hmac;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use tower_oauth_jose::{
    Algorithm, AlgorithmSet, InvalidToken, KeySet, NoKey, Rules, SkipReason, VerifyingKey,
};

use crate::signer::{
    AUDIENCE, ED25519, ISSUER, P256, P384, RSA, Signer, accept, decode, encode, good_claims, rules,
};

const SECRET: [u8; 64] = [0xa5; 64];

fn header(alg: &str, kid: Option<&str>) -> Value {
    match kid {
        Some(kid) => json!({"alg": alg, "typ": "at+jwt", "kid": kid}),
        None => json!({"alg": alg, "typ": "at+jwt"}),
    }
}

fn hmac_token(alg: &str, kid: Option<&str>, secret: &[u8]) -> String {
    let hash = match alg {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let input =
        format!("{}.{}", encode(header(alg, kid).to_string()), encode(good_claims().to_string()));
    let tag = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
    format!("{input}.{}", encode(tag))
}

fn rules_with_hmac() -> Rules {
    let algorithms = AlgorithmSet::ASYMMETRIC.union(AlgorithmSet::HMAC);
    Rules::builder(ISSUER, AUDIENCE).algorithms(algorithms.iter()).build().unwrap()
}

fn verdict(token: &str, keys: &KeySet) -> Result<(), InvalidToken> {
    accept(token, &rules_with_hmac(), keys).map(drop)
}

/// The public key in the form of a `SubjectPublicKeyInfo`.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn key_info(signer: &Signer) -> Vec<u8> {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair as _;
    let der = |der: PublicKeyX509Der<'_>| der.as_ref().to_vec();
    match signer {
        Signer::Rsa(pair) => der(pair.public_key().as_der().unwrap()),
        Signer::P256(pair) | Signer::P384(pair) => der(pair.public_key().as_der().unwrap()),
        Signer::Ed25519(pair) => der(pair.public_key().as_der().unwrap()),
    }
}

#[test]
fn a_public_key_in_pem_is_the_key_that_it_is_as_a_jwk() {
    for signer in [&*RSA, &*P256, &*P384, &*ED25519] {
        let from_pem = VerifyingKey::from_pem(pem("PUBLIC KEY", &key_info(signer))).unwrap();
        let from_jwk = VerifyingKey::from_jwk(signer.jwk().to_string()).unwrap();
        assert_eq!(from_pem.thumbprint(), from_jwk.thumbprint());
        assert_eq!(from_pem.algorithms(), from_jwk.algorithms());
        assert_eq!(from_pem.kid(), None);
        let alg = from_pem.algorithms().iter().next().unwrap().name();
        let token = signer.token(&header(alg, None), &good_claims());
        assert_eq!(verdict(&token, &KeySet::from_keys([from_pem])), Ok(()), "{alg}");
    }
}

#[test]
fn the_files_of_openssl_are_read() {
    let spki = VerifyingKey::from_pem(include_str!("pem/rsa-pub.pem")).unwrap();
    let pkcs1 = VerifyingKey::from_pem(include_str!("pem/rsa-pkcs1.pem")).unwrap();
    assert_eq!(spki.thumbprint(), pkcs1.thumbprint());
    assert_eq!(spki.algorithms().iter().count(), 6);

    let key = VerifyingKey::from_pem(include_str!("pem/ec-pub.pem")).unwrap();
    let certificate = VerifyingKey::from_pem(include_str!("pem/ec-crt.pem")).unwrap();
    assert_eq!(key.thumbprint(), certificate.thumbprint());
    assert_eq!(key.algorithms(), Algorithm::ES256.into());

    // Windows' line ends, and space round the block.
    let text = include_str!("pem/ec-pub.pem").replace('\n', "\r\n");
    let windows = VerifyingKey::from_pem(format!("\r\n {text}\t\n")).unwrap();
    assert_eq!(windows.thumbprint(), key.thumbprint());
}

#[test]
fn pem_that_is_no_public_key_of_ours_is_refused_with_its_reason() {
    use SkipReason::{
        InvalidMaterial, KeySize, Malformed, NotPem, Private, UnsupportedCurve, UnsupportedKeyType,
    };
    let good = include_str!("pem/ec-pub.pem");
    let der = key_info(&P256);
    let mut off_curve = der.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let trailing = [&der[..], &[0]].concat();
    let mut long_form = der.clone();
    // 0x30 0x59 written as 0x30 0x81 0x59: BER, not DER.
    long_form.insert(1, 0x81);
    let body = good.lines().nth(1).unwrap();
    for (text, expected) in [
        (String::new(), NotPem),
        ("hello".into(), NotPem),
        (body.into(), NotPem),
        (good.replace("END PUBLIC", "END RSA PUBLIC"), NotPem),
        (good.replace("-----END PUBLIC KEY-----", ""), NotPem),
        (format!("# our key\n{good}"), NotPem),
        (format!("{good}{good}"), NotPem),
        (format!("{good}x"), NotPem),
        (good.replace('\n', ""), NotPem),
        (good.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1), NotPem),
        (good.replace(body, &body.replace('M', "*")), NotPem),
        (format!("{good}{}", " ".repeat(64 * 1024)), NotPem),
        (pem("PRIVATE KEY", &der), Private),
        (pem("RSA PRIVATE KEY", &der), Private),
        (pem("EC PRIVATE KEY", &der), Private),
        (pem("ENCRYPTED PRIVATE KEY", &der), Private),
        (pem("OPENSSH PRIVATE KEY", &der), Private),
        (pem("CERTIFICATE REQUEST", &der), UnsupportedKeyType),
        (pem("EC PARAMETERS", &der), UnsupportedKeyType),
        (pem("CERTIFICATE", &der), Malformed),
        (pem("RSA PUBLIC KEY", &der), Malformed),
        (pem("PUBLIC KEY", &trailing), Malformed),
        (pem("PUBLIC KEY", &long_form), Malformed),
        (pem("PUBLIC KEY", &der[..40]), Malformed),
        (pem("PUBLIC KEY", b""), Malformed),
        (pem("PUBLIC KEY", &off_curve), InvalidMaterial),
        (include_str!("pem/ec-comp-pub.pem").into(), InvalidMaterial),
        (include_str!("pem/ec-exp-pub.pem").into(), UnsupportedCurve),
        (include_str!("pem/p521-pub.pem").into(), UnsupportedCurve),
        (include_str!("pem/x25519-pub.pem").into(), UnsupportedKeyType),
        (include_str!("pem/pss-pub.pem").into(), UnsupportedKeyType),
        (include_str!("pem/rsa1024-pub.pem").into(), KeySize),
    ] {
        assert_eq!(VerifyingKey::from_pem(&text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn j18_the_point_at_infinity() {
    // SEC 1 section 2.3.3 writes it as one zero. A JWK has no way to.
    let named = &key_info(&P256)[2..][..21];
    let infinity = [&[0x30, 25], named, &[0x03, 2, 0, 0]].concat();
    let key = VerifyingKey::from_pem(pem("PUBLIC KEY", &infinity));
    assert_eq!(key.unwrap_err(), SkipReason::InvalidMaterial);
    let zeros = DecodingKey::from_ec_der(&[&[4][..], &[0; 64]].concat());
    assert_eq!(VerifyingKey::try_from(&zeros).unwrap_err(), SkipReason::InvalidMaterial);
    let zero = DecodingKey::from_ec_der(&[0]);
    assert_eq!(VerifyingKey::try_from(&zero).unwrap_err(), SkipReason::InvalidMaterial);
}

#[test]
fn der_cut_short_anywhere_is_no_key_and_no_panic() {
    for text in [include_str!("pem/ec-crt.pem"), include_str!("pem/rsa-pub.pem")] {
        let label = if text.contains("CERT") { "CERTIFICATE" } else { "PUBLIC KEY" };
        use base64::Engine as _;
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        assert!(VerifyingKey::from_pem(pem(label, &der)).is_ok());
        for length in 0..der.len() {
            assert!(VerifyingKey::from_pem(pem(label, &der[..length])).is_err(), "{length}");
        }
    }
}

#[test]
fn a_key_by_hand_is_named_and_bound() {
    let bare = VerifyingKey::from_pem(include_str!("pem/rsa-pub.pem")).unwrap();
    let key = bare.clone().with_kid("k").unwrap().only_for(Algorithm::PS256).unwrap();
    assert_eq!((key.kid(), key.algorithms()), (Some("k"), Algorithm::PS256.into()));
    assert_eq!(key.thumbprint(), bare.thumbprint());
    let signature = [0; 256];
    assert_eq!(key.verify(Algorithm::RS256, b"", &signature), Err(InvalidToken::KeyMismatch));
    assert_eq!(key.verify(Algorithm::PS256, b"", &signature), Err(InvalidToken::BadSignature));
    let mismatch = Some(SkipReason::AlgorithmMismatch);
    assert_eq!(key.clone().only_for(Algorithm::RS256).err(), mismatch);
    assert_eq!(bare.clone().only_for(Algorithm::HS256).err(), mismatch);
    for kid in ["".to_owned(), "k".repeat(257)] {
        assert_eq!(bare.clone().with_kid(kid).err(), Some(SkipReason::InvalidKid));
    }
}

#[test]
fn case_49_a_bare_key_by_hand_stands_for_every_name_if_it_alone_fits() {
    let key = VerifyingKey::from_jwk(P256.jwk().to_string()).unwrap();
    let other = VerifyingKey::from_jwk(Signer::p256().jwk().to_string()).unwrap();
    let named = VerifyingKey::from_jwk(ED25519.jwk_with(json!({"kid": "e"})).to_string()).unwrap();
    let set = KeySet::from_keys([key.clone(), named]);
    let token = |kid| P256.token(&header("ES256", kid), &good_claims());
    assert_eq!(verdict(&token(None), &set), Ok(()));
    assert_eq!(verdict(&token(Some("whatever")), &set), Ok(()));
    // A name that is taken is that key's alone.
    assert_eq!(verdict(&token(Some("e")), &set), Err(InvalidToken::KeyMismatch));
    let none = set.candidates(Some("whatever"), Algorithm::ES384).unwrap_err();
    assert_eq!(none, NoKey::UnknownKid);
    let two = KeySet::from_keys([key, other]);
    assert_eq!(verdict(&token(Some("whatever")), &two), Err(InvalidToken::AmbiguousKey));
    // In the issuer's own set a name means what it says.
    let fetched = P256.key_set(json!({}));
    assert_eq!(verdict(&token(Some("whatever")), &fetched), Err(InvalidToken::UnknownKey));
}

#[test]
fn j19_a_secret_is_at_least_as_long_as_its_hash() {
    for (algorithm, length) in
        [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)]
    {
        for short in [0, 1, 8, 16, length - 1] {
            let key = VerifyingKey::hmac(algorithm, &SECRET[..short]);
            assert_eq!(key.unwrap_err(), SkipReason::ShortSecret, "{algorithm} {short}");
        }
        let secret = &SECRET[..length];
        let key = VerifyingKey::hmac(algorithm, secret).unwrap();
        assert_eq!(key.algorithms(), algorithm.into());
        let set = KeySet::from_keys([key.with_kid("k").unwrap()]);
        assert_eq!(verdict(&hmac_token(algorithm.name(), Some("k"), secret), &set), Ok(()));
        assert_eq!(verdict(&hmac_token(algorithm.name(), None, secret), &set), Ok(()));
        let other = hmac_token(algorithm.name(), Some("k"), &[1; 64]);
        assert_eq!(verdict(&other, &set), Err(InvalidToken::BadSignature));
        // The same secret under another hash is another key.
        for more in AlgorithmSet::HMAC.iter().filter(|more| *more != algorithm) {
            let token = hmac_token(more.name(), Some("k"), secret);
            assert_eq!(verdict(&token, &set), Err(InvalidToken::KeyMismatch), "{more}");
        }
    }
    for algorithm in AlgorithmSet::ASYMMETRIC.iter() {
        let key = VerifyingKey::hmac(algorithm, SECRET);
        assert_eq!(key.unwrap_err(), SkipReason::AlgorithmMismatch, "{algorithm}");
    }
}

#[test]
fn j19_a_tag_is_compared_as_a_whole() {
    let set = KeySet::from_keys([VerifyingKey::hmac(Algorithm::HS256, SECRET).unwrap()]);
    let token = hmac_token("HS256", None, &SECRET);
    let (input, tag) = token.rsplit_once('.').unwrap();
    let tag = decode(tag);
    for length in 1..tag.len() {
        let cut = format!("{input}.{}", encode(&tag[..length]));
        assert_eq!(verdict(&cut, &set), Err(InvalidToken::BadSignature), "{length}");
    }
    let long = format!("{input}.{}", encode([&tag[..], &[0]].concat()));
    assert_eq!(verdict(&long, &set), Err(InvalidToken::BadSignature));
}

#[test]
fn j02_a_public_key_is_never_a_secret_even_where_hmac_is_allowed() {
    let jwk = RSA.jwk_with(json!({"kid": "k"}));
    let by_jwk = KeySet::from_jwks(json!({"keys": [jwk]}).to_string()).unwrap();
    let text = pem("PUBLIC KEY", &key_info(&RSA));
    let by_pem = KeySet::from_keys([VerifyingKey::from_pem(&text).unwrap()]);
    let modulus = decode(jwk["n"].as_str().unwrap());
    for secret in [text.as_bytes(), &key_info(&RSA), jwk.to_string().as_bytes(), &modulus] {
        let token = hmac_token("HS256", Some("k"), secret);
        assert_eq!(verdict(&token, &by_jwk), Err(InvalidToken::KeyMismatch));
        assert_eq!(verdict(&token, &by_pem), Err(InvalidToken::UnknownKey));
        // And by default the algorithm is not allowed at all.
        let refused = accept(&token, &rules(), &by_jwk).map(drop);
        assert_eq!(refused, Err(InvalidToken::AlgorithmNotAllowed));
    }
}

#[test]
fn k05_no_jwk_makes_a_secret_whatever_it_says() {
    let k = encode(SECRET);
    for (jwk, expected) in [
        (json!({"kty": "oct", "k": k}), SkipReason::Symmetric),
        (json!({"kty": "oct", "k": k, "alg": "HS256", "use": "sig"}), SkipReason::Symmetric),
        (json!({"kty": "oct", "alg": "HS256"}), SkipReason::Symmetric),
        (RSA.jwk_with(json!({"k": k})), SkipReason::Symmetric),
        (RSA.jwk_with(json!({"alg": "HS256"})), SkipReason::UnsupportedAlgorithm),
        (ED25519.jwk_with(json!({"alg": "HS512"})), SkipReason::UnsupportedAlgorithm),
    ] {
        let set = KeySet::from_jwks(json!({"keys": [jwk]}).to_string()).unwrap();
        assert!(set.algorithms().intersection(AlgorithmSet::HMAC).is_empty());
        assert_eq!(set.skipped()[0].reason(), expected, "{jwk}");
        assert_eq!(VerifyingKey::from_jwk(jwk.to_string()).unwrap_err(), expected);
    }
}

#[test]
fn a_secret_shows_nowhere_and_its_thumbprint_is_no_oracle() {
    let secret = b"canary-canary-canary-canary-canary-canary-canary-canary-canary-canary";
    let key = VerifyingKey::hmac(Algorithm::HS256, secret).unwrap();
    let shown = format!("{key:?} {:?}", KeySet::from_keys([key.clone()]));
    assert!(!shown.contains("canary") && !shown.contains(&encode(secret)), "{shown}");
    // Equal for equal secrets, so that sets can be compared; but not what RFC 7638 says.
    let same = VerifyingKey::hmac(Algorithm::HS256, secret).unwrap();
    assert_eq!(key.thumbprint(), same.thumbprint());
    let members = format!(r#"{{"k":"{}","kty":"oct"}}"#, encode(secret));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
    assert_ne!(key.thumbprint().as_bytes(), digest.as_ref());
}

#[test]
fn keys_of_jsonwebtoken_are_taken_as_far_as_they_can_be_read() {
    let member = |jwk: &Value, name: &str| jwk[name].as_str().unwrap().to_owned();
    let (rsa, p256, p384, ed) = (RSA.jwk(), P256.jwk(), P384.jwk(), ED25519.jwk());
    let components = |jwk: &Value| {
        DecodingKey::from_ec_components(&member(jwk, "x"), &member(jwk, "y")).unwrap()
    };
    use aws_lc_rs::signature::KeyPair as _;
    let Signer::Rsa(pair) = &*RSA else { unreachable!() };
    for (theirs, jwk) in [
        (DecodingKey::from_rsa_components(&member(&rsa, "n"), &member(&rsa, "e")).unwrap(), &rsa),
        (DecodingKey::from_rsa_der(pair.public_key().as_ref()), &rsa),
        (components(&p256), &p256),
        (components(&p384), &p384),
        (DecodingKey::from_ed_components(&member(&ed, "x")).unwrap(), &ed),
    ] {
        let ours = VerifyingKey::try_from(&theirs).unwrap();
        let expected = VerifyingKey::from_jwk(jwk.to_string()).unwrap();
        assert_eq!(ours.thumbprint(), expected.thumbprint());
        assert_eq!(ours.algorithms(), expected.algorithms());
    }
    for (theirs, expected) in [
        (DecodingKey::from_secret(&SECRET), SkipReason::Symmetric),
        (DecodingKey::from_rsa_der(b"x"), SkipReason::Malformed),
        (DecodingKey::from_ec_der(&key_info(&P256)), SkipReason::InvalidMaterial),
        (DecodingKey::from_ed_der(&key_info(&ED25519)), SkipReason::InvalidMaterial),
        (DecodingKey::from_ed_der(&[0; 32]), SkipReason::WeakPoint),
        (DecodingKey::from_rsa_raw_components(&[0xff; 128], &[1, 0, 1]), SkipReason::KeySize),
    ] {
        assert_eq!(VerifyingKey::try_from(&theirs).unwrap_err(), expected);
    }
}
