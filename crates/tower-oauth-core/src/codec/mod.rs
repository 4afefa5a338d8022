//! Sans-IO codecs: one protocol message a file, no transport.
//!
//! A codec turns a request value into an [`http::Request`] and the [`http::Response`] into a result.
//! `tower-oauth-endpoint` puts any HTTP service under it.

mod client_auth;
mod form;
mod freshness;
mod grant;
mod introspection;
mod jwks;
mod metadata;
mod revocation;
mod status_list;
mod token;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use std::time::Duration;

use crate::{Error, ErrorKind};

pub use client_auth::ClientAuth;
pub use grant::{Grant, TokenExchange, TokenTypeUri};
pub use introspection::{
    ActiveToken, IntrospectionCodec, IntrospectionRequest, IntrospectionResponse,
};
pub use jwks::{JwksCodec, JwksRequest, JwksResponse};
pub use metadata::{Metadata, MetadataCodec, MetadataRequest};
pub use revocation::{RevocationCodec, RevocationRequest, TokenHint};
pub use status_list::{StatusListCodec, StatusListRequest};
pub use token::{
    RotatingTokenCodec, TokenAnswer, TokenCodec, TokenRequest, TokenResponse, TokenType,
};

/// One protocol message: how its request is written and its answer is read.
pub trait Codec {
    /// What is asked.
    type Request;
    /// What comes back.
    type Response;

    /// The largest answer that is read, in bytes.
    const MAX_BODY: usize = 64 * 1024;

    /// The largest answer that this codec reads, in bytes: [`MAX_BODY`](Self::MAX_BODY), unless it can be set.
    fn max_body(&self) -> usize {
        Self::MAX_BODY
    }

    /// Writes the request.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where the values cannot be written.
    fn encode(&self, request: &Self::Request) -> Result<http::Request<Bytes>, Error>;

    /// Reads the answer, whatever its status. A redirect does not reach a codec.
    ///
    /// # Errors
    /// What the answer means where it is not a success.
    fn decode(
        &self,
        request: &Self::Request,
        response: http::Response<Bytes>,
    ) -> Result<Self::Response, Error>;
}

/// When the server wants to be asked again (RFC 9110 §10.2.3): seconds, or a date.
///
/// The date is compared with the answer's own `Date`, so that a wrong clock on either side does not
/// matter and no clock is read here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is a very long time; the caller clamps.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(then.duration_since(date).unwrap_or(Duration::ZERO))
}

/// The error of an answer that is no success and has no OAuth meaning.
fn status_error(response: &http::Response<Bytes>) -> Error {
    Error::new(ErrorKind::Status(response.status().as_u16()))
        .with_retry_after(retry_after(response.headers()))
}

/// Whether the body claims to be JSON: `application/json` or a `+json` type.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence
            .to_ascii_lowercase()
            .strip_prefix("application/")
            .is_some_and(|s| s.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn t02_retry_after_is_seconds_or_a_date_and_never_garbage() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, HeaderValue::from_static(date));
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn t02_ten_years_are_clamped_to_five_minutes() {
        let response = http::Response::builder()
            .status(503)
            .header(RETRY_AFTER, "315360000")
            .body(Bytes::new())
            .unwrap();
        assert_eq!(status_error(&response).retry_after(), Some(Error::MAX_RETRY_AFTER));
    }
}
