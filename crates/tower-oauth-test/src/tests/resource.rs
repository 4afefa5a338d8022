use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use tokio::time::timeout;

use super::*;
use crate::{Refusal, ScriptedResource, TokenSpec};

async fn call(
    resource: &ScriptedResource,
    bearer: Option<&str>,
    kind: &str,
) -> (Answer, Option<HeaderMap>) {
    let mut request = Request::post("https://api.test/").header(CONTENT_TYPE, kind);
    if let Some(token) = bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::<Bytes>::from("ping")).unwrap();
    let (head, body) = resource.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (Answer { status: head.status, headers: head.headers, body: body.to_bytes() }, trailers)
}

#[tokio::test]
async fn a_live_token_gets_its_request_back() {
    let issuer = issuer();
    let resource = issuer.resource();
    let token = issuer.mint(TokenSpec::new());
    let (answer, trailers) = call(&resource, Some(&token), "text/plain").await;
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, b"ping".as_slice()));
    assert_eq!((answer.header("content-type"), trailers), (Some("text/plain"), None));
    let (answer, trailers) = call(&resource, Some(&token), "application/grpc+proto").await;
    assert_eq!((answer.status, answer.body.as_ref()), (StatusCode::OK, b"ping".as_slice()));
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
    assert_eq!((resource.calls(), resource.refused(), resource.tokens_seen()), (2, 0, 1));
}

#[tokio::test]
async fn each_refusal_looks_as_it_says() {
    let exactly = Refusal::Exactly {
        status: StatusCode::FORBIDDEN,
        challenge: Some(r#"Bearer error="insufficient_scope""#.into()),
        body: "900901".into(),
    };
    let invalid = Some(r#"Bearer error="invalid_token""#);
    let scope = Some(r#"Bearer error="insufficient_scope""#);
    let cases = [
        (Refusal::InvalidToken, 401, invalid, Some("Bearer"), None, ""),
        (Refusal::Bare, 401, None, None, None, ""),
        (Refusal::Forbidden, 403, None, None, None, ""),
        (Refusal::Grpc, 200, None, None, Some("16"), ""),
        (exactly, 403, scope, scope, None, "900901"),
    ];
    for (refusal, status, challenge, challenge_without_token, grpc_status, content) in cases {
        let resource = issuer().resource().refuse_with(refusal.clone());
        for (token, challenge) in [(Some("dead"), challenge), (None, challenge_without_token)] {
            let (answer, trailers) = call(&resource, token, "application/grpc").await;
            assert_eq!(answer.status, status, "{refusal:?}");
            assert_eq!(answer.header("www-authenticate"), challenge, "{refusal:?}");
            assert_eq!(answer.header("grpc-status"), grpc_status, "{refusal:?}");
            assert_eq!((answer.body.as_ref(), trailers), (content.as_bytes(), None));
        }
        assert_eq!((resource.calls(), resource.refused(), resource.tokens_seen()), (2, 2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_may_refuse_all_and_before_it_reads() {
    let issuer = issuer();
    let token = issuer.mint(TokenSpec::new());
    let (answer, _) = call(&issuer.resource().refuse_all(), Some(&token), "text/plain").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    // A body that never ends: an answer means that nobody waited for it.
    let request = || {
        let body = ScriptedBody::drip(Duration::from_secs(1));
        Request::post("https://api.test/").body(body).unwrap()
    };
    let patience = Duration::from_secs(60);
    let unread = issuer.resource().refuse_unread().oneshot(request());
    let answer = timeout(patience, unread).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(timeout(patience, issuer.resource().oneshot(request())).await.is_err());
}

#[tokio::test]
async fn a_resource_may_forbid_what_a_good_token_asks_for() {
    let issuer = issuer();
    let token = issuer.mint(TokenSpec::new());
    let deletes = |head: &http::request::Parts| head.method == http::Method::DELETE;
    let resource = issuer.resource().refuse_with(Refusal::Forbidden).forbid(deletes);
    let cases = [("GET", token.as_str(), 200), ("DELETE", &token, 403), ("GET", "dead", 403)];
    for (method, token, status) in cases {
        let request =
            Request::builder().method(method).header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = resource.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{method}");
        assert!(answer.status() == 200 || answer.headers().is_empty(), "both 403 look the same");
    }
    assert_eq!((resource.calls(), resource.refused()), (3, 1), "a right is no token");
}

#[tokio::test]
async fn only_one_bearer_field_is_a_token() {
    let issuer = issuer();
    let token = issuer.mint(TokenSpec::new());
    let bearer = format!("Bearer {token}");
    let cases: &[(&[&str], u16)] = &[
        (&[&bearer], 200),
        (&[&format!("bEARER  {token}")], 200),
        (&[&bearer, &bearer], 401),
        (&[&format!("Basic {token}")], 401),
        (&[&token], 401),
        (&[], 401),
    ];
    for (fields, status) in cases {
        let mut request = Request::post("/").body(Full::<Bytes>::default()).unwrap();
        for field in *fields {
            request.headers_mut().append(AUTHORIZATION, field.parse().unwrap());
        }
        let answer = issuer.resource().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), *status);
    }
}
