mod event;
mod introspected;
mod signed_answer;
#[cfg(feature = "status-list")]
mod status_list;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::confirmation::Confirmation;
use crate::error::InvalidToken;
use crate::header::TokenType;
use crate::json::{Object, Value};
use crate::profile::Shape;
use crate::rules::Rules;
use crate::text::ShortText;
use crate::token::Payload;

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
    subject: Option<ShortText>,
    audiences: Vec<ShortText>,
    client_id: Option<ShortText>,
    token_id: Option<ShortText>,
    session_id: Option<ShortText>,
    /// Separated by single spaces.
    scope: ShortText,
    expires_at: i64,
    not_before: Option<i64>,
    issued_at: Option<i64>,
    acr: Option<ShortText>,
    auth_time: Option<i64>,
    confirmation: Option<Confirmation>,
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

    /// `aud`: every audience that the token names, ours among them. Only Cognito's tokens may name
    /// none.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.audiences.iter().map(AsRef::as_ref)
    }

    /// Whether the token names this audience, byte for byte.
    #[must_use]
    pub fn has_audience(&self, audience: &str) -> bool {
        self.audiences().any(|ours| ours == audience)
    }

    /// `client_id`, or what the [profile](crate::Profile) has for it (`azp`, `appid`, `cid`): never
    /// empty. RFC 9068 requires it.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `jti` (Entra ID's `uti`): never empty. RFC 9068 requires it.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// `sid`: the session at the issuer that the token belongs to, never empty.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The scopes as one text, in the token's order, separated by spaces; empty if there are none.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
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

    /// `acr`: how the subject has authenticated (RFC 9068 section 2.2.1). `None` too if it is no text: nobody may have asked for it.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// `auth_time`: when the subject has authenticated, rounded down to seconds. `None` too if it is no date.
    #[must_use]
    pub fn auth_time(&self) -> Option<SystemTime> {
        self.auth_time.map(date)
    }

    /// `cnf`: what the token is bound to. Whoever lets in a token that has one must have checked that the sender holds it.
    ///
    /// Only [`check_bound`](crate::Unverified::check_bound) lets such a token through.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_ref()
    }
}

impl fmt::Debug for StandardClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardClaims").finish_non_exhaustive()
    }
}

// === impl Rules ===

/// Who sees to it that the sender of a bound token holds the key that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Nobody: it has come as a plain bearer token.
    Unchecked,
    CheckedByCaller,
}

impl Rules {
    /// Checks the claims: for each of them presence, type and value in one step.
    pub(crate) fn check(
        &self,
        token_type: TokenType,
        payload: &Payload,
        now: SystemTime,
        sender: Sender,
    ) -> Result<StandardClaims, InvalidToken> {
        let shape = self.profile.shape();
        if !shape.types.contains(&token_type) {
            return Err(InvalidToken::WrongType);
        }
        let claims = Claims(payload.object()?);
        if claims.required("iss", Claims::text)? != *self.issuer {
            return Err(InvalidToken::WrongIssuer);
        }
        claims.check_kind(shape)?;
        let audiences = self.check_audience(&claims, shape)?;
        let (expires_at, not_before, issued_at) = self.check_dates(&claims, shape, now)?;
        // A bound token is worth nothing without the proof of its key, which a plain bearer request
        // does not bring (RFC 9449 section 7.2, RFC 8705 section 3).
        let confirmation = match (claims.0.get("cnf"), sender) {
            (None, _) => None,
            (Some(_), Sender::Unchecked) => return Err(InvalidToken::SenderConstrained),
            (Some(cnf), Sender::CheckedByCaller) => Some(Confirmation::parse(cnf.text())?),
        };
        let checked = StandardClaims {
            issuer: Arc::clone(&self.issuer),
            subject: claims.named("sub", shape)?,
            audiences,
            client_id: self.check_client(&claims, shape)?,
            token_id: claims.named(shape.token_id, shape)?,
            session_id: claims.named("sid", shape)?,
            scope: claims.scope(shape)?,
            expires_at,
            not_before,
            issued_at,
            acr: claims.text("acr").ok().flatten().map(Into::into),
            auth_time: claims.date("auth_time").ok().flatten(),
            confirmation,
        };
        let missing = self.required_claims.iter().find(|name| !claims.has(name));
        missing.map_or(Ok(checked), |name| Err(InvalidToken::MissingClaim(name)))
    }

    /// Whether this is who we are.
    fn is_audience(&self, audience: &str) -> bool {
        self.audiences().any(|ours| ours == audience)
    }

    fn check_audience(
        &self,
        claims: &Claims<'_>,
        shape: &Shape,
    ) -> Result<Vec<ShortText>, InvalidToken> {
        // Who is not named by an audience that is there must refuse (RFC 7519 section 4.1.3); only
        // where none is there, the client, which is always checked, stands in for it.
        if shape.audience_may_be_missing && !claims.0.contains("aud") {
            return Ok(Vec::new());
        }
        let audiences = claims.audiences()?;
        let ours = audiences.iter().any(|audience| self.is_audience(audience));
        if ours { Ok(audiences) } else { Err(InvalidToken::WrongAudience) }
    }

