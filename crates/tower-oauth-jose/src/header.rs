//! The JOSE header of a token (RFC 7515 section 4), read strictly.

use std::borrow::Cow;

use crate::algorithm::Algorithm;
use crate::error::InvalidToken;
use crate::json::{JsonError, Object, Value};
use crate::text::ShortText;
use crate::{MAX_HEADER_BYTES, MAX_KID_BYTES, base64url};

/// Parameters that change what the token means (RFC 7515 section 4.1.11, RFC 7797, RFC 7516), or
/// that bring a key along. Certificates and URLs of keys are ignored: many issuers send them, and
/// they are never used or fetched (case J06).
const FORBIDDEN: [&str; 6] = ["crit", "b64", "zip", "enc", "cty", "jwk"];

#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<ShortText>,
    pub(crate) token_type: TokenType,
}

/// What `typ` says. Media types are compared without regard to case, and `application/` may be
/// left out (RFC 7515 section 4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    Absent,
    Jwt,
    /// `at+jwt` (RFC 9068 section 2.1).
    AccessToken,
    /// `token-introspection+jwt` (RFC 9701 section 5).
    Introspection,
    /// `statuslist+jwt` (draft-ietf-oauth-status-list section 5.1).
    StatusList,
    /// `logout+jwt` (OpenID Connect Back-Channel Logout 1.0 section 2.4).
    Logout,
    /// `secevent+jwt` (RFC 8417 section 2.3).
    SecurityEvent,
    Other,
}

impl Header {
    /// Reads the encoded header part; `room` is empty, and for whatever use comes after.
    pub(crate) fn parse(encoded: &[u8], room: &mut Vec<u8>) -> Result<Self, InvalidToken> {
        if encoded.len() > MAX_HEADER_BYTES {
            return Err(InvalidToken::TooLarge);
        }
        if !base64url::decode_onto(encoded, room) {
            return Err(InvalidToken::Malformed);
        }
        let header = Object::parse(room)?;

        for name in FORBIDDEN {
            if header.contains(name) {
                return Err(InvalidToken::ForbiddenHeader(name));
            }
        }
        let algorithm = header.get("alg").and_then(Value::string);
        let algorithm = algorithm.and_then(|name| Algorithm::from_name(&name));
        Ok(Self {
            algorithm: algorithm.ok_or(InvalidToken::AlgorithmNotAllowed)?,
            kid: kid(&header)?,
            token_type: token_type(&header)?,
        })
    }
}

impl From<JsonError> for InvalidToken {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed => Self::Malformed,
            JsonError::Duplicate => Self::DuplicateMember,
            JsonError::TooLarge => Self::TooLarge,
        }
    }
}

fn kid(header: &Object<'_>) -> Result<Option<ShortText>, InvalidToken> {
    let Some(kid) = header.get("kid") else { return Ok(None) };
    let kid = kid.string().filter(|kid| !kid.is_empty());
    let kid = kid.ok_or(InvalidToken::InvalidHeader("kid"))?;
    if kid.len() > MAX_KID_BYTES {
        return Err(InvalidToken::TooLarge);
    }
    Ok(Some(kid.into()))
}

fn token_type(header: &Object<'_>) -> Result<TokenType, InvalidToken> {
    let Some(typ) = header.get("typ") else { return Ok(TokenType::Absent) };
    let typ: Cow<'_, str> = typ.string().ok_or(InvalidToken::InvalidHeader("typ"))?;
    let name = match typ.split_at_checked("application/".len()) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case("application/") => name,
        _ => typ.as_ref(),
    };
    Ok(if name.eq_ignore_ascii_case("at+jwt") {
        TokenType::AccessToken
    } else if name.eq_ignore_ascii_case("JWT") {
        TokenType::Jwt
    } else if name.eq_ignore_ascii_case("token-introspection+jwt") {
        TokenType::Introspection
    } else if name.eq_ignore_ascii_case("statuslist+jwt") {
        TokenType::StatusList
    } else if name.eq_ignore_ascii_case("logout+jwt") {
        TokenType::Logout
    } else if name.eq_ignore_ascii_case("secevent+jwt") {
        TokenType::SecurityEvent
    } else {
        TokenType::Other
    })
}
