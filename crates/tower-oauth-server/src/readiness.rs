//! Whether this process can tell good tokens from bad ones: for a probe.

use std::convert::Infallible;
use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_oauth_core::BoxFuture;
use tower_service::Service;

use crate::{Jwks, JwksHealth};

/// A service that answers a readiness probe from the health of one or more key sets.
///
/// | the worst of the sets is | answer |
/// | --- | --- |
/// | [`Fresh`](JwksHealth::Fresh) | 200 `{"status":"fresh"}` |
/// | [`Stale`](JwksHealth::Stale) | 200 `{"status":"stale","seconds_left":3600}`: it still serves |
/// | [`Unavailable`](JwksHealth::Unavailable) | 503 `{"status":"unavailable"}` |
///
/// No issuer, address or error is named: who may probe need not know them, and [`Jwks::health`] tells the application. A set that is
/// not there is fetched by the probe ([`Jwks::warm`], with its pauses), since a process that is not ready gets no request that would; this
/// takes up to the deadline of a fetch, 5 s, and goes on if the probe gives up. Any path is answered: a router mounts it, outside of the
/// door.
///
/// ```
/// use tower_oauth_server::{Jwks, KeySet, Readiness};
///
/// # let keys = KeySet::from_jwks(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
/// # let jwks = Jwks::fixed(keys)?;
/// // `jwt.jwks().clone()` is the set of a `Jwt`.
/// let app: axum::Router = axum::Router::new().route_service("/ready", Readiness::new(jwks));
/// # drop(app);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Readiness {
    sets: Vec<Jwks>,
}

impl Readiness {
    /// Ready when this set is.
    #[must_use]
    pub fn new(jwks: Jwks) -> Self {
        Self { sets: vec![jwks] }
    }

    /// Ready only when this set is, too.
    #[must_use]
    pub fn and(mut self, jwks: Jwks) -> Self {
        self.sets.push(jwks);
        self
    }

    fn worst(&self) -> JwksHealth {
        let health = self.sets.iter().map(Jwks::health);
        health.max_by_key(badness).unwrap_or(JwksHealth::Fresh)
    }
}

/// The less time is left, the worse.
fn badness(health: &JwksHealth) -> (u8, u64) {
    match health {
        JwksHealth::Fresh => (0, 0),
        JwksHealth::Stale { left } => (1, u64::MAX.saturating_sub(left.as_secs())),
        JwksHealth::Unavailable { .. } => (2, 0),
    }
}

impl<B> Service<Request<B>> for Readiness {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let probed = self.clone();
        let is_head = request.method() == Method::HEAD;
        Box::pin(async move {
            for jwks in &probed.sets {
                if matches!(jwks.health(), JwksHealth::Unavailable { .. }) {
                    // Why it failed is for the log, where the fetch has told it.
                    let _ = jwks.warm().await;
                }
            }
            Ok(answer(probed.worst(), is_head))
        })
    }
}

fn answer(health: JwksHealth, is_head: bool) -> Response<Full<Bytes>> {
    let (status, text) = match health {
        JwksHealth::Fresh => (StatusCode::OK, r#"{"status":"fresh"}"#.to_owned()),
        JwksHealth::Stale { left } => {
            let left = left.as_secs();
            (StatusCode::OK, format!(r#"{{"status":"stale","seconds_left":{left}}}"#))
        }
        JwksHealth::Unavailable { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable"}"#.to_owned())
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    if !is_head {
        *response.body_mut() = Full::from(text);
    }
    response
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("sets", &self.sets.len()).finish()
    }
}
