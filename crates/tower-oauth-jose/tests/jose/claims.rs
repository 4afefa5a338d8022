//! The claims. Every token here is rightly signed; only its claims are wrong.

use serde::Deserialize;
use serde_json::{Value, json};
use tower_oauth_jose::{Algorithm, InvalidToken, Profile, Rules, Unverified};

use crate::signer::{
    AUDIENCE, ED25519, ISSUER, NOW, accept, at, good_claims, good_header, lenient, rules,
    verdict_of, with,
};

fn verdict(rules: &Rules, more: Value) -> Result<(), InvalidToken> {
    let claims = with(good_claims(), more).to_string();
    verdict_of(rules, &good_header().to_string(), claims).map(drop)
}

/// As above, with JSON text that a `Value` cannot hold; `null` included.
fn verdict_of_text(name: &str, text: &str) -> Result<(), InvalidToken> {
    let mut claims = with(good_claims(), json!({ name: null })).to_string();
    claims.truncate(claims.len() - 1);
    let claims = format!("{claims},\"{name}\":{text}}}");
    verdict_of(&rules(), &good_header().to_string(), claims).map(drop)
}

#[test]
fn the_standard_claims_are_what_the_token_says() {
    let claims = with(good_claims(), json!({"aud": ["x", AUDIENCE], "nbf": NOW, "sid": "s-1"}));
    let verified = verdict_of(&rules(), &good_header().to_string(), claims.to_string()).unwrap();
    let claims = verified.standard();
    assert_eq!(claims.issuer(), ISSUER);
    assert_eq!(claims.subject(), Some("user-7"));
    assert_eq!(claims.audiences().collect::<Vec<_>>(), ["x", AUDIENCE]);
    assert!(claims.has_audience("x") && !claims.has_audience("y"));
    assert_eq!(claims.client_id(), Some("shop"));
    assert_eq!(claims.token_id(), Some("token-1"));
    assert_eq!(claims.session_id(), Some("s-1"));
    assert_eq!(claims.scopes().collect::<Vec<_>>(), ["inventory.read", "inventory.write"]);
    assert_eq!(claims.expires_at(), at(NOW + 290));
    assert_eq!(claims.not_before(), Some(at(NOW)));
    assert_eq!(claims.issued_at(), Some(at(NOW - 10)));
    assert_eq!(verified.into_standard().subject(), Some("user-7"));
}

#[test]
fn the_application_gets_its_own_type_only_of_a_verified_token() {
    #[derive(Debug, Deserialize)]
    struct Caller {
        sub: String,
        tenant: u32,
    }
    let claims = with(good_claims(), json!({"tenant": 7}));
    let good = verdict_of(&rules(), &good_header().to_string(), claims.to_string()).unwrap();
    let caller: Caller = good.claims().unwrap();
    assert_eq!((caller.sub.as_str(), caller.tenant), ("user-7", 7));

    let claims = with(good_claims(), json!({"tenant": "alice@example.com"}));
    let unfit = verdict_of(&rules(), &good_header().to_string(), claims.to_string()).unwrap();
    let error = unfit.claims::<Caller>().unwrap_err();
    assert_eq!(error, InvalidToken::UnfitClaims);
    assert!(!format!("{error} {error:?}").contains("alice"));
}

#[test]
fn j21_a_claim_twice() {
    for more in [
        r#""exp":1"#,
        r#""scope":"admin""#,
        r#""x":{"y":1,"y":2}"#,
        r#""x":[{"cnf":{"jkt":"a","jkt":"b"}}]"#,
        r#""\u0069ss":"x""#,
        r#""z":1,"z":1"#,
    ] {
        let mut claims = good_claims().to_string();
        claims.truncate(claims.len() - 1);
        let claims = format!("{claims},{more}}}");
        let verdict = verdict_of(&rules(), &good_header().to_string(), claims);
        assert_eq!(verdict.unwrap_err(), InvalidToken::DuplicateMember, "{more}");
    }
}

#[test]
fn j22_claims_nested_too_deep() {
    for (depth, expected) in [
        (31, Ok(())),
        (32, Err(InvalidToken::TooLarge)),
        (127, Err(InvalidToken::TooLarge)),
        (129, Err(InvalidToken::TooLarge)),
        (2_500, Err(InvalidToken::TooLarge)),
    ] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(verdict_of_text("x", &nested), expected, "{depth}");
    }
}

