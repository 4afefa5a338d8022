use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;
use tower_oauth_core::{SystemClock, TokenSource};

use super::{InjectToken, Shared};
use crate::SelectSource;
use crate::guarded::guard_settings;
use crate::origin::Guard;
use crate::select::Sources;

/// Stamps the token of a source on each request: `Authorization: Bearer …` (RFC 6750 §2.1).
///
/// A request that already has an `Authorization` header is left alone: the caller's own header wins.
/// The token goes by `https` or to this machine, and with [`with_origins`](Self::with_origins) only to
/// the origins that it is meant for. If the source has no token at hand the request waits for one; if there is none to be had the
/// request is not sent and the error is [`ClientError::Token`](crate::ClientError::Token).
///
/// A token that is bound to a key (`TokenCacheBuilder::dpop`, feature `dpop`) goes with a proof for each request (RFC 9449 §7.1).
///
/// This layer does not judge answers; of them it takes the nonces for later proofs. To have a dead token replaced and the request sent again,
/// use [`RetryInvalidTokenLayer`](crate::RetryInvalidTokenLayer); it stamps too.
///
/// ```
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt};
/// use tower_oauth_client::{InjectTokenLayer, Token};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = tower::service_fn(|request: Request<()>| async move {
///     let token = request.headers()["authorization"].clone();
///     Ok::<_, std::convert::Infallible>(Response::new(token))
/// });
/// let service = InjectTokenLayer::new(Token::bearer("fixed")?).layer(echo);
/// assert_eq!(service.oneshot(Request::new(())).await?.into_body(), "Bearer fixed");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct InjectTokenLayer {
    shared: Shared,
}

impl InjectTokenLayer {
    /// A layer over this source.
    #[must_use]
    pub fn new(source: impl TokenSource) -> Self {
        Self::over(Sources::one(source))
    }

    /// A layer that picks the source of each request by its head.
    #[must_use]
    pub fn select(select: impl SelectSource) -> Self {
        Self::over(Sources::selected(select))
    }

    fn over(sources: Sources) -> Self {
        let clock = Arc::new(SystemClock);
        Self { shared: Shared { sources, guard: Guard::default(), clock } }
    }

    guard_settings!();
}

impl<S> Layer<S> for InjectTokenLayer {
    type Service = InjectToken<S>;

    fn layer(&self, inner: S) -> InjectToken<S> {
        InjectToken::shared(inner, Arc::new(self.shared.clone()))
    }
}

impl fmt::Debug for InjectTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectTokenLayer")
            .field("guard", &self.shared.guard)
            .finish_non_exhaustive()
    }
}
