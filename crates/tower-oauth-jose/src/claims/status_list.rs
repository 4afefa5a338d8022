//! The claims round a status list (draft-ietf-oauth-status-list section 5.1).

use std::sync::Arc;
use std::time::SystemTime;

use super::{Claims, MAX_DATE, StandardClaims, seconds};
use crate::error::InvalidToken;
use crate::header::TokenType;
use crate::rules::Rules;
use crate::status_list::PackedStatusList;
use crate::text::ShortText;
use crate::token::Payload;

impl Rules {
    pub(crate) fn check_status_list(
        &self,
        token_type: TokenType,
        payload: &Payload,
        uri: &str,
        now: SystemTime,
    ) -> Result<StandardClaims, InvalidToken> {
        if token_type != TokenType::StatusList {
            return Err(InvalidToken::WrongType);
        }
        let claims = Claims(payload.object()?);
        // Earlier drafts required it; later ones know the issuer by its key alone.
        if claims.text("iss")?.is_some_and(|issuer| issuer != *self.issuer) {
            return Err(InvalidToken::WrongIssuer);
        }
        // Else one list could be served in the place of another.
        if claims.required("sub", Claims::text)? != uri {
            return Err(InvalidToken::InvalidClaim("sub"));
        }
        let issued_at = claims.required("iat", Claims::date)?;
        let expires_at = claims.date("exp")?;
        let now = seconds(now);
        if issued_at > now.saturating_add(self.leeway) {
            return Err(InvalidToken::NotYetValid);
        }
        if expires_at.is_some_and(|exp| now >= exp.saturating_add(self.leeway)) {
            return Err(InvalidToken::Expired);
        }
        PackedStatusList::parse(&claims.0)?;
        Ok(StandardClaims {
            issuer: Arc::clone(&self.issuer),
            subject: Some(uri.into()),
            audiences: Vec::new(),
            client_id: None,
            token_id: None,
            session_id: None,
            scope: ShortText::default(),
            expires_at: expires_at.unwrap_or(MAX_DATE),
            not_before: None,
            issued_at: Some(issued_at),
            acr: None,
            auth_time: None,
            confirmation: None,
        })
    }
}
