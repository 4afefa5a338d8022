use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use super::*;
use crate::codec::TokenExchange;

fn request() -> TokenRequest {
    TokenRequest {
        grant: Grant::ClientCredentials,
        scopes: Scopes::parse("b a"),
        resources: vec!["https://api.example/x y".into()],
        audiences: vec!["api".into()],
        unlike: None,
    }
}

fn codec(auth: ClientAuth) -> TokenCodec {
    TokenCodec::new(EndpointUri::parse("https://idp.example/token?t=1").unwrap(), auth)
}

fn basic(id: &str, secret: &str) -> TokenCodec {
    codec(ClientAuth::Basic { id: id.into(), secret: secret.into() })
}

fn decode(status: u16, content_type: &str, body: &[u8]) -> Result<TokenResponse, Error> {
    let response = http::Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .body(Bytes::copy_from_slice(body))
        .unwrap();
    basic("id", "secret").decode(&request(), response)
}

fn decode_ok(body: &str) -> Result<TokenResponse, ErrorKind> {
    decode(200, "application/json;charset=UTF-8", body.as_bytes()).map_err(|error| error.kind())
}

#[test]
fn t13_id_and_secret_are_form_encoded_before_base64() {
    let cases = [
        ("id", "secret", "id:secret"),
        ("a:b", "c d", "a%3Ab:c+d"),
        ("a%b", "c+d", "a%25b:c%2Bd"),
        ("ä", "€", "%C3%A4:%E2%82%AC"),
        ("id", "", "id:"),
    ];
    for (id, secret, expected) in cases {
        let request = basic(id, secret).encode(&request()).unwrap();
        let header = &request.headers()[AUTHORIZATION];
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), expected.as_bytes(), "{id} {secret}");
        assert!(!String::from_utf8_lossy(request.body()).contains("client_secret"));
    }
}

#[test]
fn the_form_has_each_parameter_once_and_no_secret_in_the_uri() {
    let auth = ClientAuth::Post { id: "i&d".into(), secret: "s=e".into() };
    let request = codec(auth).encode(&request()).unwrap();
    assert_eq!(request.uri(), "https://idp.example/token?t=1");
    assert_eq!(
        request.body(),
        "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fapi.example%2Fx+y\
         &audience=api&client_id=i%26d&client_secret=s%3De"
    );
    assert!(!request.headers().contains_key(AUTHORIZATION));
}