#[test]
fn j23_claims_that_are_no_object() {
    let good = good_claims().to_string();
    let mut texts: Vec<Vec<u8>> = [
        "[]".to_owned(),
        format!("[{good}]"),
        format!("\"{}\"", "x"),
        "null".to_owned(),
        "7".to_owned(),
        format!("\u{feff}{good}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}{good}"),
        format!("{good}\0"),
        good[..good.len() - 1].to_owned(),
        good.replace("user-7", "\\ud800"),
        good.replace("user-7", "\\udc00\\ud800"),
        good.replace("user-7", "\n"),
    ]
    .map(String::into_bytes)
    .into();
    texts.push([good.replace("user-7", "").as_bytes(), b"\xff"].concat());
    let (left, right) = good.split_once("user-7").unwrap();
    texts.push([left.as_bytes(), b"\xff\xfe", right.as_bytes()].concat());
    texts.push([left.as_bytes(), b"\xc0\xaf", right.as_bytes()].concat());
    for text in texts {
        let shown = String::from_utf8_lossy(&text).into_owned();
        let verdict = verdict_of(&rules(), &good_header().to_string(), text);
        assert_eq!(verdict.unwrap_err(), InvalidToken::Malformed, "{shown}");
    }
}

#[test]
fn j24_issuers_that_are_not_ours_byte_for_byte() {
    use InvalidToken::{InvalidClaim, MissingClaim, WrongIssuer};
    for (iss, expected) in [
        (Value::Null, MissingClaim("iss")),
        (json!(7), InvalidClaim("iss")),
        (json!([ISSUER]), InvalidClaim("iss")),
        (json!({"iss": ISSUER}), InvalidClaim("iss")),
        (json!(true), InvalidClaim("iss")),
        (json!(""), InvalidClaim("iss")),
        (json!(format!("{ISSUER}/")), WrongIssuer),
        (json!(ISSUER.to_uppercase()), WrongIssuer),
        (json!(ISSUER.replace("https", "HTTPS")), WrongIssuer),
        (json!(ISSUER.replace("https", "http")), WrongIssuer),
        (json!(ISSUER.replace("idp", "\u{456}dp")), WrongIssuer),
        (json!(ISSUER.replace("realms", "%72ealms")), WrongIssuer),
        (json!(ISSUER.replace("https://", "https://user@")), WrongIssuer),
        (json!(ISSUER.replace(".com", ".com:443")), WrongIssuer),
        (json!(format!("{ISSUER}\0")), WrongIssuer),
        (json!(format!(" {ISSUER}")), WrongIssuer),
        (json!(&ISSUER[..ISSUER.len() - 1]), WrongIssuer),
    ] {
        assert_eq!(verdict(&rules(), json!({"iss": iss.clone()})), Err(expected), "{iss}");
        assert_eq!(verdict(&lenient(), json!({"iss": iss.clone()})), Err(expected), "{iss}");
    }
    assert_eq!(verdict_of_text("iss", "null"), Err(InvalidClaim("iss")));
    // The same characters, written with escapes, are the same issuer.
    let escaped = format!("\"{}\"", ISSUER.replace('h', "\\u0068").replace('/', "\\/"));
    assert_eq!(verdict_of_text("iss", &escaped), Ok(()));
}

#[test]
fn j25_another_tenants_token_under_a_shared_key() {
    let keys = ED25519.key_set(json!({"kid": "k"}));
    let claims = with(good_claims(), json!({"iss": "https://idp.example.com/realms/other"}));
    let token = ED25519.token(&good_header(), &claims);
    assert_eq!(accept(&token, &rules(), &keys).unwrap_err(), InvalidToken::WrongIssuer);
}

