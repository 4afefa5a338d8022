//! What a client says about itself does not get through.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use tower::{Layer, service_fn};

use crate::support::*;

/// Answers with the names of the headers that arrived.
async fn names(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    Ok(Response::new(Full::from(names.join(" "))))
}

fn forged(mut request: Request<()>) -> Request<()> {
    for name in ["x-user", "x_user", "x-forwarded-client-cert", "x-user-agent", "x-other"] {
        for value in ["alice", "bob"] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
    }
    request
}

#[tokio::test]
async fn h10_a_clients_own_identity_headers_are_stripped_from_whoever_is_let_in() {
    let door = table()
        .allow_anonymous()
        .allow_cors_preflight()
        .strip_headers(["X-User"])
        .unwrap()
        .strip_headers(["x_forwarded_client-cert"])
        .unwrap();
    let preflight =
        || Request::options("/").header("access-control-request-method", "PUT").body(()).unwrap();
    let cases = [
        (with_token(ALICE), "authorization x-other x-user-agent"),
        (with_token(CAROL), "authorization x-other x-user-agent"),
        (get("/", &[]), "x-other x-user-agent"),
        (preflight(), "access-control-request-method x-other x-user-agent"),
    ];
    for (request, arrived) in cases {
        let answer = seen(door.layer(service_fn(names)), forged(request)).await;
        assert_eq!(answer.body, arrived);
    }
    let answer = seen(door.layer(service_fn(names)), grpc(forged(with_token(ALICE)))).await;
    assert_eq!(answer.body, "authorization content-type x-other x-user-agent");
    // By default nothing is touched.
    let answer = seen(table().layer(service_fn(names)), forged(with_token(ALICE))).await;
    assert!(answer.body.contains("x-user ") && answer.body.contains("x_user"), "{}", answer.body);
}

#[test]
fn h10_what_is_no_header_name_is_refused_by_the_builder() {
    for bad in ["", "x user", "x-user:", "ä"] {
        let error = table().strip_headers(["x-user", bad]).unwrap_err().to_string();
        assert!(error.starts_with("strip_headers `"), "{error}");
    }
}
