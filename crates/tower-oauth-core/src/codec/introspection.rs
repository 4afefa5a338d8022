//! Token introspection: RFC 7662 §2.1, §2.2; RFC 9701 §4, §5.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_core::de::DeserializeOwned;
use serde_json::Value;

use super::form::Form;
use super::token::refusal;
use super::{ClientAuth, Codec, is_json};
use crate::json::Object;
use crate::{EndpointUri, Error, ErrorKind, Scopes, Secret};

/// The media type of a signed answer (RFC 9701 §4).
const SIGNED: &str = "application/token-introspection+jwt";
/// The most values in `aud`.
const MAX_AUDIENCES: usize = 64;
/// The end of the year 9999; a later date is a mistake.
const MAX_DATE: f64 = 253_402_300_799.0;

/// Asks what a token is worth. `Debug` shows neither the token nor a secret.
#[derive(Clone, Debug)]
pub struct IntrospectionRequest {
    /// Where to ask.
    pub endpoint: EndpointUri,
    /// The token, as it was presented.
    pub token: Secret,
}

/// What the authorization server says of the token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IntrospectionResponse {
    /// It is not valid: never issued, expired, revoked, or not for us. Nothing else is said of it (RFC 7662 §2.2).
    Inactive,
    /// It is valid at the moment of the answer.
    Active(Box<ActiveToken>),
    /// A signed answer (RFC 9701 §5): a JWT that somebody has to verify, whose member `token_introspection`
    /// [`parse`](Self::parse) reads.
    Signed(Secret),
}

