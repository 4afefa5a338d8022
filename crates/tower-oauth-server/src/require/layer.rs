use std::fmt;

use tower_layer::Layer;
use tower_oauth_core::BuildError;

use super::door::Door;
use super::service::RequireToken;
use crate::render::is_plain;
use crate::{Authenticate, Dpop, MutualTls};

/// Lets in only requests with a valid bearer token.
///
/// By default every request has to bring one, whatever its method and path. See the [crate's documentation](crate) for how it
/// refuses, and for where to put it.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_oauth_server::{
///     Authenticate, Authenticated, Caller, Presented, Principal, Rejection, RequireTokenLayer, Verdict,
/// };
///
/// // `Jwt` is an authenticator; this one knows a single token.
/// struct OneToken;
///
/// impl Authenticate for OneToken {
///     type Claims = ();
///
///     fn authenticate(&self, presented: Presented<'_>) -> Verdict<()> {
///         Verdict::Now(if presented.token == "let-me-in" {
///             let mut principal = Principal::new("https://idp.example", Duration::MAX);
///             principal.subject = Some("alice".into());
///             Ok(Caller::new(principal, ()))
///         } else {
///             Err(Rejection::Invalid(tower_oauth_jose::InvalidToken::Malformed))
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let door = ServiceBuilder::new()
///     .layer(RequireTokenLayer::new(OneToken).realm("shop")?)
///     .service(service_fn(|request: Request<()>| async move {
///         let caller = Authenticated::<()>::from_extensions(request.extensions()).unwrap();
///         let name = caller.subject().unwrap_or("nobody").to_owned();
///         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(name))))
///     }));
///
/// let request = Request::get("/").header("authorization", "Bearer let-me-in").body(())?;
/// assert_eq!(door.clone().oneshot(request).await?.status(), 200);
///
/// let refused = door.oneshot(Request::get("/").body(())?).await?;
/// assert_eq!(refused.status(), 401);
/// assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"shop\"");
/// assert_eq!(refused.extensions().get(), Some(&Rejection::Missing));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RequireTokenLayer {
    door: Door,
}

impl RequireTokenLayer {
    /// A door that asks this authenticator. Its type does not show in the layer's.
    ///
    /// To share one authenticator, and its caches, between doors give each an `Arc` of it, or a clone of one layer.
    pub fn new<A: Authenticate>(authenticator: A) -> Self {
        Self { door: Door::new(authenticator) }
    }

    /// Names the realm in every challenge (RFC 9110 §11.5); by default none is named.
    ///
    /// # Errors
    /// The text is empty, or has a character that is not printable ASCII, a quote or a backslash.
    pub fn realm(mut self, realm: impl AsRef<str>) -> Result<Self, BuildError> {
        let realm = realm.as_ref();
        if realm.is_empty() || !realm.chars().all(is_plain) {
            return Err(BuildError::new(
                "realm",
                realm,
                "has to be printable ASCII without quotes and backslashes",
            ));
        }
        self.door.realm = Some(realm.into());
        Ok(self)
    }

    /// Takes tokens that are bound to a key of the sender's, with the proof of it (RFC 9449); see [`Dpop`]. By default they are refused, and
    /// `DPoP` is a scheme like any other.
    #[must_use]
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.door.sender.dpop = Some(dpop);
        self
    }

    /// Takes tokens that are bound to the sender's TLS certificate (RFC 8705 §3); see [`MutualTls`]. By default they are refused.
    #[must_use]
    pub fn mutual_tls(mut self, mutual_tls: MutualTls) -> Self {
        self.door.sender.mutual_tls = Some(mutual_tls);
        self
    }

    /// Also lets in requests without credentials; by default they are refused.
    ///
    /// Credentials that are there have to be right: a malformed or invalid token is refused as ever, it never makes its
    /// sender anonymous. A handler takes `Option<Authenticated<C>>`; one that takes `Authenticated<C>`, and
    /// [`RequireScopeLayer`](crate::RequireScopeLayer), answer an anonymous request with 401.
    #[must_use]
    pub fn allow_anonymous(mut self) -> Self {
        self.door.allow_anonymous = true;
        self
    }

    /// Also lets in CORS preflights, which never have credentials; by default they are refused like everything.
    ///
    /// A preflight is an `OPTIONS` request with `Access-Control-Request-Method`, and anybody can send one: whatever answers
    /// `OPTIONS` behind the door (`axum::routing::any` does) is then open to the world. Better is to put the CORS layer outside of this
    /// one, where it answers preflights before they get here; this is for those who cannot.
    #[must_use]
    pub fn allow_cors_preflight(mut self) -> Self {
        self.door.allow_cors_preflight = true;
        self
    }
}

impl<S> Layer<S> for RequireTokenLayer {
    type Service = RequireToken<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireToken::with_door(inner, self.door.clone())
    }
}

impl fmt::Debug for RequireTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.door.debug(f.debug_struct("RequireTokenLayer"))
    }
}
