//! The proof in a handler's hands.

#[cfg(feature = "axum")]
mod axum;
mod expiry;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use tower_oauth_core::{Scopes, SystemClock};
use tower_oauth_jose::Confirmation;

use crate::require::{Admission, Judged, Proof};
use crate::{Principal, Rejection};

#[cfg(feature = "axum")]
pub use self::axum::NotAuthenticated;
pub use self::expiry::UntilExpiry;

/// A caller whose token was valid, with its claims as `C`.
///
/// Only a [`RequireTokenLayer`](crate::RequireTokenLayer) makes what this is read from, so a handler that takes it runs for
/// nobody else: on a route that was forgotten outside of the layer it is a 500, not an open door. `C` is the claims type of the
/// authenticator; with another one it is a 500 too.
///
/// With the `axum` feature it is an extractor, and `Option<Authenticated<C>>` is one for routes that
/// [also let in the anonymous](crate::RequireTokenLayer::allow_anonymous). In tonic, hyper and Tower it is read from the extensions of the
/// request:
///
/// ```
/// use tower_oauth_server::{Authenticated, Rejection};
///
/// struct Claims { tenant: String }
///
/// fn tenant<B>(request: &http::Request<B>) -> Result<String, Rejection> {
///     let caller = Authenticated::<Claims>::from_extensions(request.extensions())?;
///     Ok(caller.claims().tenant.clone())
/// }
///
/// // Nobody has checked this request.
/// let refused = tenant(&http::Request::new(())).unwrap_err();
/// assert_eq!(refused.status(), 500);
/// // In tonic: `.map_err(|refused| Status::new(Code::from(refused.grpc_code()), refused.to_string()))?`
/// assert_eq!(refused.grpc_code(), 13);
/// ```
pub struct Authenticated<C = tower_oauth_jose::StandardClaims> {
    principal: Arc<Principal>,
    claims: Arc<C>,
    judged: Option<Arc<Judged>>,
}

impl<C: Send + Sync + 'static> Authenticated<C> {
    /// The caller of the request that has these extensions.
    ///
    /// # Errors
    /// [`Rejection::Misconfigured`] if no `RequireTokenLayer` has checked the request, or if `C` is not the claims type of its
    /// authenticator. [`Rejection::Missing`] if the layer has let in the request without a token.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Rejection> {
        let Admission::Caller(proof) = Admission::of(extensions)? else {
            return Err(Rejection::Missing);
        };
        Self::of(proof)
    }

    pub(crate) fn of(proof: &Proof) -> Result<Self, Rejection> {
        let claims = proof.claims().ok_or(Rejection::Misconfigured(
            "the handler asks for claims of another type than the authenticator gives",
        ))?;
        let (principal, judged) = (Arc::clone(&proof.principal), proof.judged.clone());
        Ok(Self { principal, claims, judged })
    }
}

impl<C> Authenticated<C> {
    /// Whom the token stands for (`sub`), if it says.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.principal.subject.as_deref()
    }

    /// The client that the token was issued to, if it says.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.principal.client_id.as_deref()
    }

    /// What the token allows.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.principal.scopes
    }

    /// Who issued the token (`iss`). A subject is unique only within its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.principal.issuer
    }

    /// When the token ends, since 1970.
    #[must_use]
    pub fn expires_at(&self) -> Duration {
        self.principal.expires_at
    }

    /// When the token is no longer let in, since 1970: [`expires_at`](Self::expires_at), and the authenticator's leeway.
    #[must_use]
    pub fn valid_until(&self) -> Duration {
        self.principal.valid_until
    }

    /// What the token is bound to (`cnf`), if it is; the door has seen the proof of it.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.principal.confirmation.as_ref()
    }

    /// The token's own name (`jti`), if it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.principal.token_id.as_deref()
    }

    /// The session at the issuer that the token belongs to (`sid`), if it says.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.principal.session_id.as_deref()
    }

    /// When the token was issued, since 1970 (`iat`), if it says.
    #[must_use]
    pub fn issued_at(&self) -> Option<Duration> {
        self.principal.issued_at
    }

    /// How the subject has authenticated, as a context class (`acr`), if the token says.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.principal.acr.as_deref()
    }

    /// When the subject has authenticated, since 1970 (`auth_time`), if the token says.
    #[must_use]
    pub fn auth_time(&self) -> Option<Duration> {
        self.principal.auth_time
    }

    /// Waits until the token is no longer let in ([`Principal::valid_until`]): for what outlives an answer, such as a WebSocket, and
    /// for streams that a handler would rather end by itself. Behind
    /// [`recheck_streams_every`](crate::RequireTokenLayer::recheck_streams_every) it ends with the first look that finds the token dead, too.
    ///
    /// ```
    /// use tower_oauth_server::Authenticated;
    ///
    /// async fn serve<Socket>(caller: Authenticated, socket: Socket) {
    ///     tokio::select! {
    ///         () = caller.until_expiry() => { /* say goodbye, or ask for a new token and judge it */ }
    ///         () = talk(socket) => {}
    ///     }
    /// }
    ///
    /// async fn talk<Socket>(socket: Socket) {
    ///     # drop(socket)
    /// }
    /// ```
    pub fn until_expiry(&self) -> UntilExpiry {
        UntilExpiry::new(&self.principal, Arc::new(SystemClock), self.judged.clone())
    }

    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &C {
        &self.claims
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Authenticated<C> {
    fn clone(&self) -> Self {
        Self {
            principal: Arc::clone(&self.principal),
            claims: Arc::clone(&self.claims),
            judged: self.judged.clone(),
        }
    }
}

// Derived, it would show the claims.
impl<C> fmt::Debug for Authenticated<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("principal", &self.principal).finish_non_exhaustive()
    }
}