#[test]
fn j26_audiences_that_are_not_us() {
    use InvalidToken::{InvalidClaim, MissingClaim, WrongAudience};
    let many = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
    let mut fits = many(63);
    fits.push(AUDIENCE.into());
    let mut too_many = many(64);
    too_many.push(AUDIENCE.into());
    for (aud, expected) in [
        (Value::Null, Err(MissingClaim("aud"))),
        (json!("other"), Err(WrongAudience)),
        (json!(""), Err(WrongAudience)),
        (json!([]), Err(WrongAudience)),
        (json!(["other", "another"]), Err(WrongAudience)),
        (json!([[AUDIENCE]]), Err(InvalidClaim("aud"))),
        (json!({"aud": AUDIENCE}), Err(InvalidClaim("aud"))),
        (json!(7), Err(InvalidClaim("aud"))),
        (json!([AUDIENCE, 7]), Err(InvalidClaim("aud"))),
        (json!([AUDIENCE, null]), Err(InvalidClaim("aud"))),
        (json!("inventor"), Err(WrongAudience)),
        (json!("inventory2"), Err(WrongAudience)),
        (json!("Inventory"), Err(WrongAudience)),
        (json!("other inventory"), Err(WrongAudience)),
        (json!(["invent", "ory"]), Err(WrongAudience)),
        (json!(too_many), Err(InvalidClaim("aud"))),
        (json!(many(800)), Err(InvalidClaim("aud"))),
        (json!(fits), Ok(())),
        (json!([AUDIENCE]), Ok(())),
        (json!(["other", AUDIENCE]), Ok(())),
    ] {
        assert_eq!(verdict(&rules(), json!({"aud": aud.clone()})), expected, "{aud}");
        assert_eq!(verdict(&lenient(), json!({"aud": aud.clone()})), expected, "{aud}");
    }
    assert_eq!(verdict_of_text("aud", "null"), Err(InvalidClaim("aud")));
    // As many as fit where the largest tokens are allowed; ours is the first.
    let large = Rules::builder(ISSUER, AUDIENCE).max_token_bytes(64 * 1024).build().unwrap();
    let ten_thousand = format!("[\"{AUDIENCE}\"{}]", ",\"x\"".repeat(10_000));
    let claims = with(good_claims(), json!({"aud": null})).to_string();
    let claims = format!("{},\"aud\":{ten_thousand}}}", &claims[..claims.len() - 1]);
    let token = ED25519.token_of(&good_header().to_string(), claims);
    let parsed = Unverified::parse_up_to(large.max_token_bytes(), &token).unwrap();
    assert_eq!(parsed.check(&large, at(NOW)).map(drop), Err(InvalidClaim("aud")));

    let two = Rules::builder(ISSUER, "first").audience("second").build().unwrap();
    assert_eq!(verdict(&two, json!({"aud": "second"})), Ok(()));
    assert_eq!(verdict(&two, json!({"aud": "first"})), Ok(()));
    assert_eq!(verdict(&two, json!({"aud": AUDIENCE})), Err(WrongAudience));
}

#[test]
fn j27_exp_that_is_no_date() {
    use InvalidToken::{Expired, InvalidClaim, LifetimeTooLong};
    for (exp, expected) in [
        ("null".to_owned(), Err(InvalidClaim("exp"))),
        (format!("\"{}\"", NOW + 60), Err(InvalidClaim("exp"))),
        ("true".into(), Err(InvalidClaim("exp"))),
        (format!("[{}]", NOW + 60), Err(InvalidClaim("exp"))),
        ("{}".into(), Err(InvalidClaim("exp"))),
        ("-1".into(), Err(InvalidClaim("exp"))),
        ("-1e9".into(), Err(InvalidClaim("exp"))),
        ("0".into(), Err(Expired)),
        ("1e308".into(), Err(InvalidClaim("exp"))),
        ("1e400".into(), Err(InvalidClaim("exp"))),
        (u64::MAX.to_string(), Err(InvalidClaim("exp"))),
        (i64::MAX.to_string(), Err(InvalidClaim("exp"))),
        ("1e18".into(), Err(InvalidClaim("exp"))),
        ("253402300800".into(), Err(InvalidClaim("exp"))),
        ("253402300799".into(), Err(LifetimeTooLong)),
        (format!("{}.75", NOW + 60), Ok(())),
        (format!("{}.0", NOW + 60), Ok(())),
        ("1.80000006e9".into(), Ok(())),
        // A fraction is cut off: the token is good until the second before.
        (format!("{}.999", NOW - 30), Err(Expired)),
        (format!("{}.001", NOW - 29), Ok(())),
        ("NaN".into(), Err(InvalidToken::Malformed)),
        ("Infinity".into(), Err(InvalidToken::Malformed)),
    ] {
        assert_eq!(verdict_of_text("exp", &exp), expected, "{exp}");
    }
    for rules in [rules(), lenient()] {
        let missing = verdict(&rules, json!({"exp": null}));
        assert_eq!(missing, Err(InvalidToken::MissingClaim("exp")));
    }
}

