//! The token endpoint: RFC 6749 §3.2, §5; RFC 8693 §2.2; RFC 8707.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::form::Form;
use super::{ClientAuth, Codec, Grant, TokenTypeUri, is_json, retry_after, status_error};
use crate::json::Object;
use crate::{EndpointUri, Error, ErrorKind, OAuthCode, Scopes, Secret, Token, TokenId};

/// A request for a token. `Debug` shows no secret.
#[derive(Clone, Debug)]
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

/// The answer of a token endpoint, checked. `Debug` shows no token.
///
/// Made by [`TokenCodec`], or by [`bearer`](Self::bearer) where a service of your own gives tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The access token: 1 to 8192 visible ASCII characters.
    pub access_token: Secret,
    /// How it is presented.
    pub token_type: TokenType,
    /// Its life; `None` where the server did not say.
    pub expires_in: Option<Duration>,
    /// The scope granted; `None` means as asked (RFC 6749 §5.1).
    pub scopes: Option<Scopes>,
    /// What the next token is to be asked for with; `None` where the server gave none, which after a refresh
    /// means that the one that was used stays good (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// What kind of token was issued, after a token exchange (RFC 8693 §2.2.1).
    pub issued_token_type: Option<TokenTypeUri>,
}

/// How an access token is presented (RFC 6749 §7.1): the scheme of the `Authorization` header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenType {
    /// Whoever has it may use it (RFC 6750).
    #[default]
    Bearer,
    /// Bound to a key, and sent with a proof of it (RFC 9449 §7.1).
    Dpop,
}

impl TokenType {
    /// The name on the wire: `Bearer` or `DPoP`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

impl TokenResponse {
    /// A bearer token with this life. The other members are as if the server had not said more.
    #[must_use]
    pub fn bearer(access_token: impl Into<Secret>, expires_in: Option<Duration>) -> Self {
        Self {
            access_token: access_token.into(),
            token_type: TokenType::Bearer,
            expires_in,
            scopes: None,
            refresh_token: None,
            issued_token_type: None,
        }
    }

    /// With the scope that was granted.
    #[must_use]
    pub fn with_scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// With a refresh token.
    #[must_use]
    pub fn with_refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }
}

/// An answer in two halves: a refresh token that came must be kept even where the access token beside it
/// cannot be used, since the one that was sent is spent. `Debug` shows no token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenAnswer {
    /// The refresh token, if the server gave one.
    pub refresh_token: Option<Secret>,
    /// The answer as [`TokenCodec`] would give it.
    pub outcome: Result<TokenResponse, Error>,
}

/// Writes and reads the messages of one token endpoint.
#[derive(Clone, Debug)]
pub struct TokenCodec {
    endpoint: EndpointUri,
    auth: ClientAuth,
    token_type: TokenType,
}

impl TokenCodec {
    /// A codec for this endpoint and this client, which wants bearer tokens.
    #[must_use]
    pub fn new(endpoint: EndpointUri, auth: ClientAuth) -> Self {
        Self { endpoint, auth, token_type: TokenType::Bearer }
    }

    /// Wants tokens of this type; an answer with another one is malformed (RFC 6749 §7.1, RFC 9449 §5).
    #[must_use]
    pub fn with_token_type(mut self, token_type: TokenType) -> Self {
        self.token_type = token_type;
        self
    }

    /// The same messages, with answers that keep a refresh token apart.
    #[must_use]
    pub fn rotating(self) -> RotatingTokenCodec {
        RotatingTokenCodec(self)
    }

    fn success(&self, request: &TokenRequest, object: &Object) -> Result<TokenResponse, Error> {
        if object.get("error").is_some() {
            return Err(ErrorKind::Malformed("success with an error in it").into());
        }
        check_token_type(object, self.token_type)?;
        let issued_token_type = issued_token_type(&request.grant, object)?;
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
            token_type: self.token_type,
            expires_in: expires_in(object)?,
            scopes,
            refresh_token: refresh_token(object),
            issued_token_type,
        })
    }
}

/// [`TokenCodec`] with [`TokenAnswer`]s; made by [`TokenCodec::rotating`].
#[derive(Clone, Debug)]
pub struct RotatingTokenCodec(TokenCodec);

impl Codec for RotatingTokenCodec {
    type Request = TokenRequest;
    type Response = TokenAnswer;

    fn encode(&self, request: &TokenRequest) -> Result<http::Request<Bytes>, Error> {
        self.0.encode(request)
    }

    fn decode(
        &self,
        request: &TokenRequest,
        response: http::Response<Bytes>,
    ) -> Result<TokenAnswer, Error> {
        // Looked for before anything else is judged, whatever the answer calls itself.
        let refresh_token = (response.status() == StatusCode::OK)
            .then(|| Object::parse(response.body()).ok())
            .flatten()
            .and_then(|object| refresh_token(&object));
        match (refresh_token, self.0.decode(request, response)) {
            (None, Err(error)) => Err(error),
            (refresh_token, outcome) => Ok(TokenAnswer { refresh_token, outcome }),
        }
    }
}

impl Codec for TokenCodec {
    type Request = TokenRequest;
    type Response = TokenResponse;

    fn encode(&self, request: &TokenRequest) -> Result<http::Request<Bytes>, Error> {
        let mut form = Form::default();
        request.grant.write(&mut form);
        if !request.scopes.is_empty() {
            form.add("scope", request.scopes.to_string());
        }
        for resource in &request.resources {
            form.add("resource", resource.as_str());
        }
        for audience in &request.audiences {
            form.add("audience", audience.as_str());
        }
        form.post(&self.endpoint, "application/json", &self.auth)
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
        self.success(request, &Object::parse(response.body())?)
    }
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
fn check_token_type(object: &Object, wanted: TokenType) -> Result<(), Error> {
    match object.text("token_type", "token_type is not text")? {
        Some(kind) if kind.eq_ignore_ascii_case(wanted.as_str()) => Ok(()),
        Some(_) => Err(ErrorKind::Malformed("token_type is not the one asked for").into()),
        None => Err(ErrorKind::Malformed("token_type is missing").into()),
    }
}

/// RFC 8693 §2.2.1: an exchange names what it has issued; another kind than was asked for is not used.
fn issued_token_type(grant: &Grant, object: &Object) -> Result<Option<TokenTypeUri>, Error> {
    let issued = object
        .text("issued_token_type", "issued_token_type is not text")?
        .map(|uri| TokenTypeUri::new(uri.to_owned()));
    match (grant, &issued) {
        (Grant::TokenExchange(exchange), Some(kind)) if !exchange.accepts(kind) => {
            Err(ErrorKind::WrongTokenType.into())
        }
        (Grant::TokenExchange(_), None) => {
            Err(ErrorKind::Malformed("issued_token_type is missing").into())
        }
        _ => Ok(issued),
    }
}

/// Taken as it is: it is never looked into, and to lose it for its form would end the session.
fn refresh_token(object: &Object) -> Option<Secret> {
    let text = object.text("refresh_token", "").ok().flatten()?;
    (!text.is_empty()).then(|| Secret::new(text))
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

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
