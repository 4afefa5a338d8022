//! What a client signs, seen by the checks of this crate and by hand.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tower_oauth_jose::{
    Algorithm, AlgorithmSet, ClientAssertion, DpopClaims, DpopProof, DpopRequest, DpopRules,
    DpopSigner, InvalidProof, InvalidSigningKey, KeySet, Profile, Rules, SigningKey, TargetUri,
    Unverified, VerifyingKey,
};

use crate::signer::{AUDIENCE, NOW};

/// The private key of `document`, as OpenSSL writes it.
fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn rsa_pem() -> (String, Vec<u8>) {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = {
        use aws_lc_rs::signature::KeyPair as _;
        pair.public_key().as_der().unwrap()
    };
    (pem("PRIVATE KEY", private.as_ref()), public.as_ref().to_vec())
}

fn ec_pem(alg: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> (String, Vec<u8>) {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
    let pair = EcdsaKeyPair::generate(alg).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), public.as_ref().to_vec())
}

fn ed25519_pem(version_1: bool) -> (String, Vec<u8>) {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::generate().unwrap();
    let private = if version_1 { pair.to_pkcs8v1() } else { pair.to_pkcs8() }.unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), public.as_ref().to_vec())
}

fn parts(token: &str) -> (Value, Value) {
    let part = |index: usize| {
        let text = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    assert_eq!(token.split('.').count(), 3);
    (part(0), part(1))
}

/// The signature, checked against the public half by this crate's own verifier.
fn verifies(token: &str, public: &[u8]) -> bool {
    let key = VerifyingKey::from_pem(pem("PUBLIC KEY", public)).unwrap().with_kid("k1").unwrap();
    let rules = Rules::builder("orders", AUDIENCE).profile(Profile::Lenient);
    let rules = rules.algorithms(AlgorithmSet::ASYMMETRIC.iter()).build().unwrap();
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW as u64);
    let checked = Unverified::parse(token).and_then(|token| token.check(&rules, now)).unwrap();
    checked.verify_by(&KeySet::from_keys([key])).is_ok()
}

