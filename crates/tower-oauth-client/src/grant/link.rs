use tower_oauth_core::codec::{Grant, TokenExchange, TokenTypeUri};
use tower_oauth_core::{Error, Secret};

use crate::auth::SecretSource;

/// One way to a token, below the refresh token.
#[derive(Clone)]
pub(crate) enum Link {
    JwtBearer(SecretSource),
    Exchange(Box<SubjectToken>),
    Password { username: String, password: SecretSource },
    ClientCredentials,
}

/// The token on whose behalf tokens are asked for (RFC 8693), and what else an exchange needs.
///
/// ```
/// use tower_oauth_client::{Secret, SubjectToken};
///
/// let inbound = Secret::new("the caller's access token");
/// let subject = SubjectToken::access_token(inbound);
/// # drop(subject);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SubjectToken {
    subject: (SecretSource, TokenTypeUri),
    actor: Option<(SecretSource, TokenTypeUri)>,
    requested: Option<TokenTypeUri>,
}

impl SubjectToken {
    /// An access token of this authorization server.
    pub fn access_token(token: impl Into<SecretSource>) -> Self {
        Self::of_type(token, TokenTypeUri::ACCESS_TOKEN)
    }

    /// An ID token.
    pub fn id_token(token: impl Into<SecretSource>) -> Self {
        Self::of_type(token, TokenTypeUri::ID_TOKEN)
    }

    /// A JWT, whoever issued it.
    pub fn jwt(token: impl Into<SecretSource>) -> Self {
        Self::of_type(token, TokenTypeUri::JWT)
    }

    /// A token of another type (RFC 8693 §3).
    pub fn of_type(token: impl Into<SecretSource>, kind: TokenTypeUri) -> Self {
        Self { subject: (token.into(), kind), actor: None, requested: None }
    }

    /// Who acts on the subject's behalf, where that is not the client itself.
    pub fn actor(mut self, token: impl Into<SecretSource>, kind: TokenTypeUri) -> Self {
        self.actor = Some((token.into(), kind));
        self
    }

    /// What type of token is wanted. An answer with another one is an error. If not set, it is left to the server,
    /// and an access token or a JWT is taken.
    pub fn requested_type(mut self, kind: TokenTypeUri) -> Self {
        self.requested = Some(kind);
        self
    }

    async fn grant(&self, now: i64) -> Result<Grant, Error> {
        let (subject, kind) = &self.subject;
        let mut exchange = TokenExchange::new(subject.secret(now).await?, kind.clone());
        if let Some((actor, kind)) = &self.actor {
            exchange.actor_token = Some((actor.secret(now).await?, kind.clone()));
        }
        exchange.requested_token_type.clone_from(&self.requested);
        Ok(Grant::TokenExchange(Box::new(exchange)))
    }
}

impl Link {
    /// Whether the token is a user's, who can be asked to sign in again.
    pub(super) const fn is_of_a_user(&self) -> bool {
        !matches!(self, Self::ClientCredentials)
    }

    /// The grant at `now`: an assertion is new each time.
    pub(super) async fn grant(&self, now: i64) -> Result<Grant, Error> {
        Ok(match self {
            Self::ClientCredentials => Grant::ClientCredentials,
            Self::JwtBearer(source) => Grant::JwtBearer { assertion: source.secret(now).await? },
            Self::Exchange(subject) => subject.grant(now).await?,
            Self::Password { username, password } => {
                let password: Secret = password.secret(now).await?;
                Grant::Password { username: username.clone(), password }
            }
        })
    }
}
