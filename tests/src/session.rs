//! A resource that asks the issuer's session state: a token that the issuer has forgotten is dead.

use tower_oauth::jose::{InvalidToken, StandardClaims};
use tower_oauth::{Authenticate, Caller, Jwt, Presented, Rejection, Verdict};
use tower_oauth_test::ScriptedIssuer;

/// Checks the JWT, and then whether the scripted issuer still knows it.
pub struct Session {
    jwt: Jwt,
    issuer: ScriptedIssuer,
}

impl Session {
    /// Over this validator and this issuer.
    #[must_use]
    pub fn new(jwt: Jwt, issuer: ScriptedIssuer) -> Self {
        Self { jwt, issuer }
    }
}

impl Authenticate for Session {
    type Claims = StandardClaims;

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<StandardClaims> {
        let alive = self.issuer.is_active(presented.token);
        let check = move |caller: Caller<StandardClaims>| {
            if alive { Ok(caller) } else { Err(Rejection::Invalid(InvalidToken::Inactive)) }
        };
        match self.jwt.authenticate(presented) {
            Verdict::Now(known) => Verdict::Now(known.and_then(check)),
            Verdict::Later(asked) => {
                Verdict::Later(Box::pin(async move { asked.await.and_then(check) }))
            }
            _ => Verdict::Now(Err(Rejection::Misconfigured("a verdict of a kind not known here"))),
        }
    }
}
