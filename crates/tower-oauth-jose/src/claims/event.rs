//! The claims of JWTs that tell an event: security event tokens (RFC 8417), and among them logout tokens (OpenID Connect
//! Back-Channel Logout 1.0).

use std::sync::Arc;
use std::time::SystemTime;

use super::{Claims, MAX_DATE, StandardClaims, seconds};
use crate::error::InvalidToken;
use crate::header::TokenType;
use crate::json::{Object, Value};
use crate::rules::Rules;
use crate::text::ShortText;
use crate::token::Payload;

/// What a logout token tells (Back-Channel Logout 2.4).
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The most events of one token. One is usual.
const MAX_EVENTS: usize = 16;

impl Rules {
    /// Checks a logout token by Back-Channel Logout 2.4 and 2.6.
    pub(crate) fn check_logout(
        &self,
        token_type: TokenType,
        may_be_untyped: bool,
        payload: &Payload,
        now: SystemTime,
    ) -> Result<StandardClaims, InvalidToken> {
        match token_type {
            TokenType::Logout => {}
            TokenType::Absent | TokenType::Jwt if may_be_untyped => {}
            _ => return Err(InvalidToken::WrongType),
        }
        let claims = Claims(payload.object()?);
        let told = self.check_told(&claims, now)?;
        // With it, it could be taken for an ID token.
        if claims.0.contains("nonce") {
            return Err(InvalidToken::ForbiddenClaim("nonce"));
        }
        let expires_at = claims.required("exp", Claims::date)?;
        if seconds(now) >= expires_at.saturating_add(self.leeway) {
            return Err(InvalidToken::Expired);
        }
        // Its name has to be remembered for so long.
        let issued_at = told.issued_at.unwrap_or_default();
        if expires_at.saturating_sub(issued_at) > self.max_lifetime {
            return Err(InvalidToken::LifetimeTooLong);
        }
        let events = events(&claims)?;
        let [(LOGOUT, _)] = events.members().collect::<Vec<_>>()[..] else {
            return Err(InvalidToken::InvalidClaim("events"));
        };
        let (subject, session_id) = (claims.text("sub")?, claims.text("sid")?);
        if subject.is_none() && session_id.is_none() {
            return Err(InvalidToken::MissingClaim("sid"));
        }
        Ok(StandardClaims {
            subject: subject.map(Into::into),
            session_id: session_id.map(Into::into),
            expires_at,
            ..told
        })
    }

    /// Checks a security event token by RFC 8417 section 2.2 and SSF 1.0 section 4.1.
    pub(crate) fn check_security_event(
        &self,
        token_type: TokenType,
        payload: &Payload,
        now: SystemTime,
    ) -> Result<StandardClaims, InvalidToken> {
        if token_type != TokenType::SecurityEvent {
            return Err(InvalidToken::WrongType);
        }
        let claims = Claims(payload.object()?);
        let told = self.check_told(&claims, now)?;
        // They are what a reader who does not look at `typ` takes an access token by.
        if let Some(name) = ["exp", "sub"].into_iter().find(|name| claims.0.contains(name)) {
            return Err(InvalidToken::ForbiddenClaim(name));
        }
        events(&claims)?;
        let subject = claims.0.get("sub_id").ok_or(InvalidToken::MissingClaim("sub_id"))?;
        if is_object(subject) { Ok(told) } else { Err(InvalidToken::InvalidClaim("sub_id")) }
    }

    /// What both kinds have: who tells, whom, when, and under which name.
    fn check_told(
        &self,
        claims: &Claims<'_>,
        now: SystemTime,
    ) -> Result<StandardClaims, InvalidToken> {
        if claims.required("iss", Claims::text)? != *self.issuer {
            return Err(InvalidToken::WrongIssuer);
        }
        let audiences = claims.audiences()?;
        if !audiences.iter().any(|audience| self.is_audience(audience)) {
            return Err(InvalidToken::WrongAudience);
        }
        let issued_at = claims.required("iat", Claims::date)?;
        let not_before = claims.date("nbf")?;
        let latest = seconds(now).saturating_add(self.leeway);
        if issued_at > latest || not_before.is_some_and(|date| date > latest) {
            return Err(InvalidToken::NotYetValid);
        }
        Ok(StandardClaims {
            issuer: Arc::clone(&self.issuer),
            subject: None,
            audiences,
            client_id: None,
            token_id: Some(claims.required("jti", Claims::text)?.into()),
            session_id: None,
            scope: ShortText::default(),
            expires_at: MAX_DATE,
            not_before,
            issued_at: Some(issued_at),
            acr: None,
            auth_time: None,
            confirmation: None,
        })
    }
}

/// The events by their types: an object of objects (RFC 8417 section 2.2).
fn events<'a>(claims: &Claims<'a>) -> Result<Object<'a>, InvalidToken> {
    let events = claims.0.get("events").ok_or(InvalidToken::MissingClaim("events"))?;
    if !is_object(events) {
        return Err(InvalidToken::InvalidClaim("events"));
    }
    let events = Object::parse(events.text().as_bytes())?;
    let count = events.members().count();
    let are_objects = events.members().all(|(_, event)| is_object(event));
    if (1..=MAX_EVENTS).contains(&count) && are_objects {
        Ok(events)
    } else {
        Err(InvalidToken::InvalidClaim("events"))
    }
}

fn is_object(value: Value<'_>) -> bool {
    value.text().starts_with('{')
}
