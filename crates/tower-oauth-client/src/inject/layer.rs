use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;
use tower_oauth_core::TokenSource;

use super::InjectToken;

/// Stamps the token of a source on each request: `Authorization: Bearer …` (RFC 6750 §2.1).
///
/// A request that already has an `Authorization` header is left alone: the caller's own header wins.
/// If the source has no token at hand the request waits for one; if there is none to be had the
/// request is not sent and the error is [`ClientError::Token`](crate::ClientError::Token).
///
/// This layer does not look at answers. To have a dead token replaced and the request sent again,
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
    source: Arc<dyn TokenSource>,
}

impl InjectTokenLayer {
    /// A layer over this source.
    #[must_use]
    pub fn new(source: impl TokenSource) -> Self {
        Self { source: Arc::new(source) }
    }
}

impl<S> Layer<S> for InjectTokenLayer {
    type Service = InjectToken<S>;

    fn layer(&self, inner: S) -> InjectToken<S> {
        InjectToken::shared(inner, Arc::clone(&self.source))
    }
}

impl fmt::Debug for InjectTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectTokenLayer").finish_non_exhaustive()
    }
}
