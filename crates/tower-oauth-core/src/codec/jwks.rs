//! A JWK set (RFC 7517 §5) fetched over HTTP, with what RFC 9111 says of its age.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, StatusCode};

use super::freshness::freshness;
use super::{Codec, status_error};
use crate::{EndpointUri, Error, ErrorKind};

/// Asks for a key set.
#[derive(Clone, Debug)]
pub struct JwksRequest {
    /// Where the set is.
    pub uri: EndpointUri,
    /// The entity tag of the set at hand, so that an unchanged one need not be sent again.
    pub etag: Option<HeaderValue>,
    /// Asks caches on the way not to answer from their store: somebody has seen a newer key.
    pub bypass_caches: bool,
}

/// The answer to a [`JwksRequest`]. The set itself is not parsed here.
#[derive(Clone, Debug)]
pub enum JwksResponse {
    /// A set.
    Set {
        /// The JSON text, at most 256 KiB.
        body: Bytes,
        /// Its entity tag.
        etag: Option<HeaderValue>,
        /// How long it may be used, as its headers say: `max-age` less `Age`, or `Expires` less
        /// `Date`. Zero means "ask each time"; `None` means that the server does not say.
        fresh_for: Option<Duration>,
    },
    /// The set at hand is still the one.
    NotModified {
        /// As in [`Set`](Self::Set).
        fresh_for: Option<Duration>,
    },
}

/// Writes and reads key set messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct JwksCodec;

impl Codec for JwksCodec {
    type Request = JwksRequest;
    type Response = JwksResponse;

    const MAX_BODY: usize = 256 * 1024;

    fn encode(&self, request: &JwksRequest) -> Result<http::Request<Bytes>, Error> {
        let mut builder = http::Request::builder()
            .method(Method::GET)
            .uri(request.uri.as_uri().clone())
            .header(ACCEPT, "application/jwk-set+json, application/json");
        if let Some(etag) = &request.etag {
            builder = builder.header(IF_NONE_MATCH, etag);
        }
        if request.bypass_caches {
            builder = builder.header(CACHE_CONTROL, "no-cache");
        }
        builder
            .body(Bytes::new())
            .map_err(|_| ErrorKind::Configuration("the key set request cannot be written").into())
    }

    fn decode(
        &self,
        request: &JwksRequest,
        response: http::Response<Bytes>,
    ) -> Result<JwksResponse, Error> {
        let fresh_for = freshness(response.headers());
        match response.status() {
            // The media type is not asked: key sets on object stores come as octet streams.
            StatusCode::OK => Ok(JwksResponse::Set {
                etag: response.headers().get(ETAG).cloned(),
                fresh_for,
                body: response.into_body(),
            }),
            StatusCode::NOT_MODIFIED if request.etag.is_some() => {
                Ok(JwksResponse::NotModified { fresh_for })
            }
            StatusCode::NOT_MODIFIED => {
                Err(ErrorKind::Malformed("304 to a request without a condition").into())
            }
            _ => Err(status_error(&response)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(status: u16, etag: Option<&'static str>) -> Result<JwksResponse, ErrorKind> {
        let request = JwksRequest {
            uri: EndpointUri::parse("https://idp.example/jwks").unwrap(),
            etag: etag.map(HeaderValue::from_static),
            bypass_caches: false,
        };
        let response = http::Response::builder().status(status).body(Bytes::new()).unwrap();
        JwksCodec.decode(&request, response).map_err(|error| error.kind())
    }

    #[test]
    fn k02_only_200_and_an_asked_for_304_are_answers() {
        assert!(matches!(decode(200, None), Ok(JwksResponse::Set { .. })));
        assert!(matches!(decode(304, Some("\"a\"")), Ok(JwksResponse::NotModified { .. })));
        assert!(matches!(decode(304, None), Err(ErrorKind::Malformed(_))));
        for status in [204, 206, 400, 404, 500, 503] {
            assert_eq!(decode(status, None).unwrap_err(), ErrorKind::Status(status));
        }
    }

    #[test]
    fn a_condition_and_a_bypass_are_written_when_asked_for() {
        let mut request = JwksRequest {
            uri: EndpointUri::parse("https://idp.example/jwks").unwrap(),
            etag: Some(HeaderValue::from_static("\"a\"")),
            bypass_caches: true,
        };
        let headers = JwksCodec.encode(&request).unwrap().headers().clone();
        assert_eq!(headers[IF_NONE_MATCH], "\"a\"");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        request.etag = None;
        request.bypass_caches = false;
        let headers = JwksCodec.encode(&request).unwrap().headers().clone();
        assert!(!headers.contains_key(IF_NONE_MATCH) && !headers.contains_key(CACHE_CONTROL));
    }
}
