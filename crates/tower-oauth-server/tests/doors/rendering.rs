use http::{HeaderValue, Method, Request};
use tower_oauth_core::ErrorKind;
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::Rejection;

use crate::support::*;

/// A request, and its whole answer over both protocols.
struct Case {
    request: Request<()>,
    status: u16,
    challenge: Option<&'static str>,
    retry_after: Option<&'static str>,
    body: &'static str,
    grpc_status: &'static str,
    grpc_message: &'static str,
}

fn cases() -> Vec<Case> {
    let invalid = |token| Case {
        request: with_token(token),
        status: 401,
        challenge: Some(
            "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"the token has expired\"",
        ),
        retry_after: None,
        body: r#"{"error":"invalid_token","error_description":"the token has expired"}"#,
        grpc_status: "16",
        grpc_message: "the token has expired",
    };
    let unavailable = |token| Case {
        request: with_token(token),
        status: 503,
        challenge: None,
        retry_after: Some("3"),
        body: r#"{"error":"temporarily_unavailable","error_description":"the token cannot be checked now"}"#,
        grpc_status: "14",
        grpc_message: "the token cannot be checked now",
    };
    vec![
        Case {
            request: get("/", &[]),
            status: 401,
            challenge: Some("Bearer realm=\"shop\""),
            retry_after: None,
            body: "",
            grpc_status: "16",
            grpc_message: "no credentials",
        },
        Case {
            request: get("/", &[b"Bearer a, Bearer b"]),
            status: 400,
            challenge: Some(
                "Bearer realm=\"shop\", error=\"invalid_request\", error_description=\"there are several credentials\"",
            ),
            retry_after: None,
            body: r#"{"error":"invalid_request","error_description":"there are several credentials"}"#,
            grpc_status: "16",
            grpc_message: "there are several credentials",
        },
        invalid(EXPIRED),
        invalid(EXPIRED_LATER),
        unavailable(OUTAGE),
        unavailable(OUTAGE_LATER),
    ]
}

#[tokio::test]
async fn h05_h07_a_refusal_over_http_is_a_status_a_challenge_and_a_fixed_text() {
    let layer = table().realm("shop").unwrap();
    for case in cases() {
        let answer = ask(&layer, case.request).await;
        assert_eq!(answer.status, case.status);
        assert_eq!(answer.header("www-authenticate"), case.challenge);
        assert_eq!(answer.header("retry-after"), case.retry_after);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("grpc-status"), None);
        assert_eq!(answer.body, case.body);
        assert_eq!(answer.size.0, Some(case.body.len() as u64));
        let json = (!case.body.is_empty()).then_some("application/json");
        assert_eq!(answer.header("content-type"), json);
    }
}

#[tokio::test]
async fn h08_a_refusal_over_grpc_is_http_200_and_trailers_only() {
    let layer = table().realm("shop").unwrap();
    for case in cases() {
        let answer = ask(&layer, grpc(case.request)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/grpc+proto"));
        assert_eq!(answer.header("grpc-status"), Some(case.grpc_status));
        assert_eq!(answer.header("grpc-message"), Some(case.grpc_message));
        assert_eq!(answer.header("www-authenticate"), case.challenge);
        assert_eq!(answer.header("retry-after"), case.retry_after);
        // One HEADERS frame with END_STREAM, no data: that is what makes it trailers-only.
        assert_eq!((answer.body.as_str(), answer.size), ("", (Some(0), true)));
        assert_eq!(answer.header("content-length"), None);
    }
}

#[tokio::test]
async fn h08_grpc_web_is_answered_in_its_own_kind() {
    let kinds = [
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc-web+proto"),
        ("application/grpc-web-text", "application/grpc-web-text"),
        ("application/grpc-web-text+proto", "application/grpc-web-text+proto"),
        ("application/grpc+CANARY", "application/grpc"),
    ];
    for (sent, answered) in kinds {
        let mut request = grpc(with_token(EXPIRED));
        request.headers_mut().insert("content-type", HeaderValue::from_static(sent));
        let answer = ask(&table(), request).await;
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("16")));
        assert_eq!(answer.header("content-type"), Some(answered));
    }
}

#[tokio::test]
async fn h09_the_answer_to_a_head_has_the_length_and_no_body() {
    let mut request = with_token(EXPIRED);
    *request.method_mut() = Method::HEAD;
    let head = ask(&table(), request).await;
    let get = ask(&table(), with_token(EXPIRED)).await;
    assert_eq!(head.status, 401);
    assert_eq!((head.body.as_str(), head.size), ("", (Some(0), true)));
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
}

#[tokio::test]
async fn the_typed_reason_is_in_the_extensions_of_the_answer() {
    let answer = ask(&table(), with_token(EXPIRED)).await;
    assert_eq!(answer.rejection, Some(Rejection::Invalid(InvalidToken::Expired)));
    let answer = ask(&table(), with_token(OUTAGE_LATER)).await;
    assert!(matches!(
        answer.rejection,
        Some(Rejection::Unavailable { cause: ErrorKind::Timeout, .. })
    ));
    assert_eq!(ask(&table(), with_token(ALICE)).await.rejection, None);
}

#[tokio::test]
async fn h09_a_cors_preflight_is_refused_unless_it_is_allowed() {
    let options = |fields: &[(&'static str, &'static str)]| {
        let mut request = Request::options("/").body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        request
    };
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    assert_eq!(ask(&table(), options(&preflight)).await.status, 401);

    let layer = table().allow_cors_preflight();
    let answer = ask(&layer, options(&preflight)).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "anonymous"));
    // Not a preflight: an OPTIONS of its own kind, and another method with the field.
    assert_eq!(ask(&layer, options(&preflight[..1])).await.status, 401);
    let mut forged = options(&preflight);
    *forged.method_mut() = Method::GET;
    assert_eq!(ask(&layer, forged).await.status, 401);
}

#[test]
fn a_realm_that_would_break_the_challenge_is_refused_by_the_builder() {
    for bad in ["", "a\"b", "a\\b", "a\r\nb", "a\tb", "ä"] {
        assert!(table().realm(bad).is_err(), "{bad:?}");
    }
    let error = table().realm("a\"b").unwrap_err().to_string();
    assert!(error.starts_with("realm `a\\\"b`"), "{error}");
}

#[tokio::test]
async fn a_refusal_with_status_200_is_kept_out_of_caches() {
    let layer = table();
    let answer = ask(&layer, grpc(with_token(EXPIRED))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // gRPC is always POST: to anything else with its media type, a refusal is an HTTP one.
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        let mut request = grpc(with_token(EXPIRED));
        *request.method_mut() = method.clone();
        let answer = ask(&layer, request).await;
        assert_eq!(answer.status, 401, "{method}");
        assert_eq!(answer.header("grpc-status"), None, "{method}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method}");
    }
}
