//! Standard claims that an introspection answer tells.

use super::StandardClaims;
use crate::confirmation::Confirmation;
use crate::text::ShortText;

/// What an issuer says of a token by introspection (RFC 7662 section 2.2), for those who make
/// [`StandardClaims`] of it: the claims of an opaque token then have the same type as a JWT's.
///
/// Nothing is checked here. Whoever fills it has asked the issuer and judged the answer.
///
/// ```
/// use tower_oauth_jose::{IntrospectedClaims, StandardClaims};
///
/// let mut told = IntrospectedClaims::new("https://idp.example.com", 1_800_000_000);
/// told.subject = Some("alice");
/// told.scope = "inventory.read";
/// let claims = StandardClaims::from(told);
/// assert_eq!(claims.subject(), Some("alice"));
/// assert!(claims.has_scope("inventory.read"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct IntrospectedClaims<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `exp`, in seconds since 1970; where the answer has none, the end of the verdict.
    pub expires_at: i64,
    /// `sub`.
    pub subject: Option<&'a str>,
    /// `aud`.
    pub audiences: &'a [String],
    /// `client_id`.
    pub client_id: Option<&'a str>,
    /// `jti`.
    pub token_id: Option<&'a str>,
    /// `sid`.
    pub session_id: Option<&'a str>,
    /// `scope`, separated by spaces.
    pub scope: &'a str,
    /// `nbf`, in seconds since 1970.
    pub not_before: Option<i64>,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// `acr`.
    pub acr: Option<&'a str>,
    /// `auth_time`, in seconds since 1970.
    pub auth_time: Option<i64>,
    /// `cnf`.
    pub confirmation: Option<Confirmation>,
}

impl<'a> IntrospectedClaims<'a> {
    /// A token of this issuer that ends then; all else is empty.
    #[must_use]
    pub const fn new(issuer: &'a str, expires_at: i64) -> Self {
        Self {
            issuer,
            expires_at,
            subject: None,
            audiences: &[],
            client_id: None,
            token_id: None,
            session_id: None,
            scope: "",
            not_before: None,
            issued_at: None,
            acr: None,
            auth_time: None,
            confirmation: None,
        }
    }
}

// Derived, it would show the claims.
impl std::fmt::Debug for IntrospectedClaims<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntrospectedClaims").finish_non_exhaustive()
    }
}

impl From<IntrospectedClaims<'_>> for StandardClaims {
    fn from(told: IntrospectedClaims<'_>) -> Self {
        // An empty name is no name, as in a JWT.
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(ShortText::from);
        Self {
            issuer: told.issuer.into(),
            subject: text(told.subject),
            audiences: told.audiences.iter().map(|audience| audience.as_str().into()).collect(),
            client_id: text(told.client_id),
            token_id: text(told.token_id),
            session_id: text(told.session_id),
            scope: told.scope.into(),
            expires_at: told.expires_at,
            not_before: told.not_before,
            issued_at: told.issued_at,
            acr: text(told.acr),
            auth_time: told.auth_time,
            confirmation: told.confirmation,
        }
    }
}
