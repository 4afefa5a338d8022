//! Shape and header of a token. All tokens here are rightly signed, unless the case is otherwise.

use serde_json::{Value, json};
use tower_oauth_jose::{InvalidToken, LARGEST_TOKEN_BYTES, MAX_TOKEN_BYTES, Rules, Unverified};

use crate::signer::{
    AUDIENCE, ED25519, ISSUER, NOW, P256, RSA, accept, encode, good_claims, good_header, key_set,
    lenient, rules, verdict_of, with,
};

fn refused(header: impl AsRef<str>) -> InvalidToken {
    verdict_of(&rules(), header.as_ref(), good_claims().to_string()).unwrap_err()
}

#[test]
fn a_good_token_is_accepted() {
    let verified =
        verdict_of(&rules(), &good_header().to_string(), good_claims().to_string()).unwrap();
    assert_eq!(verified.standard().subject(), Some("user-7"));
}

#[test]
fn j01_alg_none_in_any_spelling() {
    for alg in ["none", "None", "NONE", "nOnE", "", " ", "none\0", "HS256", "HS512", "RSA-OAEP"] {
        let header = with(good_header(), json!({"alg": alg})).to_string();
        assert_eq!(refused(header), InvalidToken::AlgorithmNotAllowed, "{alg:?}");
    }
    for header in [
        r#"{"typ":"at+jwt"}"#,
        r#"{"alg":null,"typ":"at+jwt"}"#,
        r#"{"alg":["EdDSA"],"typ":"at+jwt"}"#,
        r#"{"alg":{},"typ":"at+jwt"}"#,
        r#"{"alg":1,"typ":"at+jwt"}"#,
    ] {
        assert_eq!(refused(header), InvalidToken::AlgorithmNotAllowed, "{header}");
    }
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode("{}"));
    assert_eq!(Unverified::parse(&unsigned).unwrap_err(), InvalidToken::Malformed);
}