#[test]
fn j28_exp_at_the_edges_of_the_leeway() {
    use InvalidToken::Expired;
    for (leeway, after_now, expected) in [
        (0, 1, Ok(())),
        (0, 0, Err(Expired)),
        (0, -1, Err(Expired)),
        (30, -29, Ok(())),
        (30, -30, Err(Expired)),
        (30, -31, Err(Expired)),
        (300, -299, Ok(())),
        (300, -300, Err(Expired)),
    ] {
        let rules = Rules::builder(ISSUER, AUDIENCE)
            .leeway(std::time::Duration::from_secs(leeway))
            .build()
            .unwrap();
        let dates = json!({"iat": NOW - 1000, "exp": NOW + after_now});
        assert_eq!(verdict(&rules, dates), expected, "leeway {leeway}, exp now{after_now:+}");
    }
    for leeway in [301, 3600, u64::MAX] {
        let rules = Rules::builder(ISSUER, AUDIENCE).leeway(std::time::Duration::from_secs(leeway));
        let error = rules.build().unwrap_err().to_string();
        assert!(error.contains(&format!("{leeway}s")), "{error}");
    }
    assert_eq!(rules().leeway().as_secs(), 30);
}

#[test]
fn j29_nbf_iat_and_lifetime() {
    use InvalidToken::{InvalidClaim, LifetimeTooLong, MissingClaim, NotYetValid};
    const DAY: i64 = 24 * 60 * 60;
    for (dates, expected) in [
        (json!({"nbf": NOW + 30}), Ok(())),
        (json!({"nbf": NOW + 31}), Err(NotYetValid)),
        (json!({"nbf": 0}), Ok(())),
        (json!({"nbf": "0"}), Err(InvalidClaim("nbf"))),
        (json!({"nbf": -1}), Err(InvalidClaim("nbf"))),
        (json!({"nbf": [0]}), Err(InvalidClaim("nbf"))),
        (json!({"iat": NOW + 30}), Ok(())),
        (json!({"iat": NOW + 31}), Err(NotYetValid)),
        (json!({"iat": "0"}), Err(InvalidClaim("iat"))),
        (json!({"iat": null}), Err(MissingClaim("iat"))),
        (json!({"iat": 0}), Err(LifetimeTooLong)),
        (json!({"iat": NOW, "exp": NOW + DAY}), Ok(())),
        (json!({"iat": NOW, "exp": NOW + DAY + 1}), Err(LifetimeTooLong)),
        (json!({"iat": NOW - DAY, "exp": NOW + 1}), Err(LifetimeTooLong)),
    ] {
        assert_eq!(verdict(&rules(), dates.clone()), expected, "{dates}");
    }
    assert_eq!(verdict_of_text("nbf", "null"), Err(InvalidClaim("nbf")));
    assert_eq!(verdict_of_text("iat", "null"), Err(InvalidClaim("iat")));

    // Without `iat`, which only the lenient profile allows, it is counted from now.
    let lenient = lenient();
    let until = |exp: i64| verdict(&lenient, json!({"iat": null, "exp": exp}));
    assert_eq!(until(NOW + DAY + 30), Ok(()));
    assert_eq!(until(NOW + DAY + 31), Err(LifetimeTooLong));

    let short = Rules::builder(ISSUER, AUDIENCE)
        .max_lifetime(std::time::Duration::from_secs(300))
        .build()
        .unwrap();
    assert_eq!(verdict(&short, json!({})), Ok(()));
    assert_eq!(verdict(&short, json!({"exp": NOW + 291})), Err(LifetimeTooLong));
}

