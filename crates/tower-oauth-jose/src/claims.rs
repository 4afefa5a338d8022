mod introspected;
mod signed_answer;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::InvalidToken;
use crate::header::TokenType;
use crate::json::{Object, Value};
use crate::rules::{Profile, Rules};

pub use self::introspected::IntrospectedClaims;

/// The most values in `aud`.
const MAX_AUDIENCES: usize = 64;
/// The end of the year 9999; a later date is a mistake or an attack.
const MAX_DATE: i64 = 253_402_300_799;

/// The claims that every access token has or may have, checked (RFC 7519 section 4.1, RFC 9068
/// section 2.2).
///
/// Only a [`Verified`](crate::Verified) token gives them out. `Debug` shows none of the values.
#[derive(Clone, PartialEq, Eq)]
pub struct StandardClaims {
    issuer: Arc<str>,
    subject: Option<Box<str>>,
    audiences: Vec<Box<str>>,
    client_id: Option<Box<str>>,
    token_id: Option<Box<str>>,
    session_id: Option<Box<str>>,
    /// Separated by single spaces.
    scope: Box<str>,
    expires_at: i64,
    not_before: Option<i64>,
    issued_at: Option<i64>,
}

impl StandardClaims {
    /// `iss`: the issuer, byte for byte the one of the [`Rules`](crate::Rules).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`: never empty. RFC 9068 requires it.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// `aud`: every audience that the token names, ours among them.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.audiences.iter().map(AsRef::as_ref)
    }

    /// Whether the token names this audience, byte for byte.
    #[must_use]
    pub fn has_audience(&self, audience: &str) -> bool {
        self.audiences().any(|ours| ours == audience)
    }

    /// `client_id`, or under the lenient profile `azp`: never empty. RFC 9068 requires it.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `jti`: never empty. RFC 9068 requires it.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// `sid`: the session at the issuer that the token belongs to, never empty.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The scopes, in the token's order (RFC 6749 section 3.3).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Whether the token has exactly this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// `exp`, rounded down to seconds. The leeway is not in it.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        date(self.expires_at)
    }

    /// `nbf`, rounded down to seconds.
    #[must_use]
    pub fn not_before(&self) -> Option<SystemTime> {
        self.not_before.map(date)
    }

    /// `iat`, rounded down to seconds. RFC 9068 requires it.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.issued_at.map(date)
    }
}

impl fmt::Debug for StandardClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardClaims").finish_non_exhaustive()
    }
}

// === impl Rules ===

impl Rules {
    /// Checks the claims: for each of them presence, type and value in one step.
    pub(crate) fn check(
        &self,
        token_type: TokenType,
        payload: &[u8],
        now: SystemTime,
    ) -> Result<StandardClaims, InvalidToken> {
        let lenient = match (self.profile, token_type) {
            (Profile::Rfc9068, TokenType::AccessToken) => false,
            (Profile::Lenient, TokenType::Absent | TokenType::Jwt | TokenType::AccessToken) => true,
            _ => return Err(InvalidToken::WrongType),
        };
        let claims = Claims(Object::parse(payload)?);
        if claims.required("iss", Claims::text)? != *self.issuer {
            return Err(InvalidToken::WrongIssuer);
        }
        if lenient {
            claims.refuse_other_kinds()?;
        }
        let audiences = claims.audiences()?;
        if !audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(InvalidToken::WrongAudience);
        }
        let (expires_at, not_before, issued_at) = self.check_dates(&claims, lenient, now)?;
        // A bound token is worth nothing without the proof of its key, which a plain bearer request
        // does not bring (RFC 9449 section 7.2, RFC 8705 section 3).
        if claims.0.contains("cnf") {
            return Err(InvalidToken::SenderConstrained);
        }

        let optional = |name| claims.text(name).map(|text| text.map(Box::<str>::from));
        let demanded = |name| match optional(name)? {
            None if !lenient => Err(InvalidToken::MissingClaim(name)),
            text => Ok(text),
        };
        let client_id = match demanded("client_id")? {
            None => optional("azp")?,
            client_id => client_id,
        };
        Ok(StandardClaims {
            issuer: Arc::clone(&self.issuer),
            subject: demanded("sub")?,
            audiences,
            client_id,
            token_id: demanded("jti")?,
            session_id: optional("sid")?,
            scope: if lenient { claims.lenient_scope()? } else { claims.scope()? },
            expires_at,
            not_before,
            issued_at,
        })
    }

    /// One leeway for all three dates, to either side of it the same rule.
    fn check_dates(
        &self,
        claims: &Claims<'_>,
        lenient: bool,
        now: SystemTime,
    ) -> Result<(i64, Option<i64>, Option<i64>), InvalidToken> {
        let now = seconds(now);
        let expires_at = claims.required("exp", Claims::date)?;
        let not_before = claims.date("nbf")?;
        let issued_at = claims.date("iat")?;
        if issued_at.is_none() && !lenient {
            return Err(InvalidToken::MissingClaim("iat"));
        }
        // "On or after" the expiration time it must not be accepted (RFC 7519 section 4.1.4).
        if now >= expires_at.saturating_add(self.leeway) {
            return Err(InvalidToken::Expired);
        }
        let latest = now.saturating_add(self.leeway);
        if not_before.into_iter().chain(issued_at).any(|date| date > latest) {
            return Err(InvalidToken::NotYetValid);
        }
        let begin = issued_at.unwrap_or(latest);
        if expires_at.saturating_sub(begin) > self.max_lifetime {
            return Err(InvalidToken::LifetimeTooLong);
        }
        Ok((expires_at, not_before, issued_at))
    }
}

