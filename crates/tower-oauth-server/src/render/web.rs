//! Over HTTP: a status, a challenge, and a short JSON object for those who read bodies.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response};

use super::{description, retry_after};
use crate::Rejection;

/// With the body of [`body`], or with one that the application has written.
pub(super) fn response(
    rejection: &Rejection,
    challenge: Option<HeaderValue>,
    own: Option<Response<Bytes>>,
) -> Response<Bytes> {
    let mut response = own.unwrap_or_else(|| body(rejection));
    // What makes it a refusal is not the application's to change.
    *response.status_mut() = rejection.status();
    let length = HeaderValue::from(response.body().len());
    let headers = response.headers_mut();
    for name in [WWW_AUTHENTICATE, RETRY_AFTER, TRANSFER_ENCODING, CONTENT_LENGTH] {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after(rejection) {
        headers.insert(RETRY_AFTER, seconds);
    }
    if headers.contains_key(CONTENT_TYPE) {
        // Written here and not left to the server: the answer to a HEAD names the length of what a GET would bring.
        headers.insert(CONTENT_LENGTH, length);
    }
    response
}

/// `{"error", "error_description"}` as OAuth writes it everywhere else (RFC 6749 §5.2); nothing where RFC 6750 §3.1
/// wants no error information.
fn body(rejection: &Rejection) -> Response<Bytes> {
    let error = match rejection {
        Rejection::Forbidden(_) => "access_denied",
        Rejection::Unavailable { .. } => "temporarily_unavailable",
        Rejection::Misconfigured(_) => "server_error",
        _ => match rejection.error() {
            Some(error) => error,
            None => return Response::new(Bytes::new()),
        },
    };
    let description = description(rejection);
    let text = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
    let mut response = Response::new(Bytes::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
