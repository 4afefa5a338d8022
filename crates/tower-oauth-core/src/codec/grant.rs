//! What is exchanged for a token: RFC 6749 §4.3, §4.4, §6; RFC 7523 §2.1; RFC 8693 §2.1.

use std::borrow::Cow;
use std::fmt;

use super::form::Form;
use crate::Secret;

/// What is exchanged for a token. `Debug` shows the kind and nothing that was put in.
#[derive(Clone)]
#[non_exhaustive]
pub enum Grant {
    /// The client acts for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A refresh token (RFC 6749 §6).
    RefreshToken(Secret),
    /// The name and the password of a user (RFC 6749 §4.3). RFC 9700 §2.4 says that it must not be used
    /// where there is any other way: the client sees the password, and no second factor has a place.
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
    },
    /// An assertion in JWT form (RFC 7523 §2.1).
    JwtBearer {
        /// The signed JWT.
        assertion: Secret,
    },
    /// A token for another token (RFC 8693).
    TokenExchange(Box<TokenExchange>),
}

/// What a token exchange is made of (RFC 8693 §2.1). `audience`, `resource` and `scope` are those of
/// the [`TokenRequest`](super::TokenRequest). `Debug` shows the types and no token.
#[derive(Clone, Debug)]
pub struct TokenExchange {
    /// The token of the party on whose behalf the request is made.
    pub subject_token: Secret,
    /// What kind of token it is.
    pub subject_token_type: TokenTypeUri,
    /// The token of the party that acts, and its kind, where that is not the client itself.
    pub actor_token: Option<(Secret, TokenTypeUri)>,
    /// What kind of token is wanted; `None` leaves it to the server, and takes an access token or a JWT.
    pub requested_token_type: Option<TokenTypeUri>,
}

/// A kind of token in a token exchange, named by a URI (RFC 8693 §3).
///
/// ```
/// use tower_oauth_core::codec::TokenTypeUri;
/// assert_eq!(TokenTypeUri::JWT.as_str(), "urn:ietf:params:oauth:token-type:jwt");
/// assert_eq!(TokenTypeUri::new("urn:example:ticket").as_str(), "urn:example:ticket");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenTypeUri(Cow<'static, str>);

// === impl Grant ===

impl Grant {
    /// The value of `grant_type`.
    #[must_use]
    pub const fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken(_) => "refresh_token",
            Self::Password { .. } => "password",
            Self::JwtBearer { .. } => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::TokenExchange(_) => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    pub(super) fn write<'a>(&'a self, form: &mut Form<'a>) {
        form.add("grant_type", self.grant_type());
        match self {
            Self::ClientCredentials => {}
            Self::RefreshToken(token) => form.add("refresh_token", token.expose()),
            Self::Password { username, password } => {
                form.add("username", username.as_str());
                form.add("password", password.expose());
            }
            Self::JwtBearer { assertion } => form.add("assertion", assertion.expose()),
            Self::TokenExchange(exchange) => {
                form.add("subject_token", exchange.subject_token.expose());
                form.add("subject_token_type", exchange.subject_token_type.as_str());
                if let Some((token, kind)) = &exchange.actor_token {
                    form.add("actor_token", token.expose());
                    form.add("actor_token_type", kind.as_str());
                }
                if let Some(kind) = &exchange.requested_token_type {
                    form.add("requested_token_type", kind.as_str());
                }
            }
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.grant_type())
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the user's name, which is a person's.
        write!(f, "Grant({self})")
    }
}

// === impl TokenExchange ===

impl TokenExchange {
    /// An exchange of this token, on whose behalf the request is made.
    #[must_use]
    pub fn new(subject_token: Secret, subject_token_type: TokenTypeUri) -> Self {
        Self { subject_token, subject_token_type, actor_token: None, requested_token_type: None }
    }

    /// Whether the answer may be of this kind (RFC 8693 §2.2.1).
    pub(super) fn accepts(&self, issued: &TokenTypeUri) -> bool {
        match &self.requested_token_type {
            Some(requested) => issued == requested,
            None => *issued == TokenTypeUri::ACCESS_TOKEN || *issued == TokenTypeUri::JWT,
        }
    }
}

// === impl TokenTypeUri ===

impl TokenTypeUri {
    /// An OAuth 2.0 access token of this authorization server.
    pub const ACCESS_TOKEN: Self =
        Self(Cow::Borrowed("urn:ietf:params:oauth:token-type:access_token"));
    /// A refresh token of this authorization server.
    pub const REFRESH_TOKEN: Self =
        Self(Cow::Borrowed("urn:ietf:params:oauth:token-type:refresh_token"));
    /// An ID token (OpenID Connect).
    pub const ID_TOKEN: Self = Self(Cow::Borrowed("urn:ietf:params:oauth:token-type:id_token"));
    /// A JWT, whoever issued it.
    pub const JWT: Self = Self(Cow::Borrowed("urn:ietf:params:oauth:token-type:jwt"));

    /// Another kind, by its URI.
    #[must_use]
    pub fn new(uri: impl Into<Cow<'static, str>>) -> Self {
        Self(uri.into())
    }

    /// The URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenTypeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
