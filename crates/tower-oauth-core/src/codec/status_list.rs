//! A Status List Token fetched over HTTP (draft-ietf-oauth-status-list §8.1, §8.2), in its JWT form.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{Method, StatusCode};

use super::{Codec, status_error};
use crate::{EndpointUri, Error, ErrorKind};

/// The media type of a Status List Token that is a JWT.
const JWT: &str = "application/statuslist+jwt";

/// Asks for a status list. It names the list and no token, so that nobody learns which token is meant.
#[derive(Clone, Debug)]
pub struct StatusListRequest {
    /// Where the list is: the `uri` of a token's `status_list`.
    pub uri: EndpointUri,
}

/// Writes and reads status list messages. The answer is the JWT's text; nothing of it is parsed or verified here.
#[derive(Clone, Copy, Debug)]
pub struct StatusListCodec {
    max_body: usize,
}

impl StatusListCodec {
    /// Reads tokens of up to 256 KiB.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_body: Self::MAX_BODY }
    }

    /// Reads tokens of up to so many bytes.
    #[must_use]
    pub const fn with_max_body(mut self, max_body: usize) -> Self {
        self.max_body = max_body;
        self
    }
}

impl Default for StatusListCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec for StatusListCodec {
    type Request = StatusListRequest;
    type Response = Bytes;

    const MAX_BODY: usize = 256 * 1024;

    fn max_body(&self) -> usize {
        self.max_body
    }

    fn encode(&self, request: &StatusListRequest) -> Result<http::Request<Bytes>, Error> {
        http::Request::builder()
            .method(Method::GET)
            .uri(request.uri.as_uri().clone())
            .header(ACCEPT, JWT)
            // Who says nothing takes every coding (RFC 9110 §12.5.3), and a coding would make two zip bombs out of one.
            .header(ACCEPT_ENCODING, "identity")
            .body(Bytes::new())
            .map_err(|_| {
                ErrorKind::Configuration("the status list request cannot be written").into()
            })
    }

    fn decode(
        &self,
        _request: &StatusListRequest,
        response: http::Response<Bytes>,
    ) -> Result<Bytes, Error> {
        if response.status() != StatusCode::OK {
            return Err(status_error(&response));
        }
        let coding = response.headers().get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(ErrorKind::Malformed("a content coding that was not asked for").into());
        }
        // The media type is not asked: the list may lie on an object store, and the signature and `typ` of
        // the JWT say what it is.
        Ok(response.into_body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StatusListRequest {
        let uri = EndpointUri::parse("https://idp.example/statuslists/1?part=2").unwrap();
        StatusListRequest { uri }
    }

    fn decode(status: u16, coding: Option<&str>) -> Result<Bytes, ErrorKind> {
        let mut response = http::Response::builder().status(status);
        if let Some(coding) = coding {
            response = response.header(CONTENT_ENCODING, coding);
        }
        let response = response.body(Bytes::from_static(b"a.b.c")).unwrap();
        StatusListCodec::new().decode(&request(), response).map_err(|error| error.kind())
    }

    #[test]
    fn the_request_names_the_list_and_the_form_and_nothing_else() {
        let encoded = StatusListCodec::new().encode(&request()).unwrap();
        assert_eq!(encoded.method(), Method::GET);
        assert_eq!(encoded.uri(), "https://idp.example/statuslists/1?part=2");
        assert_eq!(encoded.headers()[ACCEPT], "application/statuslist+jwt");
        assert_eq!(encoded.headers()[ACCEPT_ENCODING], "identity");
        assert_eq!((encoded.headers().len(), encoded.body().len()), (2, 0));
    }

    #[test]
    fn only_a_plain_200_is_an_answer() {
        assert_eq!(decode(200, None).unwrap(), "a.b.c");
        assert_eq!(decode(200, Some("Identity")).unwrap(), "a.b.c");
        for coding in ["gzip", "identity, gzip", ""] {
            assert!(matches!(decode(200, Some(coding)), Err(ErrorKind::Malformed(_))), "{coding}");
        }
        for status in [204, 206, 304, 404, 429, 500, 503] {
            assert_eq!(decode(status, None).unwrap_err(), ErrorKind::Status(status));
        }
    }

    #[test]
    fn the_cap_can_be_set() {
        assert_eq!(StatusListCodec::default().max_body(), 256 * 1024);
        assert_eq!(StatusListCodec::new().with_max_body(7).max_body(), 7);
    }
}
