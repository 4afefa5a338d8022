use super::*;

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
