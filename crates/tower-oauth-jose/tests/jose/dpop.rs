//! DPoP proofs, and tokens that are bound to a key.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tower_oauth_jose::{
    Algorithm, CertificateDigest, DpopProof, DpopRequest, DpopRules, InvalidProof, InvalidToken,
    SkipReason, TargetUri, Thumbprint, Unverified,
};

use crate::signer::*;

const URI: &str = "https://api.example.com/stock/7";
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RFC_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn ath(token: &str) -> String {
    encode(digest(&SHA256, token.as_bytes()))
}

fn header() -> Value {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": P256.jwk()})
}

fn claims() -> Value {
    json!({"jti": "j-1", "htm": "POST", "htu": URI, "iat": NOW - 2, "ath": ath(TOKEN)})
}

fn verify_at(proof: &str, now: i64) -> Result<DpopProof, InvalidProof> {
    let uri = [TargetUri::parse(URI).unwrap()];
    let request = DpopRequest::new("POST", &uri).access_token(TOKEN, None);
    DpopProof::verify(proof, &DpopRules::new(), &request, at(now))
}

fn verify(header: &Value, claims: &Value) -> Result<DpopProof, InvalidProof> {
    verify_at(&P256.token(header, claims), NOW)
}

fn verify_header(more: Value) -> Result<DpopProof, InvalidProof> {
    verify(&with(header(), more), &claims())
}

fn verify_claims(more: Value) -> Result<DpopProof, InvalidProof> {
    verify(&header(), &with(claims(), more))
}

#[test]
fn rfc_9449_the_examples_are_accepted() {
    // Section 4.1, figure 2; section 7.1, figure 13.
    let at_the_token_endpoint = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let at_the_resource = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let jkt = Thumbprint::parse(RFC_JKT).unwrap();
    let token_endpoint = [TargetUri::parse("https://server.example.com/token").unwrap()];
    let resource = [TargetUri::parse("https://resource.example.org/protectedresource").unwrap()];
    let cases = [
        (
            at_the_token_endpoint,
            DpopRequest::new("POST", &token_endpoint),
            "-BwC3ESc6acc2lTc",
            1_562_262_616,
        ),
        (
            at_the_resource,
            DpopRequest::new("GET", &resource).access_token(TOKEN, Some(jkt)),
            "e1j3V_bKic8-LAEB",
            1_562_262_618,
        ),
    ];
    for (proof, request, jti, issued_at) in cases {
        let proof =
            DpopProof::verify(proof, &DpopRules::new(), &request, at(issued_at + 3)).unwrap();
        assert_eq!((proof.jkt(), proof.jti(), proof.nonce()), (jkt, jti, None));
        assert_eq!(proof.issued_at(), at(issued_at));
    }
    // The first of them says nothing of a token.
    let request = DpopRequest::new("POST", &token_endpoint).access_token(TOKEN, None);
    let verdict =
        DpopProof::verify(at_the_token_endpoint, &DpopRules::new(), &request, at(1_562_262_616));
    assert_eq!(verdict, Err(InvalidProof::MissingClaim("ath")));
}

#[test]
fn every_kind_of_key_signs_proofs() {
    for (signer, alg) in [
        (&*P256, "ES256"),
        (&*P384, "ES384"),
        (&*ED25519, "EdDSA"),
        (&*ED25519, "Ed25519"),
        (&*RSA, "RS256"),
        (&*RSA, "PS512"),
    ] {
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": signer.jwk()});
        // The helper signs Ed25519 under either name.
        let proof = verify_at(&signer.token(&header, &claims()), NOW).unwrap();
        let key = tower_oauth_jose::VerifyingKey::from_jwk(signer.jwk().to_string()).unwrap();
        assert_eq!(proof.jkt(), key.thumbprint(), "{alg}");
    }
}