#[test]
fn each_algorithm_signs_what_its_public_half_verifies() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
    let rsa = rsa_pem();
    let p256 = ec_pem(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let p384 = ec_pem(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let cases = [
        (Algorithm::RS256, &rsa),
        (Algorithm::RS384, &rsa),
        (Algorithm::RS512, &rsa),
        (Algorithm::PS256, &rsa),
        (Algorithm::PS384, &rsa),
        (Algorithm::PS512, &rsa),
        (Algorithm::ES256, &p256),
        (Algorithm::ES384, &p384),
        (Algorithm::EdDSA, &ed25519_pem(true)),
        (Algorithm::EdDSA, &ed25519_pem(false)),
    ];
    let another = rsa_pem().1;
    for (algorithm, (private, public)) in cases {
        let key = SigningKey::from_pkcs8_pem(algorithm, private).unwrap().with_kid("k1").unwrap();
        let token = ClientAssertion::of_client("orders", AUDIENCE).sign(&key, NOW).unwrap();
        assert!(verifies(&token, public), "{algorithm}");
        assert!(!verifies(&token, &another), "{algorithm}");
        let (header, _) = parts(&token);
        assert_eq!(header["alg"], algorithm.name());
        assert_eq!((&header["typ"], &header["kid"]), (&"JWT".into(), &"k1".into()));
    }
}

#[test]
fn t13_an_assertion_names_its_client_twice_one_audience_and_a_new_jti_each_time() {
    let key = SigningKey::hmac(Algorithm::HS256, [7; 32]).unwrap();
    let assertion = ClientAssertion::of_client("orders", "https://idp.example");
    let claims = |now| parts(&assertion.sign(&key, now).unwrap()).1;
    let (first, second) = (claims(NOW), claims(NOW + 1));
    assert_eq!(first["iss"], "orders");
    assert_eq!(first["sub"], "orders");
    assert_eq!(first["aud"], "https://idp.example", "one text, not a list");
    assert_eq!(first["exp"], NOW + 60);
    assert_eq!((&first["iat"], &second["iat"]), (&NOW.into(), &(NOW + 1).into()));
    assert_ne!(first["jti"], second["jti"]);
    assert!(first["jti"].as_str().unwrap().len() >= 22, "128 bits at least");
    let header = parts(&assertion.sign(&key, NOW).unwrap()).0;
    assert_eq!(header.get("kid"), None);
    let for_user = ClientAssertion::of_subject("orders", "alice", "https://idp.example");
    let claims = parts(&for_user.sign(&key, NOW).unwrap()).1;
    assert_eq!((&claims["iss"], &claims["sub"]), (&"orders".into(), &"alice".into()));
}

#[test]
fn a_key_of_another_type_form_or_size_does_not_sign() {
    use InvalidSigningKey::{AlgorithmMismatch, NotPkcs8Pem, ShortSecret};
    use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let (rsa, _) = rsa_pem();
    let (p256, public) = ec_pem(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let cases = [
        (Algorithm::ES256, rsa.clone(), AlgorithmMismatch),
        (Algorithm::EdDSA, rsa.clone(), AlgorithmMismatch),
        (Algorithm::RS256, p256.clone(), AlgorithmMismatch),
        (Algorithm::ES384, p256.clone(), AlgorithmMismatch),
        (Algorithm::HS256, p256.clone(), AlgorithmMismatch),
        (Algorithm::ES256, p256.replace("PRIVATE", "EC PRIVATE"), NotPkcs8Pem),
        (Algorithm::ES256, p256.replace("PRIVATE", "ENCRYPTED PRIVATE"), NotPkcs8Pem),
        (Algorithm::ES256, pem("PUBLIC KEY", &public), NotPkcs8Pem),
        (Algorithm::ES256, format!("{p256}{p256}"), NotPkcs8Pem),
        (Algorithm::ES256, p256[..p256.len() / 2].to_owned(), NotPkcs8Pem),
        (Algorithm::ES256, String::new(), NotPkcs8Pem),
        (Algorithm::ES256, pem("PRIVATE KEY", b"not DER"), AlgorithmMismatch),
    ];
    for (algorithm, text, expected) in cases {
        let found = SigningKey::from_pkcs8_pem(algorithm, &text).unwrap_err();
        assert_eq!(found, expected, "{algorithm} {}", &text[..text.len().min(30)]);
    }
    for (algorithm, length) in
        [(Algorithm::HS256, 31), (Algorithm::HS384, 47), (Algorithm::HS512, 63)]
    {
        let found = SigningKey::hmac(algorithm, vec![7; length]).unwrap_err();
        assert_eq!(found, ShortSecret, "{algorithm}");
        assert!(SigningKey::hmac(algorithm, vec![7; length + 1]).is_ok());
    }
    assert_eq!(SigningKey::hmac(Algorithm::RS256, [7; 64]).unwrap_err(), AlgorithmMismatch);
    let key = || SigningKey::hmac(Algorithm::HS256, [7; 32]).unwrap();
    assert_eq!(key().with_kid("").unwrap_err(), InvalidSigningKey::InvalidKid);
    assert_eq!(key().with_kid("k".repeat(257)).unwrap_err(), InvalidSigningKey::InvalidKid);
}

#[test]
fn l01_debug_of_a_signing_key_shows_no_key() {
    let key = SigningKey::hmac(Algorithm::HS256, "CANARY-CANARY-CANARY-CANARY-CANARY").unwrap();
    assert!(!format!("{key:?}").contains("CANARY"));
}

#[test]
fn d01_d04_each_private_key_makes_proofs_that_hold_for_one_request_and_token() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
    let given = |algorithm, pem: &(String, Vec<u8>)| {
        let key = SigningKey::from_pkcs8_pem(algorithm, &pem.0).unwrap();
        let public = self::pem("PUBLIC KEY", &pem.1);
        let public = VerifyingKey::from_pem(public).unwrap().thumbprint();
        assert_eq!(key.thumbprint(), Some(public), "{algorithm:?}");
        key
    };
    let keys = [
        given(Algorithm::RS256, &rsa_pem()),
        given(Algorithm::PS384, &rsa_pem()),
        given(Algorithm::ES256, &ec_pem(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        given(Algorithm::ES384, &ec_pem(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        given(Algorithm::EdDSA, &ed25519_pem(true)),
        SigningKey::generate(Algorithm::ES256).unwrap(),
        SigningKey::generate(Algorithm::ES384).unwrap(),
        SigningKey::generate(Algorithm::EdDSA).unwrap(),
    ];
    let stranger = DpopSigner::new(SigningKey::generate(Algorithm::ES256).unwrap()).unwrap();
    let target = "https://api.example.com/stock/7";
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW as u64);
    for key in keys {
        let signer = DpopSigner::new(key.with_kid("not-shown").unwrap()).unwrap();
        let claims = DpopClaims::new("POST", target).access_token("t1").nonce("n1");
        let proof = signer.sign(&claims, NOW).unwrap();
        let verify = |method: &str, uri: &str, token: &str, jkt| {
            let uris = [TargetUri::parse(uri).unwrap()];
            let request = DpopRequest::new(method, &uris).access_token(token, Some(jkt));
            DpopProof::verify(&proof, &DpopRules::new(), &request, now)
        };
        let good = verify("POST", target, "t1", signer.jkt()).unwrap();
        assert_eq!(good.nonce(), Some("n1"));
        let refused = |method, uri, token, jkt| verify(method, uri, token, jkt).unwrap_err();
        let jkt = signer.jkt();
        assert_eq!(refused("GET", target, "t1", jkt), InvalidProof::WrongMethod);
        assert_eq!(refused("POST", "https://api.example.com/", "t1", jkt), InvalidProof::WrongUri);
        assert_eq!(refused("POST", target, "t2", jkt), InvalidProof::WrongToken);
        assert_eq!(refused("POST", target, "t1", stranger.jkt()), InvalidProof::WrongKey);

        let (header, claims) = parts(&proof);
        assert_eq!(header.as_object().unwrap().len(), 3, "{header}");
        assert_eq!(claims.as_object().unwrap().len(), 6, "{claims}");
        let again = signer.sign(&DpopClaims::new("POST", target), NOW).unwrap();
        let (same_header, others) = parts(&again);
        assert_eq!(same_header, header);
        assert_ne!(others["jti"], claims["jti"]);
        assert_eq!(others.as_object().unwrap().len(), 4, "{others}");

        assert!(signer.recognises(proof.as_bytes()) && signer.recognises(again.as_bytes()));
        assert!(!stranger.recognises(proof.as_bytes()));
        assert!(
            !signer.recognises(b"")
                && !signer.recognises(again.split('.').next().unwrap().as_bytes())
        );
    }
}

#[test]
fn d01_a_shared_secret_makes_no_proof_and_only_some_keys_are_made_here() {
    let secret = SigningKey::hmac(Algorithm::HS256, [7; 32]).unwrap();
    assert_eq!((secret.public_jwk(), secret.thumbprint()), (None, None));
    assert_eq!(DpopSigner::new(secret).unwrap_err(), InvalidSigningKey::AlgorithmMismatch);
    for algorithm in [Algorithm::RS256, Algorithm::PS512, Algorithm::HS256] {
        let made = SigningKey::generate(algorithm);
        assert_eq!(made.unwrap_err(), InvalidSigningKey::AlgorithmMismatch);
    }
    let one = SigningKey::generate(Algorithm::ES256).unwrap().thumbprint();
    assert_ne!(one, SigningKey::generate(Algorithm::ES256).unwrap().thumbprint());
}

#[test]
fn l01_a_signer_and_its_claims_show_no_token_and_no_path() {
    let signer = DpopSigner::new(SigningKey::generate(Algorithm::ES256).unwrap()).unwrap();
    let claims = DpopClaims::new("GET", "https://a.example/CANARY").access_token("CANARY");
    let shown = format!("{signer:?} {claims:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
    assert!(shown.contains(&signer.jkt().to_string()), "{shown}");
}