#[test]
fn j05_kid_that_is_no_plain_name() {
    for (kid, expected) in [
        (json!("../../etc/passwd"), InvalidToken::UnknownKey),
        (json!("' OR 1=1 --"), InvalidToken::UnknownKey),
        (json!("k\0"), InvalidToken::UnknownKey),
        (json!("K"), InvalidToken::UnknownKey),
        (json!("x".repeat(256)), InvalidToken::UnknownKey),
        (json!("x".repeat(257)), InvalidToken::TooLarge),
        (json!(""), InvalidToken::InvalidHeader("kid")),
        (json!(7), InvalidToken::InvalidHeader("kid")),
        (json!(["k"]), InvalidToken::InvalidHeader("kid")),
    ] {
        assert_eq!(refused(with(good_header(), json!({"kid": kid})).to_string()), expected);
    }
    assert_eq!(
        refused(r#"{"alg":"EdDSA","typ":"at+jwt","kid":null}"#),
        InvalidToken::InvalidHeader("kid")
    );
    let long = with(good_header(), json!({"kid": "x".repeat(1 << 20)})).to_string();
    assert_eq!(refused(long), InvalidToken::TooLarge);
}

#[test]
fn j05_kid_absent_is_accepted_only_if_exactly_one_key_fits() {
    let header = with(good_header(), json!({"kid": null}));
    let token = ED25519.token(&header, &good_claims());
    let (ours, other) = (ED25519.jwk_with(json!({"kid": "k"})), crate::signer::Signer::ed25519());
    let other = other.jwk_with(json!({"kid": "l"}));
    let p256 = P256.jwk();

    accept(&token, &rules(), &key_set([ours.clone(), p256.clone()])).unwrap();
    // The same key under two names is one key.
    let renamed = with(ours.clone(), json!({"kid": "m"}));
    accept(&token, &rules(), &key_set([ours.clone(), renamed])).unwrap();

    let verdict = |keys| accept(&token, &rules(), &keys).unwrap_err();
    assert_eq!(verdict(key_set([ours, other])), InvalidToken::AmbiguousKey);
    assert_eq!(verdict(key_set([p256])), InvalidToken::UnknownKey);
    assert_eq!(verdict(key_set([])), InvalidToken::UnknownKey);
}

#[test]
fn j06_keys_that_the_token_brings_along_are_never_used() {
    // The attacker signs with a key that stands in the header.
    let attacker = crate::signer::Signer::ed25519();
    let keys = ED25519.key_set(json!({"kid": "k"}));
    for brought in [
        json!({"jku": "http://169.254.169.254/keys"}),
        json!({"x5u": "http://127.0.0.1/cert"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5t": "AAAA", "x5t#S256": "AAAA"}),
    ] {
        let header = with(good_header(), brought);
        let forged = attacker.token(&header, &good_claims());
        assert_eq!(accept(&forged, &rules(), &keys).unwrap_err(), InvalidToken::BadSignature);
        // Issuers do send them; the issuer's own token stays good.
        accept(&ED25519.token(&header, &good_claims()), &rules(), &keys).unwrap();
    }
    let header = with(good_header(), json!({"jwk": attacker.jwk()}));
    let forged = attacker.token(&header, &good_claims());
    assert_eq!(Unverified::parse(&forged).unwrap_err(), InvalidToken::ForbiddenHeader("jwk"));
}

#[test]
fn j07_crit_in_any_form() {
    for crit in [
        json!(["exp"]),
        json!([]),
        json!(["alg", "alg"]),
        json!(["alg"]),
        json!("alg"),
        json!({}),
        json!(true),
    ] {
        let header = with(good_header(), json!({"crit": crit}));
        assert_eq!(refused(header.to_string()), InvalidToken::ForbiddenHeader("crit"));
    }
    assert_eq!(
        refused(r#"{"alg":"EdDSA","typ":"at+jwt","\u0063rit":null}"#),
        InvalidToken::ForbiddenHeader("crit")
    );
}

#[test]
fn j08_b64_with_and_without_crit() {
    for (more, name) in [
        (json!({"b64": false}), "b64"),
        (json!({"b64": true}), "b64"),
        (json!({"b64": false, "crit": ["b64"]}), "crit"),
    ] {
        let header = with(good_header(), more).to_string();
        assert_eq!(refused(&header), InvalidToken::ForbiddenHeader(name));
        let unencoded = ED25519.token_of_parts(&encode(&header), "{}");
        assert_eq!(Unverified::parse(&unencoded).unwrap_err(), InvalidToken::ForbiddenHeader(name));
    }
}

#[test]
fn j09_compressed_encrypted_and_nested() {
    for (more, name) in [
        (json!({"zip": "DEF"}), "zip"),
        (json!({"enc": "A128GCM"}), "enc"),
        (json!({"cty": "JWT"}), "cty"),
    ] {
        let header = with(good_header(), more);
        assert_eq!(refused(header.to_string()), InvalidToken::ForbiddenHeader(name));
    }
    // A good token in a token, whether the outer one says so or not.
    let inner = ED25519.token(&good_header(), &good_claims());
    for claims in [inner.clone(), format!("\"{inner}\"")] {
        let verdict = verdict_of(&rules(), &good_header().to_string(), &claims).unwrap_err();
        assert_eq!(verdict, InvalidToken::Malformed);
        let nested = with(good_header(), json!({"cty": "JWT"})).to_string();
        let verdict = verdict_of(&rules(), &nested, &claims).unwrap_err();
        assert_eq!(verdict, InvalidToken::ForbiddenHeader("cty"));
    }
}

#[test]
fn j10_other_numbers_of_parts() {
    let good = ED25519.token(&good_header(), &good_claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}.{payload}.{signature}"),
        format!("{good}.{good}"),
        format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#),
    ] {
        assert_eq!(Unverified::parse(&token).unwrap_err(), InvalidToken::Malformed, "{token}");
    }
}

#[test]
fn j20_base64_in_any_form_but_the_one() {
    let good = ED25519.token(&good_header(), &good_claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    // 64 bytes are 86 characters with four stray bits at the end.
    let last = signature.chars().last().unwrap();
    let stray = match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    };
    for token in [
        format!("{good}="),
        format!("{good}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{header}.{payload}\r\n.{signature}"),
        format!("{header}.{payload}.{}+", &signature[..85]),
        format!("{header}.{payload}.{}/", &signature[..85]),
        format!("{header}.{payload}.{}{stray}", &signature[..85]),
        format!("{header}.{payload}.{}", &signature[..85]),
        format!("{header}.{payload}.é{signature}"),
        format!("{header}\0.{payload}.{signature}"),
        format!("{header}.{}.{signature}", payload.replace('e', "%65")),
    ] {
        assert_eq!(Unverified::parse(&token).unwrap_err(), InvalidToken::Malformed, "{token:?}");
    }
}

#[test]
fn j21_a_header_member_twice() {
    for header in [
        r#"{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"none","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","x":1,"x":1}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","x":{"y":1,"y":2}}"#,
    ] {
        assert_eq!(refused(header), InvalidToken::DuplicateMember, "{header}");
    }
}

#[test]
fn j22_headers_and_tokens_over_the_limits() {
    let deep =
        |depth| format!(r#"{{"alg":"EdDSA","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let wide = format!(r#"{{"alg":"EdDSA","x":[{}1]}}"#, "1,".repeat(1_000_000));
    for header in [deep(127), deep(129), deep(100_000), wide] {
        assert_eq!(refused(header), InvalidToken::TooLarge);
    }
    for length in [MAX_TOKEN_BYTES + 1, 1 << 20] {
        let long = "a".repeat(length);
        assert_eq!(Unverified::parse(&long).unwrap_err(), InvalidToken::TooLarge);
    }
    // At the limit it is read.
    let at_limit = "a".repeat(MAX_TOKEN_BYTES);
    assert_eq!(Unverified::parse(&at_limit).unwrap_err(), InvalidToken::Malformed);
    // A large token within the limits is accepted.
    let claims = with(good_claims(), json!({"padding": "x".repeat(5_500)}));
    verdict_of(&rules(), &good_header().to_string(), claims.to_string()).unwrap();
}

#[test]
fn j23_a_header_that_is_no_object() {
    for header in ["", "[]", "null", "\"x\"", "{", "{}x", " {}", "\u{feff}{}", "{\"alg\":"] {
        assert_eq!(refused(header), InvalidToken::Malformed, "{header:?}");
    }
    let binary = ED25519.token_of_parts(&encode(b"{\"alg\":\"\xff\"}"), &encode("{}"));
    assert_eq!(Unverified::parse(&binary).unwrap_err(), InvalidToken::Malformed);
}

#[test]
fn j31_typ_under_either_profile() {
    let strict_ok = ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"];
    let lenient_ok = ["JWT", "jwt", "application/jwt"];
    let never = [
        "",
        "at",
        "at+jwtx",
        "xat+jwt",
        "application/",
        "text/at+jwt",
        "application/application/at+jwt",
        "secevent+jwt",
        "logout+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "id+jwt",
        "client-authentication+jwt",
        "oauth-authz-req+jwt",
        "rt+jwt",
        "JOSE",
        "at+jwt ",
    ];
    let verdict = |rules, typ: &Value| {
        let header = with(good_header(), json!({"typ": typ})).to_string();
        verdict_of(rules, &header, good_claims().to_string()).map(drop)
    };
    let (strict, lenient) = (rules(), lenient());
    for typ in strict_ok {
        assert_eq!(verdict(&strict, &json!(typ)), Ok(()), "{typ}");
        assert_eq!(verdict(&lenient, &json!(typ)), Ok(()), "{typ}");
    }
    for typ in lenient_ok {
        assert_eq!(verdict(&strict, &json!(typ)), Err(InvalidToken::WrongType), "{typ}");
        assert_eq!(verdict(&lenient, &json!(typ)), Ok(()), "{typ}");
    }
    for typ in never {
        assert_eq!(verdict(&strict, &json!(typ)), Err(InvalidToken::WrongType), "{typ}");
        assert_eq!(verdict(&lenient, &json!(typ)), Err(InvalidToken::WrongType), "{typ}");
    }
    // `null` takes the member out.
    assert_eq!(verdict(&strict, &Value::Null), Err(InvalidToken::WrongType));
    assert_eq!(verdict(&lenient, &Value::Null), Ok(()));
    for typ in [json!(1), json!(["at+jwt"]), json!(true)] {
        assert_eq!(verdict(&lenient, &typ), Err(InvalidToken::InvalidHeader("typ")));
    }
}

#[test]
fn a_refusal_never_shows_what_the_token_says() {
    let canary = "canary-5d1f";
    let header = with(good_header(), json!({"kid": canary, "x": canary}));
    let claims = with(good_claims(), json!({"sub": canary, "jti": canary, "n": canary}));
    let token = ED25519.token(&header, &claims);
    let parsed = Unverified::parse(&token).unwrap();
    assert!(!format!("{parsed:?}").contains(canary));
    let checked = parsed.check(&rules(), crate::signer::at(NOW)).unwrap().into_owned();
    assert!(!format!("{checked:?}").contains(canary));
    assert_eq!(checked.kid(), Some(canary));
    let unproven = checked.verify_by(&RSA.key_set(json!({}))).unwrap_err();
    assert!(!format!("{unproven:?} {unproven}").contains(canary));
    let keys = ED25519.key_set(json!({"kid": canary}));
    let verified = unproven.into_checked().verify_by(&keys).unwrap();
    let shown = format!("{verified:?} {:?}", verified.standard());
    assert!(!shown.contains(canary), "{shown}");
    assert!(!shown.contains(ISSUER) && !shown.contains(AUDIENCE), "{shown}");
}

#[test]
fn j22_the_size_that_the_rules_allow_and_no_more() {
    let rules = |bytes| Rules::builder(ISSUER, AUDIENCE).max_token_bytes(bytes).build();
    for bytes in [0, 1023, LARGEST_TOKEN_BYTES + 1, usize::MAX] {
        let error = rules(bytes).unwrap_err().to_string();
        assert!(error.contains(&bytes.to_string()), "{error}");
    }
    // A good header, and claims that nobody reads yet.
    let header = encode(good_header().to_string());
    let token = |length: usize| format!("{header}.{}.AA", "A".repeat(length - header.len() - 4));
    for limit in [1024, 8 * 1024, 20_000, LARGEST_TOKEN_BYTES] {
        let limit_of_rules = rules(limit).unwrap().max_token_bytes();
        for length in [limit - 3, limit - 2, limit - 1, limit] {
            let verdict = Unverified::parse_up_to(limit_of_rules, &token(length)).err();
            assert_ne!(verdict, Some(InvalidToken::TooLarge), "{length}");
        }
        let verdict = Unverified::parse_up_to(limit_of_rules, &token(limit + 1)).err();
        assert_eq!(verdict, Some(InvalidToken::TooLarge), "{limit}");
    }
    let verdict = Unverified::parse_up_to(usize::MAX, &token(LARGEST_TOKEN_BYTES + 1)).err();
    assert_eq!(verdict, Some(InvalidToken::TooLarge));
    assert_eq!(Unverified::parse(&token(8 * 1024 + 1)).err(), Some(InvalidToken::TooLarge));
}