#[test]
fn case_54_one_leeway_rule_for_exp_nbf_and_iat_as_the_clock_moves() {
    let token = ED25519.token(
        &good_header(),
        &with(good_claims(), json!({"iat": NOW, "nbf": NOW, "exp": NOW + 100})),
    );
    for (now, expected) in [
        (NOW - 31, Err(InvalidToken::NotYetValid)),
        (NOW - 30, Ok(())),
        (NOW + 129, Ok(())),
        (NOW + 130, Err(InvalidToken::Expired)),
    ] {
        let parsed = Unverified::parse(&token).unwrap();
        assert_eq!(parsed.check(&rules(), at(now)).map(drop), expected, "{now}");
    }
    let before_1970 = std::time::UNIX_EPOCH - std::time::Duration::from_secs(1 << 40);
    let parsed = Unverified::parse(&token).unwrap();
    assert_eq!(parsed.check(&rules(), before_1970).unwrap_err(), InvalidToken::NotYetValid);
}

#[test]
fn j30_other_kinds_of_token_of_the_same_key_and_audience() {
    // Under RFC 9068 the type tells them: nothing but `at+jwt` gets through (see j31), and what has
    // that type must have an access token's claims.
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let verdict = verdict(&rules(), json!({ name: null }));
        assert_eq!(verdict, Err(InvalidToken::MissingClaim(name)), "{name}");
    }
    // Under the lenient profile it is the claims.
    for (kind, more, claim) in [
        ("security event", json!({"events": {}}), "events"),
        ("logout token", json!({"events": {"x": {}}, "sid": "s"}), "events"),
        ("ID token", json!({"nonce": "n"}), "nonce"),
        ("ID token", json!({"at_hash": "h"}), "at_hash"),
        ("ID token", json!({"c_hash": "h"}), "c_hash"),
        ("ID token", json!({"s_hash": "h"}), "s_hash"),
        ("ID token, Cognito", json!({"token_use": "id"}), "token_use"),
        ("odd", json!({"token_use": ["access"]}), "token_use"),
        ("ID token, Keycloak", json!({"typ": "ID"}), "typ"),
        ("refresh token, Keycloak", json!({"typ": "Refresh"}), "typ"),
        ("offline token, Keycloak", json!({"typ": "Offline"}), "typ"),
        ("DPoP proof", json!({"htm": "GET", "htu": "https://x"}), "htm"),
        ("DPoP proof", json!({"htu": "https://x"}), "htu"),
        ("introspection answer", json!({"token_introspection": {}}), "token_introspection"),
    ] {
        let verdict = verdict(&lenient(), more);
        assert_eq!(verdict, Err(InvalidToken::ForbiddenClaim(claim)), "{kind}");
    }
    // A client assertion names the client as its issuer.
    let assertion = verdict(&lenient(), json!({"iss": "shop", "sub": "shop"}));
    assert_eq!(assertion, Err(InvalidToken::WrongIssuer));
    // What access tokens of such issuers do hold.
    for more in [json!({"token_use": "access"}), json!({"typ": "Bearer"}), json!({"azp": "x"})] {
        assert_eq!(verdict(&lenient(), more), Ok(()));
    }
}

#[test]
fn the_lenient_profile_asks_for_iss_aud_exp_and_reads_azp_and_scp() {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "azp": "app", "scp": ["a", "b.c"],
    });
    let header = json!({"alg": "EdDSA", "kid": "k"}).to_string();
    let verified = verdict_of(&lenient(), &header, claims.to_string()).unwrap();
    let claims = verified.standard();
    assert_eq!(claims.subject(), None);
    assert_eq!(claims.client_id(), Some("app"));
    assert_eq!(claims.token_id(), None);
    assert_eq!(claims.issued_at(), None);
    assert_eq!(claims.scopes().collect::<Vec<_>>(), ["a", "b.c"]);
}