    fn check_client(
        &self,
        claims: &Claims<'_>,
        shape: &Shape,
    ) -> Result<Option<ShortText>, InvalidToken> {
        let mut client = None;
        for name in shape.client {
            if client.is_none() {
                client = claims.text(name)?;
            }
        }
        match client {
            None if shape.client_is_required || !self.clients.is_empty() => {
                let name = shape.client.first().copied().unwrap_or("client_id");
                Err(InvalidToken::MissingClaim(name))
            }
            Some(client) if !self.clients.is_empty() && !self.clients().any(|id| id == client) => {
                Err(InvalidToken::WrongClient)
            }
            client => Ok(client.map(Into::into)),
        }
    }

    /// One leeway for all three dates, to either side of it the same rule.
    fn check_dates(
        &self,
        claims: &Claims<'_>,
        shape: &Shape,
        now: SystemTime,
    ) -> Result<(i64, Option<i64>, Option<i64>), InvalidToken> {
        let now = seconds(now);
        let expires_at = claims.required("exp", Claims::date)?;
        let not_before = claims.date("nbf")?;
        let issued_at = claims.date("iat")?;
        if issued_at.is_none() && shape.required.contains(&"iat") {
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

/// `iss` of a claims set of which nothing else is known.
pub(crate) fn issuer(payload: &Payload) -> Result<Cow<'_, str>, InvalidToken> {
    Claims(payload.object_for_all()?).required("iss", Claims::text)
}

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

    /// As above; missing only if the profile allows that.
    fn named(&self, name: &'static str, shape: &Shape) -> Result<Option<ShortText>, InvalidToken> {
        match self.text(name)? {
            None if shape.required.contains(&name) => Err(InvalidToken::MissingClaim(name)),
            text => Ok(text.map(Into::into)),
        }
    }

    /// Whether the claim says anything.
    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// A NumericDate from 1970 to 9999, fractions cut off (RFC 7519 section 2).
    fn date(&self, name: &'static str) -> Result<Option<i64>, InvalidToken> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let date = value.whole_number().filter(|date| (0..=MAX_DATE).contains(date));
        date.map(Some).ok_or(InvalidToken::InvalidClaim(name))
    }

    /// One string, or an array of at most 64 strings and nothing else (RFC 7519 section 4.1.3).
    fn audiences(&self) -> Result<Vec<ShortText>, InvalidToken> {
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

    /// One string, which may be empty (RFC 8693 section 4.2), or an array of scopes.
    fn scope(&self, shape: &Shape) -> Result<ShortText, InvalidToken> {
        let found = shape.scope.iter().find_map(|name| Some((*name, self.0.get(name)?)));
        let Some((name, value)) = found else { return Ok(ShortText::default()) };
        if let Some(scope) = value.string() {
            return Ok(scope.into());
        }
        let elements = value.elements().filter(|_| shape.scope_may_be_a_list);
        let mut joined = String::new();
        for element in elements.ok_or(InvalidToken::InvalidClaim(name))? {
            // A space in an element would make two scopes out of one.
            let scope = element.string().filter(|scope| !scope.is_empty() && !scope.contains(' '));
            joined.push_str(&scope.ok_or(InvalidToken::InvalidClaim(name))?);
            joined.push(' ');
        }
        Ok(joined.into())
    }

    /// Without a telling `typ`, other kinds of token are known by claims that only they have, and
    /// access tokens by their issuer's own mark (RFC 8725 section 3.12).
    fn check_kind(&self, shape: &Shape) -> Result<(), InvalidToken> {
        if shape.foreign.is_empty() {
            return Ok(());
        }
        if let Some(name) = shape.foreign.iter().find(|name| self.0.contains(name)) {
            return Err(InvalidToken::ForbiddenClaim(name));
        }
        // Cognito says it here ...
        if let Some(usage) = self.0.get("token_use")
            && usage.string().as_deref() != Some("access")
        {
            return Err(InvalidToken::ForbiddenClaim("token_use"));
        }
        // ... and Keycloak here.
        let kind = self.0.get("typ").and_then(Value::string).unwrap_or_default();
        if ["ID", "Refresh", "Offline", "Logout"].iter().any(|typ| kind.eq_ignore_ascii_case(typ)) {
            return Err(InvalidToken::ForbiddenClaim("typ"));
        }
        for (name, values) in shape.marks {
            let mark = self.required(name, Self::text)?;
            if !values.is_empty() && !values.contains(&mark.as_ref()) {
                return Err(InvalidToken::ForbiddenClaim(name));
            }
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
