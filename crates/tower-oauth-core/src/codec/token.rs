//! The token endpoint: RFC 6749 §2.3.1, §3.2, §4.4, §5; RFC 8707.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Codec, is_json, retry_after, status_error};
use crate::json::Object;
use crate::{EndpointUri, Error, ErrorKind, OAuthCode, Scopes, Secret, Token, TokenId};

/// What is exchanged for a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// The client acts for itself (RFC 6749 §4.4).
    ClientCredentials,
}

/// How the client proves who it is (RFC 6749 §2.3.1).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientAuth {
    /// `client_secret_basic`: id and secret form-encoded, then Base64 in the `Authorization` header.
    Basic {
        /// The client identifier.
        id: String,
        /// The client secret.
        secret: Secret,
    },
    /// `client_secret_post`: id and secret in the form.
    Post {
        /// The client identifier.
        id: String,
        /// The client secret.
        secret: Secret,
    },
}

/// A request for a token. `Debug` shows no secret: there is none in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    /// What is exchanged.
    pub grant: Grant,
    /// The scope that is asked for; empty leaves it to the server.
    pub scopes: Scopes,
    /// Resource indicators (RFC 8707), absolute URIs without a fragment.
    pub resources: Vec<String>,
    /// The `audience` parameter that some servers take instead (Auth0, RFC 8693 §2.1).
    pub audiences: Vec<String>,
    /// The token that was refused, if one was: a store must not answer with it.
    pub unlike: Option<TokenId>,
}

/// The answer of a token endpoint, checked.
#[derive(Clone, Debug)]
pub struct TokenResponse {
    /// The access token: 1 to 8192 visible ASCII characters.
    pub access_token: Secret,
    /// Its life; `None` where the server did not say.
    pub expires_in: Option<Duration>,
    /// The scope granted; `None` means as asked (RFC 6749 §5.1).
    pub scopes: Option<Scopes>,
}

/// Writes and reads the messages of one token endpoint.
#[derive(Clone, Debug)]
pub struct TokenCodec {
    endpoint: EndpointUri,
    auth: ClientAuth,
}

impl TokenCodec {
    /// A codec for this endpoint and this client.
    #[must_use]
    pub fn new(endpoint: EndpointUri, auth: ClientAuth) -> Self {
        Self { endpoint, auth }
    }

    /// Enough room for the form from the start: growing would leave a copy of the secret behind in
    /// freed memory. Three bytes for one is the worst that form-encoding does.
    fn form_len(&self, request: &TokenRequest) -> usize {
        let credentials = match &self.auth {
            ClientAuth::Basic { .. } => 0,
            ClientAuth::Post { id, secret } => id.len() + secret.expose().len(),
        };
        let listed = request.scopes.iter().map(str::len).sum::<usize>()
            + request.scopes.iter().count()
            + request
                .resources
                .iter()
                .chain(&request.audiences)
                .map(|s| s.len() + 8)
                .sum::<usize>();
        128 + 3 * (credentials + listed)
    }
}

impl Codec for TokenCodec {
    type Request = TokenRequest;
    type Response = TokenResponse;

    fn encode(&self, request: &TokenRequest) -> Result<http::Request<Bytes>, Error> {
        let mut form =
            form_urlencoded::Serializer::new(String::with_capacity(self.form_len(request)));
        match request.grant {
            Grant::ClientCredentials => form.append_pair("grant_type", "client_credentials"),
        };
        if !request.scopes.is_empty() {
            form.append_pair("scope", &request.scopes.to_string());
        }
        for resource in &request.resources {
            form.append_pair("resource", resource);
        }
        for audience in &request.audiences {
            form.append_pair("audience", audience);
        }
        let mut builder = http::Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.as_uri().clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match &self.auth {
            ClientAuth::Basic { id, secret } => {
                builder = builder.header(AUTHORIZATION, basic_header(id, secret)?);
            }
            ClientAuth::Post { id, secret } => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
        }
        builder
            // The owner wipes the form, which may hold the secret, when the transport drops it.
            .body(Bytes::from_owner(Zeroizing::new(form.finish().into_bytes())))
            .map_err(|_| ErrorKind::Configuration("the token request cannot be written").into())
    }