#[test]
fn j32_scopes_are_exact_and_names_are_never_empty() {
    let scopes = |rules: &Rules, more: Value| -> Result<Vec<String>, InvalidToken> {
        let claims = with(good_claims(), more).to_string();
        let verified = verdict_of(rules, &good_header().to_string(), claims)?;
        assert!(!verified.standard().has_scope(""));
        assert!(!verified.standard().has_scope("read"), "only `readall` was granted");
        Ok(verified.standard().scopes().map(str::to_owned).collect())
    };
    let none: [&str; 0] = [];
    let strict = rules();
    assert_eq!(scopes(&strict, json!({"scope": null})).unwrap(), none);
    assert_eq!(scopes(&strict, json!({"scope": ""})).unwrap(), none);
    assert_eq!(scopes(&strict, json!({"scope": "  "})).unwrap(), none);
    assert_eq!(scopes(&strict, json!({"scope": "readall"})).unwrap(), ["readall"]);
    assert_eq!(scopes(&strict, json!({"scope": "a  a"})).unwrap(), ["a", "a"]);
    // Only the space separates: these are odd single names that nobody asks for.
    assert_eq!(scopes(&strict, json!({"scope": "read\twrite"})).unwrap(), ["read\twrite"]);
    assert_eq!(scopes(&strict, json!({"scope": "read,write"})).unwrap(), ["read,write"]);
    // `scp` is no claim of RFC 9068.
    assert_eq!(scopes(&strict, json!({"scope": null, "scp": ["read"]})).unwrap(), none);
    let invalid = InvalidToken::InvalidClaim("scope");
    for odd in [json!(["readall"]), json!(7), json!({}), json!(true)] {
        assert_eq!(scopes(&strict, json!({"scope": odd})), Err(invalid));
    }

    let lenient = lenient();
    assert_eq!(scopes(&lenient, json!({"scope": ["readall", "x"]})).unwrap(), ["readall", "x"]);
    assert_eq!(scopes(&lenient, json!({"scope": []})).unwrap(), none);
    for odd in [json!(["read write"]), json!([""]), json!([7]), json!(7), json!([["read"]])] {
        assert_eq!(scopes(&lenient, json!({"scope": odd})), Err(invalid));
    }

    for name in ["sub", "client_id", "jti", "sid"] {
        for odd in [json!(""), json!(7), json!(["x"]), json!({}), json!(false)] {
            let invalid = InvalidToken::InvalidClaim(name);
            assert_eq!(verdict(&rules(), json!({ name: odd })), Err(invalid), "{name} {odd}");
            assert_eq!(verdict(&lenient, json!({ name: odd })), Err(invalid), "{name} {odd}");
        }
    }
}

#[test]
fn d05_a_sender_constrained_token_is_no_bearer_token() {
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"unknown": 1}),
        json!({}),
        json!("x"),
    ] {
        for rules in [rules(), lenient()] {
            let verdict = verdict(&rules, json!({"cnf": cnf}));
            assert_eq!(verdict, Err(InvalidToken::SenderConstrained));
        }
    }
    assert_eq!(verdict_of_text("cnf", "null"), Err(InvalidToken::SenderConstrained));
}

#[test]
fn rules_that_would_be_no_rules_are_not_built() {
    let built = |builder: tower_oauth_jose::RulesBuilder| builder.build().map(drop);
    assert!(built(Rules::builder("", AUDIENCE)).is_err());
    assert!(built(Rules::builder(ISSUER, "")).is_err());
    assert!(built(Rules::builder(ISSUER, AUDIENCE).audience("")).is_err());
    assert!(built(Rules::builder(ISSUER, AUDIENCE).algorithms([])).is_err());
    let none = std::time::Duration::from_millis(999);
    assert!(built(Rules::builder(ISSUER, AUDIENCE).max_lifetime(none)).is_err());
    assert!(built(Rules::builder(ISSUER, AUDIENCE)).is_ok());
    assert_eq!(rules().profile(), Profile::Rfc9068);
}

#[test]
fn an_algorithm_that_the_rules_leave_out_is_refused_before_any_key_is_asked_for() {
    let rules = Rules::builder(ISSUER, AUDIENCE).algorithms([Algorithm::RS256]).build().unwrap();
    let token = ED25519.token(&good_header(), &good_claims());
    let refused = Unverified::parse(&token).unwrap().check(&rules, at(NOW)).map(drop);
    assert_eq!(refused, Err(InvalidToken::AlgorithmNotAllowed));
}

#[test]
fn case_27_expired_and_foreign_tokens_are_refused_without_a_key() {
    for (more, expected) in [
        (json!({"exp": NOW - 60}), InvalidToken::Expired),
        (json!({"iss": "https://evil.example"}), InvalidToken::WrongIssuer),
    ] {
        // No key set is at hand at all, and the signature is nobody's.
        let token = ED25519.token(&good_header(), &with(good_claims(), more));
        let unsigned = format!("{}.AAAA", token.rsplit_once('.').unwrap().0);
        let parsed = Unverified::parse(&unsigned).unwrap();
        assert_eq!(parsed.check(&rules(), at(NOW)).unwrap_err(), expected);
    }
}
