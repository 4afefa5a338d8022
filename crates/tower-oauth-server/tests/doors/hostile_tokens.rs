//! A token or two of each row of the JOSE table, through the door, over both protocols. Whether each
//! input of a row is refused, and why, is asked where the validator is tested.

use serde_json::json;
use tower_oauth_server::{Issuers, Rejection, RequireTokenLayer};
use tower_oauth_test::{Signature, TokenSpec};

use crate::issued::{Issued, LEEWAY, LIFE, NOW};
use crate::support::*;

/// The row, what is done to a good token, and the status over HTTP.
type Row = (&'static str, String, u16);

fn rows(house: &Issued) -> Vec<Row> {
    let spec = || TokenSpec::new().subject(CANARY).claim("jti", CANARY);
    let token = |spec: TokenSpec| house.token(spec);
    let good = token(spec());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let header = |text: &str| token(spec().raw_header(text.to_owned()));
    let claims = |text: &str| token(spec().raw_payload(text.to_owned()));
    let claim = |name, value: serde_json::Value| token(spec().claim(name, value));
    let of_header = |name, value: serde_json::Value| token(spec().header(name, value));
    let nested = format!(r#"{{"iss":"x","a":{}{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    vec![
        ("J01", of_header("alg", json!("none")), 401),
        ("J01", of_header("alg", json!(["ES256"])), 401),
        ("J02", token(spec().header("alg", "HS256").signature(Signature::Hmac("k".into()))), 401),
        ("J03", of_header("alg", json!("ES384")), 401),
        ("J05", of_header("kid", json!("../../etc/passwd")), 401),
        ("J05", of_header("kid", json!("k".repeat(1_000))), 401),
        ("J06", token(spec().header("jku", "https://x.test").signature(Signature::Stranger)), 401),
        ("J06", of_header("jwk", json!({ "kty": "OKP" })), 401),
        ("J07", of_header("crit", json!(["exp"])), 401),
        ("J08", of_header("b64", json!(false)), 401),
        ("J09", of_header("zip", json!("DEF")), 401),
        ("J09", of_header("cty", json!("JWT")), 401),
        ("J10", format!("{good}.{signature}.{signature}"), 401),
        ("J10", input.to_owned(), 401),
        ("J11", token(spec().signature(Signature::Bytes(vec![0; 64].into()))), 401),
        ("J12", token(spec().signature(Signature::Bytes(vec![7; 63].into()))), 401),
        ("J16", token(spec().signature(Signature::Bytes(vec![0xff; 65].into()))), 401),
        // Padding at the end is still a token in the header's grammar, and none of JOSE's.
        ("J20", format!("{good}="), 401),
        ("J20", format!("{input}."), 401),
        ("J20", format!("{good}+"), 401),
        ("J21", header(r#"{"alg":"ES256","\u0061lg":"none","typ":"at+jwt"}"#), 401),
        ("J21", claims(r#"{"iss":"x","exp":1,"exp":2}"#), 401),
        ("J22", claims(&nested), 401),
        ("J22", "A".repeat(8 * 1024), 401),
        ("J22", "A".repeat(8 * 1024 + 1), 400),
        ("J22", "A".repeat(1 << 20), 400),
        ("J23", claims("[]"), 401),
        ("J23", claims("\u{feff}{}"), 401),
        ("J24", claim("iss", json!(format!("{}/", house.issuer.issuer()))), 401),
        ("J24", token(spec().without_claim("iss")), 401),
        ("J25", token(spec().issuer("https://tenant-b.test")), 401),
        ("J26", claim("aud", json!([])), 401),
        ("J26", claim("aud", json!("inventory2")), 401),
        ("J27", claim("exp", json!(null)), 401),
        ("J27", claim("exp", json!(1e308)), 401),
        ("J28", claim("exp", json!(NOW - LEEWAY.as_secs() as i64)), 401),
        ("J29", claim("nbf", json!(NOW + LEEWAY.as_secs() as i64 + 1)), 401),
        ("J29", claim("iat", json!(0)), 401),
        ("J30", of_header("typ", json!("logout+jwt")), 401),
        ("J30", token(spec().header("typ", "dpop+jwt").claim("htm", "GET")), 401),
        ("J31", token(spec().without_header("typ")), 401),
        ("J32", claim("scope", json!(["stock.read"])), 401),
        ("J33", of_header("alg", json!("ML-DSA-44")), 401),
        ("D05", claim("cnf", json!({ "jkt": "x" })), 401),
    ]
}

#[tokio::test]
async fn every_hostile_token_is_401_over_http_and_unauthenticated_over_grpc() {
    let house = Issued::new();
    let issuers = Issuers::new([house.jwt.clone()]).unwrap();
    for layer in [house.door(), RequireTokenLayer::new(issuers)] {
        let good = with_token(&house.token(TokenSpec::new()));
        assert_eq!(ask(&layer, good).await.status, 200, "a control");
        for (row, token, status) in rows(&house) {
            let over_http = ask(&layer, with_token(&token)).await;
            let over_grpc = ask(&layer, grpc(with_token(&token))).await;
            let case = format!("{row} {token:.80}");
            let rejection = over_http.rejection.as_ref().unwrap();
            assert_eq!(matches!(rejection, Rejection::Invalid(_)), status == 401, "{case}");
            assert_eq!(over_http.status, status, "{case}");
            let challenge = over_http.header("www-authenticate").unwrap();
            let error = if status == 401 { "invalid_token" } else { "invalid_request" };
            assert!(challenge.contains(&format!("error=\"{error}\"")), "{case}: {challenge}");

            assert_eq!(over_grpc.rejection.as_ref(), Some(rejection), "{case}");
            assert_eq!((over_grpc.status.as_u16(), over_grpc.body.as_str()), (200, ""), "{case}");
            assert_eq!(over_grpc.header("grpc-status"), Some("16"), "{case}");
            for seen in [over_http, over_grpc] {
                let shown = format!("{seen:?}");
                assert!(!shown.contains(CANARY), "{case}: {shown}");
                assert!(!shown.contains(token.get(..24).unwrap_or(&token)), "{case}: {shown}");
            }
        }
        let good = with_token(&house.token(TokenSpec::new().expires_in(LIFE)));
        assert_eq!(ask(&layer, grpc(good)).await.header("grpc-status"), None, "a control");
    }
}

#[tokio::test]
async fn l06_a_signature_that_is_not_the_issuers_has_one_answer_whatever_is_wrong_with_it() {
    let house = Issued::new();
    let layer = house.door();
    let good = house.token(TokenSpec::new());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let forged = |signature: Signature| house.token(TokenSpec::new().signature(signature));
    let mut tokens = vec![
        forged(Signature::Stranger),
        forged(Signature::Bytes(vec![0; 64].into())),
        forged(Signature::Bytes(vec![0xff; 64].into())),
        forged(Signature::Bytes(vec![7; 63].into())),
        forged(Signature::Bytes(vec![7; 65].into())),
    ];
    // Wrong at the beginning, in the middle, and near the end: no part of it can be found by itself.
    for place in [0, 1, signature.len() / 2, signature.len() - 2] {
        let mut other = signature.as_bytes().to_vec();
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        tokens.push(format!("{input}.{}", String::from_utf8(other).unwrap()));
    }
    let mut answers = Vec::new();
    for token in &tokens {
        for request in [with_token(token), grpc(with_token(token))] {
            let seen = ask(&layer, request).await;
            let mut headers: Vec<_> = seen.headers.iter().collect();
            headers.sort_by_key(|(name, _)| name.as_str());
            answers.push(format!("{} {headers:?} {}", seen.status, seen.body));
        }
    }
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, answers[number % 2], "{}", tokens[number / 2]);
    }
}