/// The claims set, read claim by claim.
struct Claims<'a>(Object<'a>);

impl<'a> Claims<'a> {
    fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<Option<T>, InvalidToken>,
    ) -> Result<T, InvalidToken> {
        read(self, name)?.ok_or(InvalidToken::MissingClaim(name))
    }

    /// A string that is not empty.
    fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, InvalidToken> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let text = value.string().filter(|text| !text.is_empty());
        text.map(Some).ok_or(InvalidToken::InvalidClaim(name))
    }

    /// A NumericDate from 1970 to 9999, fractions cut off (RFC 7519 section 2).
    fn date(&self, name: &'static str) -> Result<Option<i64>, InvalidToken> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let date = value.whole_number().filter(|date| (0..=MAX_DATE).contains(date));
        date.map(Some).ok_or(InvalidToken::InvalidClaim(name))
    }

    /// One string, or an array of at most 64 strings and nothing else (RFC 7519 section 4.1.3).
    fn audiences(&self) -> Result<Vec<Box<str>>, InvalidToken> {
        let value = self.0.get("aud").ok_or(InvalidToken::MissingClaim("aud"))?;
        if let Some(audience) = value.string() {
            return Ok(vec![audience.into()]);
        }
        let mut audiences = Vec::new();
        for element in value.elements().ok_or(InvalidToken::InvalidClaim("aud"))? {
            let audience = element.string().filter(|_| audiences.len() < MAX_AUDIENCES);
            audiences.push(audience.ok_or(InvalidToken::InvalidClaim("aud"))?.into());
        }
        Ok(audiences)
    }

    /// One string, which may be empty (RFC 8693 section 4.2).
    fn scope(&self) -> Result<Box<str>, InvalidToken> {
        let Some(value) = self.0.get("scope") else { return Ok(Box::default()) };
        let scope = value.string().ok_or(InvalidToken::InvalidClaim("scope"))?;
        Ok(scope.into())
    }

    /// `scope`, or else `scp`; a string as above, or an array of scopes.
    fn lenient_scope(&self) -> Result<Box<str>, InvalidToken> {
        let (name, value) = match (self.0.get("scope"), self.0.get("scp")) {
            (Some(value), _) => ("scope", value),
            (None, Some(value)) => ("scp", value),
            (None, None) => return Ok(Box::default()),
        };
        if let Some(scope) = value.string() {
            return Ok(scope.into());
        }
        let mut joined = String::new();
        for element in value.elements().ok_or(InvalidToken::InvalidClaim(name))? {
            // A space in an element would make two scopes out of one.
            let scope = element.string().filter(|scope| !scope.is_empty() && !scope.contains(' '));
            joined.push_str(&scope.ok_or(InvalidToken::InvalidClaim(name))?);
            joined.push(' ');
        }
        Ok(joined.into())
    }

    /// Without a telling `typ`, other kinds of token are known by claims that only they have
    /// (RFC 8725 section 3.12): events by RFC 8417, `nonce` and hashes of ID tokens, `htm` and
    /// `htu` of DPoP proofs, introspection answers by RFC 9701.
    fn refuse_other_kinds(&self) -> Result<(), InvalidToken> {
        for name in
            ["events", "nonce", "at_hash", "c_hash", "s_hash", "htm", "htu", "token_introspection"]
        {
            if self.0.contains(name) {
                return Err(InvalidToken::ForbiddenClaim(name));
            }
        }
        // Cognito says it here ...
        if let Some(usage) = self.0.get("token_use")
            && usage.string().as_deref() != Some("access")
        {
            return Err(InvalidToken::ForbiddenClaim("token_use"));
        }
        // ... and Keycloak here; its access tokens say `Bearer`.
        let kind = self.0.get("typ").and_then(Value::string).unwrap_or_default();
        if ["ID", "Refresh", "Offline", "Logout"].iter().any(|typ| kind.eq_ignore_ascii_case(typ)) {
            return Err(InvalidToken::ForbiddenClaim("typ"));
        }
        Ok(())
    }
}

/// A date of the range above, which every platform's clock can hold.
fn date(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(seconds.unsigned_abs());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Whole seconds, rounded down on either side of 1970.
fn seconds(time: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()) - i64::from(before.duration().subsec_nanos() > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_is_no_panic() {
        for (time, expected) in [
            (UNIX_EPOCH, 0),
            (UNIX_EPOCH + Duration::from_millis(1_999), 1),
            (UNIX_EPOCH - Duration::from_millis(1), -1),
            (UNIX_EPOCH - Duration::from_secs(2), -2),
        ] {
            assert_eq!(seconds(time), expected);
        }
    }
}
