use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;
use tower_oauth_core::{BuildError, Clock};

use super::door::Door;
use super::service::RequireToken;
use crate::render::{Renderer, Style, is_plain};
use crate::{Authenticate, Dpop, MutualTls, RenderRejection, ResourceMetadata};

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
        self.style().realm = Some(realm.into());
        Ok(self)
    }

    /// Names the address of this resource's metadata in every challenge (RFC 9728 §5.1), so that a client that has no
    /// token finds out where to get one; by default none is named.
    ///
    /// ```
    /// use tower_oauth_server::{RequireTokenLayer, ResourceMetadata};
    ///
    /// # fn build<A: tower_oauth_server::Authenticate>(jwt: A) -> Result<(), tower_oauth_core::BuildError> {
    /// let metadata = ResourceMetadata::builder("https://api.example.com/inventory")
    ///     .authorization_server("https://idp.example.com/realms/shop")
    ///     .build()?;
    /// let door = RequireTokenLayer::new(jwt).resource_metadata(&metadata);
    /// # drop(door); Ok(()) }
    /// ```
    #[must_use]
    pub fn resource_metadata(mut self, metadata: &ResourceMetadata) -> Self {
        self.style().resource_metadata = Some(metadata.uri().into());
        self
    }

    /// Writes the bodies of refusals in the application's own way; see [`RenderRejection`], which a closure is too.
    ///
    /// Over gRPC there is no body, and nothing changes. The layers further in and the extractor follow this door.
    #[must_use]
    pub fn render_with(mut self, render: impl RenderRejection) -> Self {
        self.style().renderer = Some(Renderer(Arc::new(render)));
        self
    }

    /// Takes these headers away from every request that is let in, whoever sent it; by default none is.
    ///
    /// For names that a service further in believes: `X-User`, `X-Forwarded-Client-Cert`, those by which this very program
    /// hands on who called. A client that sends them itself must not become somebody else (RFC 9700 §4.13). `_` counts as
    /// `-`, since what stands behind CGI and its like cannot tell them apart. Called again it adds to the list.
    ///
    /// # Errors
    /// A text is no header name.
    pub fn strip_headers<T: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, BuildError> {
        self.door.strip.add(names)?;
        Ok(self)
    }

    /// Ends the body of an answer when the token of its request does; by default it is let run, since it was asked for
    /// with a valid token.
    ///
    /// For streams that outlive a token: server-sent events, downloads, gRPC streams. The end is
    /// [`Principal::valid_until`](crate::Principal::valid_until), so that the leeway of the authenticator holds here too. A
    /// gRPC stream ends with `grpc-status` 16 in its trailers; every other body ends with an error
    /// ([`Rejection::Invalid`](crate::Rejection::Invalid)), by which the server breaks off the message, so that nobody takes a part
    /// for the whole. gRPC-Web has its trailers in the body and is broken off too: with tonic's `GrpcWebLayer` *outside* of this layer it
    /// gets the status. A body that says it is at most 64 KiB long is no stream and is never cut.
    ///
    /// A WebSocket is no body: its handler has to look at
    /// [`Authenticated::until_expiry`](crate::Authenticated::until_expiry). So has a request's body that is still coming in.
    /// Needs a Tokio runtime with its timer.
    #[must_use]
    pub fn cut_streams_at_expiry(mut self) -> Self {
        self.door.cut_streams = true;
        self
    }

    /// Judges the token of a stream that is going on again, every so often (at least a second), and ends the stream as
    /// [`cut_streams_at_expiry`](Self::cut_streams_at_expiry) does, which this includes, when the verdict is bad: the token was revoked, its
    /// key withdrawn, its session ended.
    ///
    /// The look is the authenticator's own: a [`Jwt`](crate::Jwt) sees [`Revocations`](crate::Revocations), status lists and withdrawn keys,
    /// [`Introspection`](crate::Introspection) asks when its answer has grown old. Whether the sender holds the key of a bound token was
    /// shown at the beginning and is not asked again. Trouble on our side (503) ends no stream; the next look comes.
    /// [`Authenticated::until_expiry`](crate::Authenticated::until_expiry) looks, too, for what is no body.
    #[must_use]
    pub fn recheck_streams_every(mut self, every: Duration) -> Self {
        self.door.cut_streams = true;
        self.door.recheck_every = Some(every.max(Duration::from_secs(1)));
        self
    }

    /// The clock that [`cut_streams_at_expiry`](Self::cut_streams_at_expiry) goes by; by default the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.door.clock = clock;
        self
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

    fn style(&mut self) -> &mut Style {
        Arc::make_mut(&mut self.door.style)
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