#[test]
fn d01_a_header_that_is_not_a_proofs_is_refused() {
    use InvalidProof as Bad;
    let private = with(P256.jwk(), json!({"d": "AA"}));
    let secret = json!({"kty": "oct", "k": "c2VjcmV0"});
    let cases = [
        (json!({"typ": null}), Bad::WrongType),
        (json!({"typ": "JWT"}), Bad::WrongType),
        (json!({"typ": "at+jwt"}), Bad::WrongType),
        (json!({"typ": ["dpop+jwt"]}), Bad::WrongType),
        (json!({"alg": null}), Bad::AlgorithmNotAllowed),
        (json!({"alg": "none"}), Bad::AlgorithmNotAllowed),
        (json!({"alg": "HS256"}), Bad::AlgorithmNotAllowed),
        (json!({"alg": "ES512"}), Bad::AlgorithmNotAllowed),
        (json!({"alg": "ES384"}), Bad::KeyMismatch),
        (json!({"alg": "RS256"}), Bad::KeyMismatch),
        (json!({"jwk": null}), Bad::MissingKey),
        (json!({"jwk": null, "kid": "k"}), Bad::MissingKey),
        (json!({"jwk": "x"}), Bad::InvalidKey(SkipReason::Malformed)),
        (json!({"jwk": private}), Bad::InvalidKey(SkipReason::Private)),
        (json!({"jwk": secret}), Bad::InvalidKey(SkipReason::Symmetric)),
        (json!({"jwk": secret, "alg": "HS256"}), Bad::AlgorithmNotAllowed),
        (json!({"jwk": P384.jwk()}), Bad::KeyMismatch),
        (json!({"jwk": Signer::p256().jwk()}), Bad::BadSignature),
        (json!({"crit": ["exp"]}), Bad::ForbiddenHeader("crit")),
        (json!({"b64": false}), Bad::ForbiddenHeader("b64")),
        (json!({"zip": "DEF"}), Bad::ForbiddenHeader("zip")),
    ];
    for (more, expected) in cases {
        let shown = more.to_string();
        assert_eq!(verify_header(more), Err(expected), "{shown}");
    }
    // A name and an address of a key change nothing: only the embedded one counts.
    let kid =
        json!({"kid": "other", "jku": "https://evil.example", "x5u": "http://169.254.169.254/"});
    assert!(verify_header(kid).is_ok());
}

#[test]
fn d01_a_proof_that_lacks_a_claim_is_refused() {
    for name in ["jti", "htm", "htu", "iat", "ath"] {
        let missing = Err(InvalidProof::MissingClaim(name));
        assert_eq!(verify_claims(json!({ name: null })), missing);
        let odd = [json!(""), json!(["x"]), json!({}), json!(true)];
        for odd in odd {
            let invalid = Err(InvalidProof::InvalidClaim(name));
            assert_eq!(verify_claims(json!({ name: odd })), invalid, "{name} {odd}");
        }
    }
    for odd in [json!(""), json!(7), json!(["x"])] {
        let invalid = Err(InvalidProof::InvalidClaim("nonce"));
        assert_eq!(verify_claims(json!({"nonce": odd})), invalid, "{odd}");
    }
    assert_eq!(verify_claims(json!({"nonce": "n-1"})).unwrap().nonce(), Some("n-1"));
}