#[test]
fn t03_codes_are_verdicts_only_in_a_400_or_401() {
    let body = |code: &str| format!(r#"{{"error":"{code}","error_description":"CANARY"}}"#);
    let cases = [
        (400, "invalid_grant", ErrorKind::OAuth(OAuthCode::InvalidGrant)),
        (401, "invalid_client", ErrorKind::OAuth(OAuthCode::InvalidClient)),
        (400, "unauthorized_client", ErrorKind::OAuth(OAuthCode::UnauthorizedClient)),
        (400, "invalid_scope", ErrorKind::OAuth(OAuthCode::InvalidScope)),
        (400, "invalid_target", ErrorKind::OAuth(OAuthCode::InvalidTarget)),
        (400, "so_new", ErrorKind::OAuth(OAuthCode::Other)),
        (500, "invalid_client", ErrorKind::Status(500)),
        (503, "invalid_grant", ErrorKind::Status(503)),
        (403, "invalid_grant", ErrorKind::Status(403)),
        (201, "invalid_grant", ErrorKind::Status(201)),
    ];
    for (status, code, expected) in cases {
        let error = decode(status, "application/json", body(code).as_bytes()).unwrap_err();
        assert_eq!(error.kind(), expected);
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    }
    assert_eq!(decode(400, "text/html", b"<p>").unwrap_err().kind(), ErrorKind::Status(400));
}

#[test]
fn t04_an_answer_is_one_json_object_of_its_type() {
    let good = br#"{"access_token":"a","token_type":"Bearer"}"#;
    assert!(decode(200, "application/json", good).is_ok());
    let cases: &[(&str, &[u8])] = &[
        ("text/html", good),
        ("application/xml", good),
        ("", good),
        ("application/json", b""),
        ("application/json", b"<html></html>"),
        ("application/json", b"\xef\xbb\xbf{\"access_token\":\"a\",\"token_type\":\"Bearer\"}"),
        ("application/json", br#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#),
        ("application/json", br#"{"access_token":"a","token_type":"Bearer","error":"x"}"#),
        ("application/json", br#"[{"access_token":"a","token_type":"Bearer"}]"#),
    ];
    for (content_type, body) in cases {
        let kind = decode(200, content_type, body).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Malformed(_)), "{content_type} {kind:?}");
    }
}

#[test]
fn t05_expires_in_is_read_leniently_and_never_overflows() {
    let cases = [
        ("", Ok(None)),
        (r#","expires_in":null"#, Ok(None)),
        (r#","expires_in":0"#, Ok(Some(0))),
        (r#","expires_in":3600"#, Ok(Some(3600))),
        (r#","expires_in":"3600""#, Ok(Some(3600))),
        (r#","expires_in":59.9"#, Ok(Some(59))),
        (r#","expires_in":1e308"#, Ok(Some(86_400))),
        (r#","expires_in":18446744073709551615"#, Ok(Some(86_400))),
        (r#","expires_in":-1"#, Err(())),
        (r#","expires_in":"-1""#, Err(())),
        (r#","expires_in":"soon""#, Err(())),
        (r#","expires_in":true"#, Err(())),
        (r#","expires_in":[3600]"#, Err(())),
    ];
    for (member, expected) in cases {
        let body = format!(r#"{{"access_token":"a","token_type":"bearer"{member}}}"#);
        let found = decode_ok(&body).map(|answer| answer.expires_in).map_err(|_| ());
        assert_eq!(found, expected.map(|life| life.map(Duration::from_secs)), "{member}");
    }
}

#[test]
fn t06_only_a_bearer_token_is_used() {
    for (member, good) in [
        (r#""token_type":"Bearer""#, true),
        (r#""token_type":"BEARER""#, true),
        (r#""token_type":"mac""#, false),
        (r#""token_type":"DPoP""#, false),
        (r#""token_type":"N_A""#, false),
        (r#""token_type":""#, false),
        (r#""token_type":1"#, false),
        (r#""x":1"#, false),
    ] {
        let body = format!(r#"{{"access_token":"a",{member}}}"#);
        assert_eq!(decode_ok(&body).is_ok(), good, "{member}");
    }
}

#[test]
fn t07_an_access_token_cannot_break_the_header() {
    for value in
        [r#""""#, r#""a b""#, r#""a\r\nX: y""#, r#""a\u0000""#, r#""ä""#, "1", "null", "{}"]
    {
        let body = format!(r#"{{"access_token":{value},"token_type":"Bearer"}}"#);
        assert!(matches!(decode_ok(&body), Err(ErrorKind::Malformed(_))), "{value}");
    }
}

#[test]
fn t08_a_narrower_scope_is_a_typed_error_and_a_wider_one_is_told() {
    let with = |scope: &str| format!(r#"{{"access_token":"a","token_type":"Bearer"{scope}}}"#);
    let scopes = |scope: &str| decode_ok(&with(scope)).map(|answer| answer.scopes);
    assert_eq!(scopes(""), Ok(None));
    assert_eq!(scopes(r#","scope":"a b""#), Ok(Some(Scopes::parse("a b"))));
    assert_eq!(scopes(r#","scope":"c b a""#), Ok(Some(Scopes::parse("a b c"))));
    assert_eq!(scopes(r#","scope":"a""#), Err(ErrorKind::NarrowScope));
    assert_eq!(scopes(r#","scope":"""#), Err(ErrorKind::NarrowScope));
    assert!(scopes(r#","scope":["a","b"]"#).is_err());
}

fn parameters(grant: Grant, auth: ClientAuth) -> Vec<(String, String)> {
    let request = TokenRequest { grant, scopes: Scopes::default(), ..request() };
    let request = TokenRequest { resources: Vec::new(), audiences: Vec::new(), ..request };
    let written = codec(auth).encode(&request).unwrap();
    form_urlencoded::parse(written.body()).into_owned().collect()
}

fn exchange() -> TokenExchange {
    TokenExchange::new("sub".into(), TokenTypeUri::ACCESS_TOKEN)
}

#[test]
fn each_grant_writes_its_own_parameters_and_no_other() {
    const TYPE: &str = "urn:ietf:params:oauth:token-type:";
    let access = format!("{TYPE}access_token");
    let jwt = format!("{TYPE}jwt");
    let full = TokenExchange {
        actor_token: Some(("act".into(), TokenTypeUri::JWT)),
        requested_token_type: Some(TokenTypeUri::ACCESS_TOKEN),
        ..exchange()
    };
    let password = Grant::Password { username: "alice".into(), password: "p&w d".into() };
    type Own<'a> = Vec<(&'a str, &'a str)>;
    let cases: Vec<(Grant, &str, Own<'_>)> = vec![
        (Grant::ClientCredentials, "client_credentials", vec![]),
        (Grant::RefreshToken("r+1".into()), "refresh_token", vec![("refresh_token", "r+1")]),
        (password, "password", vec![("username", "alice"), ("password", "p&w d")]),
        (
            Grant::JwtBearer { assertion: "a.b.c".into() },
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            vec![("assertion", "a.b.c")],
        ),
        (
            Grant::TokenExchange(Box::new(exchange())),
            "urn:ietf:params:oauth:grant-type:token-exchange",
            vec![("subject_token", "sub"), ("subject_token_type", &access)],
        ),
        (
            Grant::TokenExchange(Box::new(full)),
            "urn:ietf:params:oauth:grant-type:token-exchange",
            vec![
                ("subject_token", "sub"),
                ("subject_token_type", &access),
                ("actor_token", "act"),
                ("actor_token_type", &jwt),
                ("requested_token_type", &access),
            ],
        ),
    ];
    for (grant, grant_type, own) in cases {
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected: Vec<_> = [("grant_type".to_owned(), grant_type.to_owned())]
            .into_iter()
            .chain(own)
            .chain([("client_id".to_owned(), "id".to_owned())])
            .collect();
        assert_eq!(parameters(grant, ClientAuth::IdOnly { id: "id".into() }), expected);
    }
}

#[test]
fn an_assertion_names_its_type_beside_the_client() {
    let auth = ClientAuth::Assertion { id: "id".into(), assertion: "a.b.c".into() };
    let written = parameters(Grant::ClientCredentials, auth);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "id"),
        ("client_assertion_type", kind),
        ("client_assertion", "a.b.c"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(written, expected);
}

#[test]
fn l01_debug_of_a_grant_shows_neither_secret_nor_person() {
    let canary = || Secret::new("CANARY");
    let grants = [
        Grant::RefreshToken(canary()),
        Grant::Password { username: "CANARY".into(), password: canary() },
        Grant::JwtBearer { assertion: canary() },
        Grant::TokenExchange(Box::new(TokenExchange::new(canary(), TokenTypeUri::JWT))),
    ];
    for grant in grants {
        let request = TokenRequest { grant, ..request() };
        let auth = ClientAuth::Assertion { id: "id".into(), assertion: canary() };
        let response = TokenResponse::bearer("CANARY", None).with_refresh_token("CANARY");
        let shown = format!("{request:?} {} {auth:?} {response:?}", request.grant);
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

fn answer(
    grant: Grant,
    wanted: TokenType,
    status: u16,
    kind: &str,
    body: &str,
) -> Result<TokenAnswer, Error> {
    let request = TokenRequest { grant, ..request() };
    let response = http::Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    basic("id", "secret").with_token_type(wanted).rotating().decode(&request, response)
}

#[test]
fn t09_a_rotated_refresh_token_is_kept_whatever_else_is_wrong() {
    use ErrorKind::{Malformed, NarrowScope};
    let good = r#""access_token":"a","token_type":"Bearer""#;
    let malformed = Malformed("");
    let cases = [
        ("application/json", format!("{good},\"refresh_token\":\"r2\""), Ok(())),
        (
            "application/json",
            format!("{good},\"refresh_token\":\"r2\",\"expires_in\":\"x\""),
            Err(malformed),
        ),
        (
            "application/json",
            format!("{good},\"refresh_token\":\"r2\",\"scope\":\"a\""),
            Err(NarrowScope),
        ),
        ("application/json", r#""refresh_token":"r2""#.to_owned(), Err(malformed)),
        ("text/plain", format!("{good},\"refresh_token\":\"r2\""), Err(malformed)),
    ];
    for (kind, members, expected) in cases {
        let body = format!("{{{members}}}");
        let answer =
            answer(Grant::RefreshToken("r1".into()), TokenType::Bearer, 200, kind, &body).unwrap();
        assert_eq!(answer.refresh_token.unwrap().expose(), "r2", "{body}");
        match (answer.outcome.map_err(|error| error.kind()), expected) {
            (Ok(response), Ok(())) => assert_eq!(response.refresh_token.unwrap().expose(), "r2"),
            (Err(Malformed(_)), Err(Malformed(_))) => {}
            (found, expected) => assert_eq!(found.map(drop), expected, "{body}"),
        }
    }
    // A refusal has none, and one that is no text is none.
    for (status, body) in [
        (400, r#"{"error":"invalid_grant","refresh_token":"r2"}"#),
        (200, r#"{"refresh_token":["r2"]}"#),
        (200, r#"{"refresh_token":""}"#),
        (200, "r2"),
    ] {
        let grant = Grant::RefreshToken("r1".into());
        assert!(answer(grant, TokenType::Bearer, status, "application/json", body).is_err());
    }
}

#[test]
fn t08_an_exchange_takes_only_the_type_that_it_asked_for() {
    const TYPE: &str = "urn:ietf:params:oauth:token-type:";
    let wants = |kind| TokenExchange { requested_token_type: Some(kind), ..exchange() };
    let cases = [
        (exchange(), "access_token", Ok(())),
        (exchange(), "jwt", Ok(())),
        (exchange(), "id_token", Err(ErrorKind::WrongTokenType)),
        (exchange(), "refresh_token", Err(ErrorKind::WrongTokenType)),
        (wants(TokenTypeUri::JWT), "jwt", Ok(())),
        (wants(TokenTypeUri::JWT), "access_token", Err(ErrorKind::WrongTokenType)),
        (wants(TokenTypeUri::ACCESS_TOKEN), "jwt", Err(ErrorKind::WrongTokenType)),
    ];
    for (exchange, issued, expected) in cases {
        let body = format!(
            r#"{{"access_token":"a","token_type":"Bearer","issued_token_type":"{TYPE}{issued}"}}"#
        );
        let grant = Grant::TokenExchange(Box::new(exchange));
        let found = answer(grant, TokenType::Bearer, 200, "application/json", &body);
        let found = found.and_then(|answer| answer.outcome).map_err(|error| error.kind());
        assert_eq!(found.map(drop), expected, "{issued}");
    }
    let bare = r#"{"access_token":"a","token_type":"Bearer"}"#;
    let grant = Grant::TokenExchange(Box::new(exchange()));
    let error = answer(grant, TokenType::Bearer, 200, "application/json", bare).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed(_)), "issued_token_type is required");
}

#[test]
fn t06_a_dpop_token_is_taken_only_where_it_was_asked_for_and_then_no_other() {
    let body = |kind: &str| format!(r#"{{"access_token":"a","token_type":"{kind}"}}"#);
    for (wanted, kind, good) in [
        (TokenType::Dpop, "DPoP", true),
        (TokenType::Dpop, "dpop", true),
        (TokenType::Dpop, "Bearer", false),
        (TokenType::Bearer, "DPoP", false),
    ] {
        let grant = Grant::ClientCredentials;
        let found = answer(grant, wanted, 200, "application/json", &body(kind));
        assert_eq!(found.is_ok(), good, "{wanted:?} {kind}");
        if let Ok(found) = found {
            assert_eq!(found.outcome.unwrap().token_type, wanted);
        }
    }
}
