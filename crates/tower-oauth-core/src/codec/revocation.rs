//! Token revocation: RFC 7009.

use bytes::Bytes;
use http::StatusCode;

use super::form::Form;
use super::token::refusal;
use super::{ClientAuth, Codec};
use crate::{EndpointUri, Error, Secret};

/// Asks that a token be ended. `Debug` shows neither the token nor a secret.
#[derive(Clone, Debug)]
pub struct RevocationRequest {
    /// The token.
    pub token: Secret,
    /// What it is: a hint that saves the server a search (RFC 7009 §2.1).
    pub hint: TokenHint,
}

/// What kind of token is revoked (RFC 7009 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenHint {
    /// An access token.
    AccessToken,
    /// A refresh token; with it go, at most servers, the access tokens that came of it.
    RefreshToken,
}

/// Writes and reads the messages of one revocation endpoint.
///
/// A token that the server does not know is a success, as the RFC wants it (§2.2): it is dead. With a
/// 503 it must be taken for alive (§2.2.1); the error is transient, and may say when to ask again.
#[derive(Clone, Debug)]
pub struct RevocationCodec {
    endpoint: EndpointUri,
    auth: ClientAuth,
}

impl RevocationCodec {
    /// A codec for this endpoint and this client.
    #[must_use]
    pub fn new(endpoint: EndpointUri, auth: ClientAuth) -> Self {
        Self { endpoint, auth }
    }
}

impl Codec for RevocationCodec {
    type Request = RevocationRequest;
    type Response = ();

    fn encode(&self, request: &RevocationRequest) -> Result<http::Request<Bytes>, Error> {
        let mut form = Form::default();
        form.add("token", request.token.expose());
        form.add(
            "token_type_hint",
            match request.hint {
                TokenHint::AccessToken => "access_token",
                TokenHint::RefreshToken => "refresh_token",
            },
        );
        form.post(&self.endpoint, "application/json", &self.auth)
    }

    fn decode(
        &self,
        _request: &RevocationRequest,
        response: http::Response<Bytes>,
    ) -> Result<(), Error> {
        // The body of a success is not read: the status says it all (RFC 7009 §2.2).
        if response.status() == StatusCode::OK { Ok(()) } else { Err(refusal(&response)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, OAuthCode};

    fn codec(auth: ClientAuth) -> RevocationCodec {
        RevocationCodec::new(EndpointUri::parse("https://idp.example/revoke").unwrap(), auth)
    }

    #[test]
    fn the_form_names_the_token_and_the_client() {
        let post = ClientAuth::Post { id: "id".into(), secret: "s&t".into() };
        for (hint, text) in
            [(TokenHint::AccessToken, "access_token"), (TokenHint::RefreshToken, "refresh_token")]
        {
            let request = RevocationRequest { token: "a+b".into(), hint };
            let written = codec(post.clone()).encode(&request).unwrap();
            let expected =
                format!("token=a%2Bb&token_type_hint={text}&client_id=id&client_secret=s%26t");
            assert_eq!(written.body(), expected.as_bytes());
            assert!(!format!("{request:?}").contains("a+b"));
        }
    }

    #[test]
    fn only_200_ends_a_token_and_503_leaves_it_alive() {
        let cases = [
            (200, "", Ok(())),
            (200, "<html>", Ok(())),
            (204, "", Err(ErrorKind::Status(204))),
            (503, r#"{"error":"invalid_client"}"#, Err(ErrorKind::Status(503))),
            (401, r#"{"error":"invalid_client"}"#, Err(ErrorKind::OAuth(OAuthCode::InvalidClient))),
            (
                400,
                r#"{"error":"unsupported_token_type"}"#,
                Err(ErrorKind::OAuth(OAuthCode::UnsupportedTokenType)),
            ),
            (404, "", Err(ErrorKind::Status(404))),
        ];
        let codec = codec(ClientAuth::IdOnly { id: "id".into() });
        let request = RevocationRequest { token: "a".into(), hint: TokenHint::AccessToken };
        for (status, body, expected) in cases {
            let response = http::Response::builder()
                .status(status)
                .header("retry-after", "7")
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap();
            let found = codec.decode(&request, response);
            assert_eq!(found.as_ref().map_err(Error::kind).copied(), expected, "{status}");
            if status == 503 {
                let error = found.unwrap_err();
                assert!(error.is_transient());
                assert_eq!(error.retry_after().unwrap().as_secs(), 7);
            }
        }
    }
}