#[test]
fn d01_what_is_no_jws_is_refused() {
    let good = P256.token(&header(), &claims());
    assert!(verify_at(&good, NOW).is_ok());
    let (input, _) = good.rsplit_once('.').unwrap();
    let twice = P256.token_of(r#"{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256"}"#, "{}");
    let cases = [
        (String::new(), InvalidProof::Malformed),
        ("a.b".into(), InvalidProof::Malformed),
        (format!("{good}.x"), InvalidProof::Malformed),
        (format!("{good}="), InvalidProof::Malformed),
        (format!(" {good}"), InvalidProof::Malformed),
        (format!("{good},{good}"), InvalidProof::Malformed),
        (format!("{input}."), InvalidProof::BadSignature),
        (format!("{input}.AAAA"), InvalidProof::BadSignature),
        (twice, InvalidProof::DuplicateMember),
        (P256.token_of("[]", "{}"), InvalidProof::Malformed),
        (P256.token_of(&header().to_string(), "x"), InvalidProof::Malformed),
    ];
    for (proof, expected) in cases {
        assert_eq!(verify_at(&proof, NOW), Err(expected), "{proof}");
    }
}

#[test]
fn d02_method_and_target_are_those_of_the_request() {
    for htm in ["post", "Post", "GET", "POST ", "PUT"] {
        assert_eq!(verify_claims(json!({"htm": htm})), Err(InvalidProof::WrongMethod), "{htm}");
    }
    for same in [
        "https://api.example.com:443/stock/7",
        "HTTPS://API.EXAMPLE.COM/stock/7",
        "https://api.example.com/stock/7?page=2",
        "https://api.example.com/stock/7#top",
        "https://api.example.com/%73tock/./x/../7",
    ] {
        assert!(verify_claims(json!({"htu": same})).is_ok(), "{same}");
    }
    for other in [
        "http://api.example.com/stock/7",
        "https://api.example.com:8443/stock/7",
        "https://api.example.com.evil.example/stock/7",
        "https://api.example.com/stock/7/",
        "https://api.example.com/Stock/7",
        "https://api.example.com/stock%2F7",
        "https://api.example.com/stock//7",
        "https://api.example.com",
    ] {
        assert_eq!(verify_claims(json!({"htu": other})), Err(InvalidProof::WrongUri), "{other}");
    }
    for odd in ["/stock/7", "x", "https://u@api.example.com/stock/7"] {
        let invalid = Err(InvalidProof::InvalidClaim("htu"));
        assert_eq!(verify_claims(json!({"htu": odd})), invalid, "{odd}");
    }
}

#[test]
fn d03_a_proof_of_a_megabyte_is_not_looked_at() {
    let jti = "j".repeat(1 << 20);
    assert_eq!(verify_claims(json!({"jti": jti})), Err(InvalidProof::TooLarge));
}

#[test]
fn d04_the_time_of_the_proof_lies_in_a_window() {
    let proof = |iat: Value| verify_claims(json!({ "iat": iat })).map(drop);
    for iat in [NOW - 59, NOW - 1, NOW, NOW + 1, NOW + 5] {
        assert_eq!(proof(json!(iat)), Ok(()), "{iat}");
    }
    assert_eq!(proof(json!(NOW as f64 + 5.9)), Ok(()));
    assert_eq!(proof(json!(NOW - 60)), Err(InvalidProof::TooOld));
    assert_eq!(proof(json!(0)), Err(InvalidProof::TooOld));
    assert_eq!(proof(json!(NOW + 6)), Err(InvalidProof::FromTheFuture));
    for odd in [json!(-1), json!(1e300), json!(253_402_300_800_i64), json!(NOW.to_string())] {
        assert_eq!(proof(odd.clone()), Err(InvalidProof::InvalidClaim("iat")), "{odd}");
    }
}

#[test]
fn d04_the_proof_is_for_this_token_and_by_its_key() {
    for other in [ath("other"), TOKEN.to_owned(), format!("{}=", ath(TOKEN)), ath(&TOKEN[1..])] {
        let verdict = verify_claims(json!({"ath": other}));
        assert_eq!(verdict, Err(InvalidProof::WrongToken), "{other}");
    }
    let uri = [TargetUri::parse(URI).unwrap()];
    let proof = P256.token(&header(), &claims());
    let jkt = verify_at(&proof, NOW).unwrap().jkt();
    let other = Thumbprint::parse(RFC_JKT).unwrap();
    for (bound_to, expected) in [(jkt, Ok(jkt)), (other, Err(InvalidProof::WrongKey))] {
        let request = DpopRequest::new("POST", &uri).access_token(TOKEN, Some(bound_to));
        let verdict = DpopProof::verify(&proof, &DpopRules::new(), &request, at(NOW));
        assert_eq!(verdict.map(|proof| proof.jkt()), expected);
    }
}

#[test]
fn only_the_algorithms_that_are_asked_for() {
    let uri = [TargetUri::parse(URI).unwrap()];
    let request = DpopRequest::new("POST", &uri).access_token(TOKEN, None);
    let proof = P256.token(&header(), &claims());
    for (algorithm, good) in [(Algorithm::ES256, true), (Algorithm::EdDSA, false)] {
        let rules = DpopRules::new().algorithms(algorithm.into());
        let verdict = DpopProof::verify(&proof, &rules, &request, at(NOW)).map(drop);
        assert_eq!(verdict, if good { Ok(()) } else { Err(InvalidProof::AlgorithmNotAllowed) });
    }
}

#[test]
fn d05_only_a_caller_that_checks_the_sender_gets_a_bound_token() {
    let check = |cnf: Value, bound: bool| {
        let token = ED25519.token(&good_header(), &with(good_claims(), json!({ "cnf": cnf })));
        let token = Unverified::parse(&token)?;
        let rules = rules();
        let checked =
            if bound { token.check_bound(&rules, at(NOW)) } else { token.check(&rules, at(NOW)) };
        let verified = checked?.verify_by(&ED25519.key_set(json!({"kid": "k"})))?;
        Ok(verified.standard().confirmation().cloned().unwrap())
    };
    let x5t = CertificateDigest::of_der(b"certificate");
    let both = json!({"jkt": RFC_JKT, "x5t#S256": x5t.to_string()});
    let confirmation = check(both.clone(), true).unwrap();
    assert_eq!(confirmation.jkt(), Thumbprint::parse(RFC_JKT));
    assert_eq!(confirmation.certificate(), Some(x5t));
    assert_eq!(check(both, false), Err(InvalidToken::SenderConstrained));
    for unknown in [json!({}), json!("x"), json!({"kid": "k"}), json!([{"jkt": RFC_JKT}])] {
        assert_eq!(check(unknown.clone(), true), Err(InvalidToken::SenderConstrained), "{unknown}");
    }
    assert_eq!(check(json!({"jkt": "x"}), true), Err(InvalidToken::InvalidClaim("cnf")));
}
