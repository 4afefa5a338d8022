//! What an answer is worth: the checks that need no route, and those that each request makes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tower_oauth_core::codec::ActiveToken;
use tower_oauth_jose::{Confirmation, IntrospectedClaims, InvalidToken, StandardClaims};

use crate::{Caller, Principal};

/// Gives the application the claims of an active token that ends at this second.
pub(super) type ReadClaims<C> = fn(&ActiveToken, &str, i64) -> Result<C, InvalidToken>;

/// A token that its issuer called active, and that is acceptable but for its audience, which is the route's to
/// judge.
pub(super) struct Known<C> {
    principal: Arc<Principal>,
    /// Read once and not at each hit.
    claims: Result<Arc<C>, InvalidToken>,
    audiences: Vec<String>,
    /// `exp`, if there is one.
    expires_at: Option<i64>,
    asked_at: Instant,
}

/// The moment of a question: what is remembered of the answer counts from here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    /// In seconds since 1970.
    pub(super) wall: i64,
    /// What is forgotten of this token on purpose is not remembered by an answer to an earlier question.
    pub(super) epoch: u64,
}

/// The rules that hold for every route.
pub(super) struct Rules<C> {
    pub(super) issuer: String,
    pub(super) leeway: i64,
    pub(super) cache_ttl: Duration,
    pub(super) claims: ReadClaims<C>,
}

impl<C> Rules<C> {
    /// Judges an active token, and says until when that may be remembered.
    pub(super) fn judge(
        &self,
        token: &ActiveToken,
        asked: Asked,
    ) -> Result<(Known<C>, Instant), InvalidToken> {
        check_kind(token)?;
        let confirmation = confirmation(token)?;
        // RFC 7662 §2.2 leaves `iss` out at will: the answer itself comes from the issuer. Another's is refused.
        if token.issuer.as_ref().is_some_and(|issuer| *issuer != self.issuer) {
            return Err(InvalidToken::WrongIssuer);
        }
        let latest = asked.wall.saturating_add(self.leeway);
        if token.not_before.into_iter().chain(token.issued_at).any(|date| date > latest) {
            return Err(InvalidToken::NotYetValid);
        }
        if token.expires_at.is_some_and(|exp| asked.wall >= exp.saturating_add(self.leeway)) {
            return Err(InvalidToken::Expired);
        }
        let ttl = self.cache_ttl.min(token.expires_at.map_or(Duration::MAX, |exp| {
            Duration::from_secs(u64::try_from(exp.saturating_sub(asked.wall)).unwrap_or(0))
        }));
        let verdict_ends = asked.wall.saturating_add_unsigned(self.cache_ttl.as_secs().max(1));
        let ends_at = token.expires_at.unwrap_or(verdict_ends);
        let mut principal = principal(token, &self.issuer, ends_at);
        principal.confirmation = confirmation;
        if token.expires_at.is_some() {
            let leeway = u64::try_from(self.leeway).unwrap_or(0);
            principal.valid_until =
                principal.expires_at.saturating_add(Duration::from_secs(leeway));
        }
        let known = Known {
            principal: Arc::new(principal),
            claims: (self.claims)(token, &self.issuer, ends_at).map(Arc::new),
            audiences: token.audiences.clone(),
            expires_at: token.expires_at,
            asked_at: asked.at,
        };
        Ok((known, asked.at.checked_add(ttl).unwrap_or(asked.at)))
    }
}

impl<C> Known<C> {
    /// What every token says.
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// When its issuer was asked.
    pub(super) fn asked_at(&self) -> Instant {
        self.asked_at
    }

    /// Whether its `exp` has come, without any leeway: the issuer can be asked again.
    pub(super) fn has_expired(&self, wall: i64) -> bool {
        self.expires_at.is_some_and(|exp| wall >= exp)
    }

    /// A token without `exp` ends with its verdict, and now the verdict is good for longer.
    pub(super) fn prolong(&self, mut caller: Caller<C>, wall: i64, left: Duration) -> Caller<C> {
        if self.expires_at.is_none() {
            let now = Duration::from_secs(u64::try_from(wall).unwrap_or(0));
            let mut principal = (*caller.principal).clone();
            principal.expires_at = principal.expires_at.max(now.saturating_add(left));
            principal.valid_until = principal.expires_at;
            caller.principal = Arc::new(principal);
        }
        caller
    }

