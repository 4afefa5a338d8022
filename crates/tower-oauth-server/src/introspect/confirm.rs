//! For sensitive routes: a JWT, and its issuer is asked whether it still holds.

use std::sync::Arc;

use tower_oauth_core::Secret;
use tower_oauth_jose::InvalidToken;

use crate::{Authenticate, Caller, Introspection, Jwt, Presented, Rejection, Verdict};

/// Takes a token that is valid by its signature *and* active at its issuer. Made by [`Jwt::confirm_with`].
///
/// The signature comes first, so that a forged or expired token costs no question. The caller is who the JWT says; the answer only confirms,
/// so its claims may have any type. If the answer binds the token to a key or a certificate (`cnf`) and the token does not say so, that holds too;
/// if the two contradict each other, the token is refused.
pub struct JwtThenIntrospect<J, I> {
    jwt: J,
    confirm: Arc<I>,
}

impl<J, I> JwtThenIntrospect<J, I> {
    /// A caller has to be let in by both; the first one says who it is.
    pub fn new(jwt: J, confirm: I) -> Self {
        Self { jwt, confirm: Arc::new(confirm) }
    }
}

impl<C> Jwt<C> {
    /// Also asks the issuer whether the token is still active: for the routes where a revoked token must not be good until its `exp`.
    ///
    /// The handle that this is called on goes on without asking, so that one `Jwt` serves both kinds of routes.
    ///
    /// ```
    /// use tower_oauth_server::{Introspection, Jwt, RequireTokenLayer};
    ///
    /// # fn build(http: tower_oauth_endpoint::HttpClient, secret: &str) -> Result<(), tower_oauth_core::BuildError> {
    /// # let jwt = Jwt::issuer("https://idp.example.com").audience("inventory").http_client(http.clone()).build()?;
    /// # let introspection = Introspection::issuer("https://idp.example.com")
    /// #     .client_credentials("inventory-api", secret).audience("inventory").http_client(http).build()?;
    /// let payments = RequireTokenLayer::new(jwt.confirm_with(introspection));
    /// let catalogue = RequireTokenLayer::new(jwt);
    /// # drop((payments, catalogue)); Ok(()) }
    /// ```
    #[must_use]
    pub fn confirm_with<D>(
        &self,
        introspection: Introspection<D>,
    ) -> JwtThenIntrospect<Self, Introspection<D>> {
        JwtThenIntrospect::new(self.clone(), introspection)
    }
}

impl<J: Authenticate, I: Authenticate> Authenticate for JwtThenIntrospect<J, I> {
    type Claims = J::Claims;

    fn max_token_bytes(&self) -> usize {
        self.jwt.max_token_bytes()
    }

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<J::Claims> {
        match self.jwt.authenticate(presented) {
            Verdict::Now(Err(rejection)) => Verdict::Now(Err(rejection)),
            Verdict::Now(Ok(caller)) => confirmed(&*self.confirm, presented, caller),
            Verdict::Later(judging) => {
                // The request goes on without us while the keys are fetched; what the second step
                // looks at has to stay.
                let token = Secret::new(presented.token);
                let head = presented.head.clone();
                let (scheme, sender_is_checked) = (presented.scheme, presented.sender_is_checked);
                let confirm = Arc::clone(&self.confirm);
                Verdict::Later(Box::pin(async move {
                    let caller = judging.await?;
                    let token = token.expose();
                    let presented = Presented { token, head: &head, scheme, sender_is_checked };
                    settle(&*confirm, presented, caller).await
                }))
            }
        }
    }
}

fn confirmed<I: Authenticate, C: Send + Sync + 'static>(
    confirm: &I,
    presented: Presented<'_>,
    caller: Caller<C>,
) -> Verdict<C> {
    match confirm.authenticate(presented) {
        Verdict::Now(verdict) => Verdict::Now(verdict.and_then(|told| both(caller, &told))),
        Verdict::Later(asking) => {
            Verdict::Later(Box::pin(async move { both(caller, &asking.await?) }))
        }
    }
}

/// The caller is who the token says; what either says it is bound to has to be shown.
fn both<C, D>(mut caller: Caller<C>, told: &Caller<D>) -> Result<Caller<C>, Rejection> {
    let Some(told) = &told.principal.confirmation else { return Ok(caller) };
    let Some(own) = &caller.principal.confirmation else {
        let mut principal = (*caller.principal).clone();
        principal.confirmation = Some(told.clone());
        caller.principal = Arc::new(principal);
        return Ok(caller);
    };
    let keys_agree = told.jkt().is_none_or(|jkt| own.jkt() == Some(jkt));
    let certificates_agree =
        told.certificate().is_none_or(|digest| own.certificate() == Some(digest));
    if keys_agree && certificates_agree {
        Ok(caller)
    } else {
        Err(Rejection::Invalid(InvalidToken::SenderConstrained))
    }
}

async fn settle<I: Authenticate, C: Send + Sync + 'static>(
    confirm: &I,
    presented: Presented<'_>,
    caller: Caller<C>,
) -> Result<Caller<C>, Rejection> {
    match confirmed(confirm, presented, caller) {
        Verdict::Now(verdict) => verdict,
        Verdict::Later(asking) => asking.await,
    }
}

// Derived, it would ask for `I: Clone`.
impl<J: Clone, I> Clone for JwtThenIntrospect<J, I> {
    fn clone(&self) -> Self {
        Self { jwt: self.jwt.clone(), confirm: Arc::clone(&self.confirm) }
    }
}

impl<J: std::fmt::Debug, I: std::fmt::Debug> std::fmt::Debug for JwtThenIntrospect<J, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtThenIntrospect")
            .field("jwt", &self.jwt)
            .field("confirm", &self.confirm)
            .finish()
    }
}
