//! Over HTTP: a status, a challenge, and a short JSON object for those who read bodies.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};

use super::{description, retry_after};
use crate::Rejection;

pub(super) fn response(rejection: &Rejection, challenge: Option<HeaderValue>) -> Response<Bytes> {
    let body = body(rejection);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = rejection.status();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after(rejection) {
        headers.insert(RETRY_AFTER, seconds);
    }
    if let Some(body) = &body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Written here and not left to the server: the answer to a HEAD names the length of what a GET would bring.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    response.map(|_| body.unwrap_or_default())
}

/// `{"error", "error_description"}` as OAuth writes it everywhere else (RFC 6749 §5.2); nothing where RFC 6750 §3.1
/// wants no error information.
fn body(rejection: &Rejection) -> Option<Bytes> {
    let error = match rejection {
        Rejection::Missing => return None,
        Rejection::Unavailable { .. } => "temporarily_unavailable",
        Rejection::Misconfigured(_) => "server_error",
        _ => rejection.error()?,
    };
    let description = description(rejection);
    Some(format!(r#"{{"error":"{error}","error_description":"{description}"}}"#).into())
}