/// A token that is active, and what it says (RFC 7662 §2.2). `Debug` shows none of the values.
///
/// Every member is optional but `active` itself: what must be there is the caller's to say.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveToken {
    /// `scope`.
    pub scopes: Scopes,
    /// `client_id`: the client that it was issued to.
    pub client_id: Option<String>,
    /// `username`: for people to read.
    pub username: Option<String>,
    /// `token_type`: `Bearer`, `DPoP` (RFC 6749 §7.1).
    pub token_type: Option<String>,
    /// `exp`, in whole seconds since 1970, rounded down.
    pub expires_at: Option<i64>,
    /// `iat`, likewise.
    pub issued_at: Option<i64>,
    /// `nbf`, likewise.
    pub not_before: Option<i64>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`; empty where the answer has none.
    pub audiences: Vec<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `jti`.
    pub token_id: Option<String>,
    /// `sid`: the session that it belongs to.
    pub session_id: Option<String>,
    /// `acr`: how the subject has authenticated (RFC 9470 §6.2). `None` too if it is no text: nobody may have asked for it.
    pub acr: Option<String>,
    /// `auth_time`: when the subject has authenticated, likewise; in whole seconds since 1970, rounded down.
    pub auth_time: Option<i64>,
    /// Whether there is a `cnf`: the token is bound to a key of its sender (RFC 9449 §6.2, RFC 8705 §3.2).
    pub is_bound: bool,
    /// `token_use` or else `typ`, by which some servers tell refresh and ID tokens from access tokens.
    pub token_use: Option<String>,
    json: Bytes,
}

/// Writes and reads introspection messages.
#[derive(Clone, Debug)]
pub struct IntrospectionCodec {
    auth: ClientAuth,
    signed: bool,
}

impl IntrospectionCodec {
    /// A codec for this client, which is us: the resource server (RFC 7662 §2.1 wants it authenticated).
    #[must_use]
    pub fn new(auth: ClientAuth) -> Self {
        Self { auth, signed: false }
    }

    /// Asks for signed answers (RFC 9701 §4) and takes no others: one without a signature is malformed.
    #[must_use]
    pub fn signed_answers(mut self) -> Self {
        self.signed = true;
        self
    }
}

impl Codec for IntrospectionCodec {
    type Request = IntrospectionRequest;
    type Response = IntrospectionResponse;

    fn encode(&self, request: &IntrospectionRequest) -> Result<http::Request<Bytes>, Error> {
        let mut form = Form::default();
        form.add("token", request.token.expose());
        form.add("token_type_hint", "access_token");
        let accept = if self.signed { SIGNED } else { "application/json" };
        form.post(&request.endpoint, accept, &self.auth)
    }

    fn decode(
        &self,
        _request: &IntrospectionRequest,
        response: http::Response<Bytes>,
    ) -> Result<IntrospectionResponse, Error> {
        // RFC 7662 §2.3: 401 is about us and not about the token, which would be 200 and `active: false`.
        if response.status() != StatusCode::OK {
            return Err(refusal(&response));
        }
        if self.signed {
            return signed_answer(&response);
        }
        if !is_json(response.headers()) {
            return Err(ErrorKind::Malformed("content type is not JSON").into());
        }
        IntrospectionResponse::parse(response.body().clone())
    }
}

impl IntrospectionResponse {
    /// Reads an answer, or the member `token_introspection` of a signed one.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]: no JSON object, a member twice, `active` missing or anything but a boolean
    /// (RFC 7662 §2.2), or a member of an active token that has the wrong type. It says nothing about the
    /// token then, neither good nor bad.
    pub fn parse(json: impl Into<Bytes>) -> Result<Self, Error> {
        let json = json.into();
        let object = Object::parse(&json)?;
        match object.get("active") {
            Some(Value::Bool(true)) => {
                Ok(Self::Active(Box::new(ActiveToken { json, ..active(&object)? })))
            }
            Some(Value::Bool(false)) => Ok(Self::Inactive),
            Some(_) => Err(ErrorKind::Malformed("active is not a boolean").into()),
            None => Err(ErrorKind::Malformed("active is missing").into()),
        }
    }
}

impl ActiveToken {
    /// All members of the answer, in the application's own type.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if they do not fit; what serde says is dropped, since it may quote a value.
    pub fn claims<C: DeserializeOwned>(&self) -> Result<C, Error> {
        serde_json::from_slice(&self.json)
            .map_err(|_| ErrorKind::Malformed("the claims do not fit").into())
    }
}

impl fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken").finish_non_exhaustive()
    }
}

fn active(object: &Object) -> Result<ActiveToken, Error> {
    let text = |name, what| object.text(name, what).map(|text| text.map(str::to_owned));
    let token_use = match text("token_use", "token_use is not text")? {
        None => text("typ", "typ is not text")?,
        token_use => token_use,
    };
    Ok(ActiveToken {
        scopes: Scopes::parse(object.text("scope", "scope is not text")?.unwrap_or_default()),
        client_id: text("client_id", "client_id is not text")?,
        username: text("username", "username is not text")?,
        token_type: text("token_type", "token_type is not text")?,
        expires_at: date(object, "exp", "exp is not a date")?,
        issued_at: date(object, "iat", "iat is not a date")?,
        not_before: date(object, "nbf", "nbf is not a date")?,
        subject: text("sub", "sub is not text")?,
        audiences: audiences(object)?,
        issuer: text("iss", "iss is not text")?,
        token_id: text("jti", "jti is not text")?,
        session_id: text("sid", "sid is not text")?,
        acr: object.get("acr").and_then(Value::as_str).map(str::to_owned),
        auth_time: date(object, "auth_time", "").unwrap_or_default(),
        is_bound: object.get("cnf").is_some(),
        token_use,
        json: Bytes::new(),
    })
}

fn date(object: &Object, name: &str, what: &'static str) -> Result<Option<i64>, Error> {
    let Some(value) = object.get(name) else { return Ok(None) };
    let date = value.as_f64().filter(|date| (0.0..=MAX_DATE).contains(date));
    date.map(|date| Some(date.floor() as i64)).ok_or_else(|| ErrorKind::Malformed(what).into())
}

/// One text, or an array of texts and nothing else (RFC 7519 §4.1.3).
fn audiences(object: &Object) -> Result<Vec<String>, Error> {
    let refuse = || Error::from(ErrorKind::Malformed("aud is neither text nor a list of texts"));
    match object.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(audience)) => Ok(vec![audience.clone()]),
        Some(Value::Array(list)) if list.len() <= MAX_AUDIENCES => list
            .iter()
            .map(|audience| audience.as_str().map(str::to_owned).ok_or_else(refuse))
            .collect(),
        Some(_) => Err(refuse()),
    }
}

fn signed_answer(response: &http::Response<Bytes>) -> Result<IntrospectionResponse, Error> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    // Without this, whoever can change the answer would take the signature away and be believed.
    if !essence.eq_ignore_ascii_case(SIGNED) {
        return Err(ErrorKind::Malformed("the answer is not a signed one").into());
    }
    let jwt = std::str::from_utf8(response.body())
        .map_err(|_| ErrorKind::Malformed("the signed answer is not text"))?;
    Ok(IntrospectionResponse::Signed(Secret::new(jwt.trim())))
}

#[cfg(test)]
#[path = "introspection_tests.rs"]
mod tests;
