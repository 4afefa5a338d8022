//! Over gRPC: HTTP 200 and nothing but headers, which gRPC calls trailers-only.
//!
//! An HTTP status of its own would reach a gRPC client as a guess (`UNKNOWN`, at best), and gRPC-Web takes the status from the headers
//! too where there is no body.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::{description, retry_after};
use crate::Rejection;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The kinds of gRPC, the common ones first.
const KINDS: [&str; 8] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web+proto",
    "application/grpc-web",
    "application/grpc-web-text+proto",
    "application/grpc-web-text",
    "application/grpc+json",
    "application/grpc-web+json",
];

/// The `content-type` to answer with, if the request is a gRPC one.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    KINDS.into_iter().find(|kind| names(value, kind)).or_else(|| {
        // A codec of the application's own, `application/grpc+thrift`. No message is in the answer, so the
        // kind without it is right, and nothing of the request is repeated.
        ["application/grpc-web-text", "application/grpc-web", "application/grpc"]
            .into_iter()
            .find(|kind| starts_with(value, kind) && value.get(kind.len()) == Some(&b'+'))
    })
}

pub(super) fn response(
    rejection: &Rejection,
    challenge: Option<HeaderValue>,
    content_type: &'static str,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // To a cache it is a success like any other.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    write_status(headers, rejection);
    // Not part of gRPC: metadata by which a client layer tells a dead token from one that is not enough.
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after(rejection) {
        headers.insert(RETRY_AFTER, seconds);
    }
    response
}

/// The end of a stream that has begun already.
pub(super) fn trailers(rejection: &Rejection) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    write_status(&mut trailers, rejection);
    trailers
}

/// Whether an answer has its status in trailers behind the messages, as gRPC-Web has not.
pub(super) fn is_native(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|kind| !kind.starts_with("application/grpc-web"))
}

fn write_status(fields: &mut HeaderMap, rejection: &Rejection) {
    fields.insert(GRPC_STATUS, HeaderValue::from(rejection.grpc_code()));
    if let Ok(message) = HeaderValue::try_from(percent_encode(&description(rejection))) {
        fields.insert(GRPC_MESSAGE, message);
    }
}

/// Whether this is the media type, with or without parameters.
fn names(value: &[u8], kind: &str) -> bool {
    starts_with(value, kind) && matches!(value.get(kind.len()), None | Some(b';' | b' ' | b'\t'))
}

fn starts_with(value: &[u8], kind: &str) -> bool {
    value.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
}

/// The encoding of `grpc-message`: all but `%x20-24 / %x26-7E` as `%XX`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '\x20'..='\x7E') && char != '%' {
            encoded.push(char);
        } else {
            let mut buffer = [0; 4];
            for byte in char.encode_utf8(&mut buffer).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h08_the_kind_of_grpc_is_answered_and_never_the_text_of_the_request() {
        let cases = [
            ("application/grpc", Some("application/grpc")),
            ("application/grpc; charset=utf-8", Some("application/grpc")),
            ("Application/GRPC", Some("application/grpc")),
            ("application/grpc+proto", Some("application/grpc+proto")),
            ("application/grpc+json", Some("application/grpc+json")),
            ("application/grpc+secret", Some("application/grpc")),
            ("application/grpc-web", Some("application/grpc-web")),
            ("application/grpc-web+proto", Some("application/grpc-web+proto")),
            ("application/grpc-web+secret", Some("application/grpc-web")),
            ("application/grpc-web-text", Some("application/grpc-web-text")),
            ("application/grpc-web-text+proto", Some("application/grpc-web-text+proto")),
            ("application/grpc-web-text+secret", Some("application/grpc-web-text")),
            ("application/grpcish", None),
            ("application/grpc-secret", None),
            ("application/json", None),
            ("text/plain; application/grpc", None),
            ("", None),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, sent.parse().unwrap());
            assert_eq!(content_type(&headers), expected, "{sent}");
        }
        assert_eq!(content_type(&HeaderMap::new()), None);
    }

    #[test]
    fn a_message_is_percent_encoded() {
        let cases = [
            ("the token has expired", "the token has expired"),
            ("100 %", "100 %25"),
            ("a\r\nb", "a%0D%0Ab"),
            ("ä", "%C3%A4"),
        ];
        for (text, expected) in cases {
            assert_eq!(percent_encode(text), expected);
        }
    }
}
