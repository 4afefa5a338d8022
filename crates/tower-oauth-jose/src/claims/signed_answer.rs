//! The claims round an introspection answer that is a JWT (RFC 9701 section 5).

use std::sync::Arc;
use std::time::SystemTime;

use super::{Claims, StandardClaims, seconds};
use crate::error::InvalidToken;
use crate::header::TokenType;
use crate::rules::Rules;
use crate::text::ShortText;
use crate::token::Payload;

/// How old a signed answer may be, in seconds, beside the leeway: it was made for us a moment ago.
const MAX_AGE: i64 = 60;

impl Rules {
    /// Checks `typ`, `iss`, `aud` (us) and `iat`, which RFC 9701 section 5 requires.
    pub(crate) fn check_introspection(
        &self,
        token_type: TokenType,
        payload: &Payload,
        now: SystemTime,
    ) -> Result<StandardClaims, InvalidToken> {
        if token_type != TokenType::Introspection {
            return Err(InvalidToken::WrongType);
        }
        let claims = Claims(payload.object()?);
        if claims.required("iss", Claims::text)? != *self.issuer {
            return Err(InvalidToken::WrongIssuer);
        }
        let audiences = claims.audiences()?;
        if !audiences.iter().any(|audience| self.is_audience(audience)) {
            return Err(InvalidToken::WrongAudience);
        }
        let issued_at = claims.required("iat", Claims::date)?;
        let now = seconds(now);
        if issued_at > now.saturating_add(self.leeway) {
            return Err(InvalidToken::NotYetValid);
        }
        // An answer from earlier, played again, may call a token active that is revoked by now.
        let end = issued_at.saturating_add(MAX_AGE);
        if now >= end.saturating_add(self.leeway) {
            return Err(InvalidToken::Expired);
        }
        let answer = claims.0.get("token_introspection");
        let answer = answer.ok_or(InvalidToken::MissingClaim("token_introspection"))?;
        if !answer.text().starts_with('{') {
            return Err(InvalidToken::InvalidClaim("token_introspection"));
        }
        Ok(StandardClaims {
            issuer: Arc::clone(&self.issuer),
            subject: None,
            audiences,
            client_id: None,
            token_id: None,
            session_id: None,
            scope: ShortText::default(),
            expires_at: end,
            not_before: None,
            issued_at: Some(issued_at),
            acr: None,
            auth_time: None,
            confirmation: None,
        })
    }
}