    /// Lets the token in where one of these audiences is expected.
    pub(super) fn admit(
        &self,
        audiences: &[String],
        may_lack_audience: bool,
    ) -> Result<Caller<C>, InvalidToken> {
        if self.audiences.is_empty() {
            if !may_lack_audience {
                return Err(InvalidToken::MissingClaim("aud"));
            }
        } else if !self.audiences.iter().any(|audience| audiences.contains(audience)) {
            return Err(InvalidToken::WrongAudience);
        }
        let claims = self.claims.clone()?;
        Ok(Caller { principal: Arc::clone(&self.principal), claims })
    }
}

/// Introspection knows refresh and ID tokens, too. They are no access tokens, however active (RFC 8725 §3.12).
fn check_kind(token: &ActiveToken) -> Result<(), InvalidToken> {
    let is = |text: &Option<String>, kinds: &[&str]| {
        text.as_deref().is_some_and(|text| kinds.iter().any(|kind| text.eq_ignore_ascii_case(kind)))
    };
    // `access_token` is not the type that RFC 6749 §7.1 means, but some servers send it.
    const ACCESS: &[&str] = &["Bearer", "DPoP", "access_token"];
    if token.token_type.is_some() && !is(&token.token_type, ACCESS) {
        return Err(InvalidToken::WrongType);
    }
    // Cognito's and Keycloak's words for the kinds of token.
    if is(&token.token_use, &["id", "refresh", "offline", "logout", "refresh_token", "id_token"]) {
        return Err(InvalidToken::WrongType);
    }
    Ok(())
}

/// What the token is bound to (RFC 9449 §6.2, RFC 8705 §3.2); whether its sender holds that is not judged here.
fn confirmation(token: &ActiveToken) -> Result<Option<Confirmation>, InvalidToken> {
    /// As it is written, or a member that stands twice would be read as one.
    #[derive(Deserialize)]
    struct Bound {
        cnf: Box<RawValue>,
    }
    let confirmation = if token.is_bound {
        let bound: Bound = token.claims().map_err(|_| InvalidToken::SenderConstrained)?;
        Some(Confirmation::parse(bound.cnf.get())?)
    } else {
        None
    };
    // A token of this type has a key (RFC 9449 §5); who does not say which one leaves nothing to prove.
    let is_dpop = token.token_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP"));
    if is_dpop && confirmation.as_ref().is_none_or(|cnf| cnf.jkt().is_none()) {
        return Err(InvalidToken::SenderConstrained);
    }
    Ok(confirmation)
}

fn principal(token: &ActiveToken, issuer: &str, ends_at: i64) -> Principal {
    let ends_at = Duration::from_secs(u64::try_from(ends_at).unwrap_or(0));
    let mut principal = Principal::new(issuer, ends_at);
    principal.subject = token.subject.clone();
    principal.client_id = token.client_id.clone();
    principal.issued_at =
        token.issued_at.and_then(|at| u64::try_from(at).ok()).map(Duration::from_secs);
    principal.token_id = token.token_id.clone();
    principal.session_id = token.session_id.clone();
    principal.scopes = token.scopes.clone();
    principal.acr = token.acr.clone();
    let auth_time = token.auth_time.and_then(|time| u64::try_from(time).ok());
    principal.auth_time = auth_time.map(Duration::from_secs);
    principal
}

/// What [`Introspection`](super::Introspection) gives if no claims type is named.
pub(super) fn standard(
    token: &ActiveToken,
    issuer: &str,
    ends_at: i64,
) -> Result<StandardClaims, InvalidToken> {
    let scope = token.scopes.to_string();
    let mut told = IntrospectedClaims::new(issuer, ends_at);
    told.subject = token.subject.as_deref();
    told.audiences = &token.audiences;
    told.client_id = token.client_id.as_deref();
    told.token_id = token.token_id.as_deref();
    told.session_id = token.session_id.as_deref();
    told.scope = &scope;
    told.not_before = token.not_before;
    told.issued_at = token.issued_at;
    told.acr = token.acr.as_deref();
    told.auth_time = token.auth_time;
    told.confirmation = confirmation(token)?;
    Ok(told.into())
}
