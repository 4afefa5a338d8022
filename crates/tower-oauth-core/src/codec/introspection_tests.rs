use http::header::RETRY_AFTER;
use std::time::Duration;

use super::*;
use crate::OAuthCode;

fn request() -> IntrospectionRequest {
    IntrospectionRequest {
        endpoint: EndpointUri::parse("https://idp.example/introspect").unwrap(),
        token: Secret::new("a+b/c=="),
    }
}

fn codec() -> IntrospectionCodec {
    IntrospectionCodec::new(ClientAuth::Basic { id: "o:p".into(), secret: Secret::new("s&t") })
}

fn answer(status: u16, kind: &str, body: &str) -> http::Response<Bytes> {
    http::Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

fn decode(body: &str) -> Result<IntrospectionResponse, ErrorKind> {
    let response = answer(200, "application/json;charset=UTF-8", body);
    codec().decode(&request(), response).map_err(|error| error.kind())
}

#[test]
fn the_token_goes_in_the_form_and_the_credentials_where_the_method_says() {
    let basic = codec().encode(&request()).unwrap();
    assert_eq!(basic.method(), http::Method::POST);
    assert!(basic.uri().query().is_none());
    assert_eq!(basic.headers()[http::header::ACCEPT], "application/json");
    assert!(basic.headers()[http::header::AUTHORIZATION].is_sensitive());
    assert_eq!(&basic.body()[..], b"token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");

    let post = ClientAuth::Post { id: "o:p".into(), secret: Secret::new("s&t") };
    let post = IntrospectionCodec::new(post).encode(&request()).unwrap();
    assert!(!post.headers().contains_key(http::header::AUTHORIZATION));
    assert!(post.body().ends_with(b"&client_id=o%3Ap&client_secret=s%26t"));
}

#[test]
fn d07_only_the_boolean_true_is_active() {
    for (body, expected) in [
        (r#"{"active":true}"#, Some(true)),
        (r#"{"active":false}"#, Some(false)),
        (r#"{"active":false,"exp":"soon","aud":7}"#, Some(false)),
        (r#"{"active":"true"}"#, None),
        (r#"{"active":"false"}"#, None),
        (r#"{"active":1}"#, None),
        (r#"{"active":0}"#, None),
        (r#"{"active":null}"#, None),
        (r#"{"active":[true]}"#, None),
        (r#"{"Active":true}"#, None),
        (r#"{}"#, None),
        (r#"{"active":false,"active":true}"#, None),
        (r#"{"active":true,"\u0061ctive":false}"#, None),
        (r#"[{"active":true}]"#, None),
        ("true", None),
        ("", None),
    ] {
        let active = match decode(body) {
            Ok(IntrospectionResponse::Active(_)) => Some(true),
            Ok(IntrospectionResponse::Inactive) => Some(false),
            Ok(IntrospectionResponse::Signed(_)) => panic!("{body}: nobody asked for a signature"),
            Err(kind) => {
                assert!(matches!(kind, ErrorKind::Malformed(_)), "{body}: {kind:?}");
                None
            }
        };
        assert_eq!(active, expected, "{body}");
    }
}

#[test]
fn members_of_an_active_token_have_their_types() {
    let full = r#"{"active":true,"scope":"b a","client_id":"c","username":"u","token_type":"Bearer",
        "exp":1800000000.9,"iat":1,"nbf":2,"sub":"s","aud":["x","y"],"iss":"i","jti":"j","sid":"z",
        "cnf":{"jkt":"k"},"token_use":"access","tenant":7}"#;
    let Ok(IntrospectionResponse::Active(token)) = decode(full) else { panic!("not active") };
    assert_eq!(token.scopes, Scopes::parse("a b"));
    assert_eq!((token.expires_at, token.issued_at), (Some(1_800_000_000), Some(1)));
    assert_eq!(token.audiences, ["x", "y"]);
    assert!(token.is_bound);
    let all: std::collections::HashMap<String, Value> = token.claims().unwrap();
    assert_eq!(all["tenant"], 7);
    assert!(token.claims::<Vec<u8>>().is_err());
    assert_eq!(format!("{token:?}"), "ActiveToken { .. }");

    for member in [
        r#""exp":"1800000000""#,
        r#""exp":-1"#,
        r#""exp":1e300"#,
        r#""iat":true"#,
        r#""nbf":[]"#,
        r#""aud":7"#,
        r#""aud":["x",7]"#,
        r#""aud":{}"#,
        r#""iss":["i"]"#,
        r#""sub":5"#,
        r#""scope":["a"]"#,
        r#""token_type":1"#,
    ] {
        let kind = decode(&format!(r#"{{"active":true,{member}}}"#)).unwrap_err();
        assert!(matches!(kind, ErrorKind::Malformed(_)), "{member}");
    }
}

#[test]
fn d08_case_64_our_own_trouble_with_the_server_is_an_error_and_never_inactive() {
    let json = "application/json";
    let inactive = r#"{"active":false}"#;
    let cases = [
        (
            answer(401, json, r#"{"error":"invalid_client"}"#),
            ErrorKind::OAuth(OAuthCode::InvalidClient),
        ),
        (answer(401, json, inactive), ErrorKind::Status(401)),
        (answer(403, "text/html", "<html>"), ErrorKind::Status(403)),
        (answer(404, json, inactive), ErrorKind::Status(404)),
        (answer(429, json, inactive), ErrorKind::Status(429)),
        (answer(500, json, inactive), ErrorKind::Status(500)),
        (answer(503, json, r#"{"error":"invalid_client"}"#), ErrorKind::Status(503)),
        (answer(204, json, ""), ErrorKind::Status(204)),
        (answer(200, "text/html", inactive), ErrorKind::Malformed("content type is not JSON")),
        (answer(200, json, "<html>"), ErrorKind::Malformed("not one JSON object")),
        (
            answer(200, "application/token-introspection+jwt", "a.b.c"),
            ErrorKind::Malformed("content type is not JSON"),
        ),
    ];
    for (response, expected) in cases {
        let shown = format!("{response:?}");
        assert_eq!(codec().decode(&request(), response).unwrap_err().kind(), expected, "{shown}");
    }
    let mut busy = answer(429, json, "");
    busy.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("17"));
    let error = codec().decode(&request(), busy).unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
}

#[test]
fn a_signed_answer_cannot_be_exchanged_for_one_without_a_signature() {
    let codec = codec().signed_answers();
    let accept = &codec.encode(&request()).unwrap().headers()[http::header::ACCEPT].clone();
    assert_eq!(accept, "application/token-introspection+jwt");
    for (kind, good) in [
        ("application/token-introspection+jwt", true),
        ("Application/Token-Introspection+JWT; charset=utf-8", true),
        ("application/json", false),
        ("application/jwt", false),
    ] {
        let decoded = codec.decode(&request(), answer(200, kind, r#"{"active":true}"#));
        assert_eq!(matches!(decoded, Ok(IntrospectionResponse::Signed(_))), good, "{kind}");
        assert_eq!(decoded.is_err(), !good, "{kind}");
    }
}

#[test]
fn neither_token_nor_secret_shows() {
    let codec = codec();
    let all =
        format!("{:?} {codec:?} {:?}", request(), codec.encode(&request()).unwrap().headers());
    for secret in ["a+b/c", "s&t"] {
        assert!(!all.contains(secret), "{all}");
    }
}