    fn decode(
        &self,
        request: &TokenRequest,
        response: http::Response<Bytes>,
    ) -> Result<TokenResponse, Error> {
        if response.status() != StatusCode::OK {
            return Err(refusal(&response));
        }
        if !is_json(response.headers()) {
            return Err(ErrorKind::Malformed("content type is not JSON").into());
        }
        let object = Object::parse(response.body())?;
        if object.get("error").is_some() {
            return Err(ErrorKind::Malformed("success with an error in it").into());
        }
        check_token_type(&object)?;
        let access_token = object
            .text("access_token", "access_token is not text")?
            .ok_or(ErrorKind::Malformed("access_token is missing"))?;
        // Checks length and character set; the type that travels on cannot be built otherwise.
        Token::bearer(access_token)?;
        let scopes = object.text("scope", "scope is not text")?.map(Scopes::parse);
        // RFC 6749 §3.3: the server may grant less than was asked for and must say so. A token that
        // would be refused for its scope is told here, where the reason is still known.
        if scopes.as_ref().is_some_and(|granted| !granted.contains_all(&request.scopes)) {
            return Err(ErrorKind::NarrowScope.into());
        }
        Ok(TokenResponse {
            access_token: Secret::new(access_token),
            expires_in: expires_in(&object)?,
            scopes,
        })
    }
}

/// RFC 6749 §2.3.1: both parts are form-encoded *before* Base64, else a `:` in the id moves the border.
pub(super) fn basic_header(id: &str, secret: &Secret) -> Result<HeaderValue, Error> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair =
        Zeroizing::new(format!("{}:{}", encode(id), *Zeroizing::new(encode(secret.expose()))));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let text = Zeroizing::new(format!("Basic {}", *encoded).into_bytes());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text))
        .map_err(|_| ErrorKind::Configuration("client credentials cannot be written"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// A code is a verdict only in the answer that RFC 6749 §5.2 defines: 400, or 401 for the client
/// itself. Inside a 5xx it is the words of a server that is not well.
pub(super) fn refusal(response: &http::Response<Bytes>) -> Error {
    let is_verdict =
        matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
    let code = Object::parse(response.body())
        .ok()
        .and_then(|object| object.text("error", "").ok().flatten().map(OAuthCode::parse));
    match code {
        Some(code) if is_verdict => {
            Error::new(ErrorKind::OAuth(code)).with_retry_after(retry_after(response.headers()))
        }
        _ => status_error(response),
    }
}

/// RFC 6749 §7.1: a token of a type that is not understood must not be used.
fn check_token_type(object: &Object) -> Result<(), Error> {
    match object.text("token_type", "token_type is not text")? {
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => Ok(()),
        Some(_) => Err(ErrorKind::Malformed("token_type is not Bearer").into()),
        None => Err(ErrorKind::Malformed("token_type is missing").into()),
    }
}

/// A count of seconds; servers that send it as digits in a text or as a float are understood.
fn expires_in(object: &Object) -> Result<Option<Duration>, Error> {
    let refuse = || ErrorKind::Malformed("expires_in is not a count of seconds").into();
    let seconds = match object.get("expires_in") {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_f64().ok_or_else(refuse)?,
        Some(Value::String(text))
            if text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit()) =>
        {
            text.parse::<f64>().map_err(|_| refuse())?
        }
        Some(_) => return Err(refuse()),
    };
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(refuse());
    }
    // Clamped before the conversion, so that no arithmetic on time can overflow later.
    Ok(Some(Duration::from_secs(seconds.min(Token::MAX_LIFE.as_secs_f64()) as u64)))
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCredentials => f.write_str("client_credentials"),
        }
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
