//! Whatever comes in, nothing panics, and what is not signed is not accepted.

use proptest::prelude::*;
use serde_json::json;
use tower_oauth_jose::{
    Algorithm, Confirmation, DpopProof, DpopRequest, DpopRules, KeySet, TargetUri, Unverified,
    VerifyingKey,
};

use crate::signer::{
    ED25519, NOW, P256, RSA, accept, at, encode, good_claims, good_header, key_set, lenient, rules,
    verdict_of,
};

/// Any JSON value, not very deep.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e300..1e300).prop_map(|number: f64| json!(number)),
        "\\PC{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 30, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    /// A claim that we know nothing of changes no verdict, and reaches the application as it is.
    #[test]
    fn any_other_claim_is_carried_along(name in "x\\PC{0,20}", value in any_json(), pretty in any::<bool>()) {
        let mut claims = good_claims();
        claims[&name] = value;
        let text = if pretty { serde_json::to_string_pretty(&claims) } else { serde_json::to_string(&claims) };
        let text = text.unwrap();
        let verified = verdict_of(&lenient(), &good_header().to_string(), &text).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(verified.claims::<serde_json::Value>().unwrap(), theirs);
    }

    /// To look for the issuer first changes nothing of what is found after it.
    #[test]
    fn j24_who_asks_for_the_issuer_first_gets_the_same_verdict(
        name in "[xisu]{1,3}|\\\\u0069ss|\\\\u0078|sub|nbf",
        value in any_json(),
        at_byte in proptest::option::of((0_usize..400, any::<u8>())),
    ) {
        let claims = good_claims().to_string();
        let mut text = format!("{{\"{name}\":{value},{}", &claims[1..]).into_bytes();
        if let Some((at, byte)) = at_byte && let Some(place) = text.get_mut(at) {
            *place = byte;
        }
        let token = ED25519.token_of(&good_header().to_string(), &text);
        let keys = ED25519.key_set(json!({"kid": "k"}));
        let at_once = accept(&token, &lenient(), &keys).map(|verified| verified.standard().clone());
        let parsed = Unverified::parse(&token).unwrap();
        let claimed = parsed.claimed_issuer().map(std::borrow::Cow::into_owned);
        let again = parsed.claimed_issuer().map(std::borrow::Cow::into_owned);
        prop_assert_eq!(&claimed, &again);
        let later = parsed
            .check(&lenient(), at(NOW))
            .and_then(|checked| Ok(checked.verify_by(&keys)?))
            .map(|verified| verified.standard().clone());
        prop_assert_eq!(&at_once, &later);
        if let Ok(standard) = later {
            prop_assert_eq!(claimed.unwrap(), standard.issuer());
        }
    }

    /// Written twice, whatever the two are and however the second is spelt, it is refused.
    #[test]
    fn j21_any_member_twice_is_refused(name in "x[a-z]{0,8}", a in any_json(), b in any_json(), at in 0_usize..8) {
        let spelt: String = name
            .chars()
            .enumerate()
            .map(|(place, c)| if place == at { format!("\\u{:04x}", u32::from(c)) } else { c.into() })
            .collect();
        let claims = good_claims().to_string();
        let text = format!("{},\"{name}\":{a},\"{spelt}\":{b}}}", &claims[..claims.len() - 1]);
        let verdict = verdict_of(&lenient(), &good_header().to_string(), text).unwrap_err();
        prop_assert_eq!(verdict, tower_oauth_jose::InvalidToken::DuplicateMember);
    }

    #[test]
    fn random_bytes_are_no_token(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(Unverified::parse(&bytes).is_err());
    }

    #[test]
    fn random_parts_are_no_token(
        header in "\\PC{0,40}",
        claims in proptest::collection::vec(any::<u8>(), 0..200),
        signature in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        if let Ok(parsed) = Unverified::parse(&token) {
            prop_assert!(parsed.check(&rules(), at(NOW)).is_err());
        }
    }

    #[test]
    fn random_signatures_are_refused_by_each_kind_of_key(
        signature in proptest::collection::vec(any::<u8>(), 1..300),
        alg in proptest::sample::select(vec!["EdDSA", "ES256", "RS256", "PS512"]),
    ) {
        let keys = key_set([ED25519.jwk(), P256.jwk(), RSA.jwk()]);
        let header = json!({"alg": alg, "typ": "at+jwt"}).to_string();
        let claims = good_claims().to_string();
        let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        prop_assert!(accept(&token, &rules(), &keys).is_err());
    }

    /// Our reader of JSON lets nothing through that serde_json would not read, and agrees on what
    /// it reads.
    #[test]
    fn signed_rubbish_is_read_as_serde_json_reads_it(
        at_byte in 0_usize..200,
        byte in any::<u8>(),
        insert in any::<bool>(),
    ) {
        let mut claims = good_claims().to_string().into_bytes();
        let position = at_byte % claims.len();
        if insert { claims.insert(position, byte) } else { claims[position] = byte }
        if let Ok(verified) = verdict_of(&lenient(), &good_header().to_string(), &claims) {
            let theirs: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            prop_assert_eq!(theirs["iss"].as_str(), Some(verified.standard().issuer()));
            prop_assert_eq!(theirs["sub"].as_str(), verified.standard().subject());
            prop_assert!(verified.claims::<serde_json::Value>().is_ok());
        }
    }

    #[test]
    fn random_parts_are_no_proof(
        header in "\\PC{0,40}",
        claims in proptest::collection::vec(any::<u8>(), 0..200),
        signature in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let proof = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        let (rules, request) = (DpopRules::new(), DpopRequest::new("GET", &[]));
        prop_assert!(DpopProof::verify(&proof, &rules, &request, at(NOW)).is_err());
    }

    #[test]
    fn random_text_confirms_nothing(text in "\\PC{0,80}") {
        prop_assert!(Confirmation::parse(&text).is_err());
        let digest = json!({"jkt": text}).to_string();
        prop_assert!(Confirmation::parse(digest).is_err());
    }

    /// What is normal stays as it is, whatever it was made of.
    #[test]
    fn d02_a_normal_target_is_normal(
        scheme in "https?|HTTPS",
        host in "[a-zA-Z0-9.:\\[\\]%@-]{0,12}",
        path in "(/(\\.|\\.\\.|%2[eEfF]|[!-~]){0,4}){0,6}",
    ) {
        if let Some(uri) = TargetUri::parse(&format!("{scheme}://{host}{path}")) {
            prop_assert_eq!(TargetUri::parse(uri.as_str()), Some(uri.clone()));
            let (_, rest) = uri.as_str().split_once("://").unwrap();
            // A host may be two dots; a path may not.
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            prop_assert!(!path.contains("/../") && !path.contains(['?', '#']));
        }
    }

    #[test]
    fn random_bytes_are_no_keys(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(KeySet::from_jwks(&bytes).is_err());
        prop_assert!(VerifyingKey::from_jwk(&bytes).is_err());
    }

    #[test]
    fn random_text_is_no_pem(text in "\\PC{0,200}") {
        prop_assert!(VerifyingKey::from_pem(&text).is_err());
        let block = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----");
        prop_assert!(VerifyingKey::from_pem(block).is_err());
    }

    #[test]
    fn a_certificate_with_changed_bytes_makes_a_key_or_a_reason(
        at in proptest::collection::vec((0_usize..395, any::<u8>()), 1..4),
        label in proptest::sample::select(vec!["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"]),
    ) {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;

        let text = include_str!("pem/ec-crt.pem");
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = STANDARD.decode(body).unwrap();
        for (at, byte) in at {
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
        }
        let body = STANDARD.encode(der);
        let block = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
        if let Ok(key) = VerifyingKey::from_pem(block) {
            prop_assert_eq!(label, "CERTIFICATE");
            prop_assert!(key.verify(Algorithm::ES256, b"x", &[1; 64]).is_err());
        }
    }

    #[test]
    fn random_material_makes_a_key_or_a_reason(
        kty in proptest::sample::select(vec!["RSA", "EC", "OKP", "oct", "AKP", ""]),
        crv in proptest::sample::select(vec!["P-256", "P-384", "Ed25519", "X25519", ""]),
        a in proptest::collection::vec(any::<u8>(), 0..70),
        b in proptest::collection::vec(any::<u8>(), 0..70),
    ) {
        let jwk = json!({
            "kty": kty, "crv": crv, "x": encode(&a), "y": encode(&b), "n": encode(&a), "e": encode(&b),
        });
        if let Ok(key) = VerifyingKey::from_jwk(jwk.to_string()) {
            prop_assert_eq!(kty, "OKP");
            for algorithm in key.algorithms().iter() {
                prop_assert!(key.verify(algorithm, b"x", &[0; 64]).is_err());
            }
        }
    }
}
