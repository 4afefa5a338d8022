//! How the refusals of one door look.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::Rejection;

/// Writes the body of a refusal over HTTP in the application's own way: `application/problem+json` (RFC 9457), a page, another
/// language.
///
/// Body and headers are the application's; the status, `WWW-Authenticate`, `Retry-After`, `Cache-Control: no-store` and the length are
/// written over it, so that a refusal stays one. The answer to a `HEAD` has no body in any case, and gRPC has its own form.
///
/// A closure `Fn(&Rejection, &Parts) -> Response<Bytes>` is one. It sees the head of the request, whose `Authorization` must
/// not get into the answer.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, request::Parts};
/// use http_body_util::{BodyExt, Empty};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_oauth_server::{Authenticate, Rejection, RequireTokenLayer};
///
/// fn problem(rejection: &Rejection, head: &Parts) -> Response<Bytes> {
///     let problem = serde_json::json!({
///         "type": format!("https://api.example.com/problems/{}", rejection.code()),
///         "title": rejection.to_string(),
///         "status": rejection.status().as_u16(),
///         "instance": head.uri.path(),
///     });
///     let mut response = Response::new(Bytes::from(problem.to_string()));
///     response.headers_mut().insert("content-type", "application/problem+json".parse().unwrap());
///     response
/// }
///
/// # async fn run<A: Authenticate>(jwt: A) -> Result<(), Box<dyn std::error::Error>> {
/// let door = RequireTokenLayer::new(jwt).render_with(problem).layer(service_fn(inventory));
///
/// let refused = door.oneshot(Request::get("/stock/7").body(())?).await?;
/// assert_eq!(refused.status(), 401);
/// assert_eq!(refused.headers()["www-authenticate"], "Bearer");
/// assert_eq!(refused.headers()["content-type"], "application/problem+json");
/// let body = refused.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
/// let body: serde_json::Value = serde_json::from_slice(&body)?;
/// assert_eq!(body["instance"], "/stock/7");
/// assert_eq!(body["type"], "https://api.example.com/problems/missing");
/// # Ok(()) }
/// # async fn inventory(_: Request<()>) -> Result<Response<Empty<Bytes>>, std::convert::Infallible> {
/// #     Ok(Response::new(Empty::new()))
/// # }
/// # use tower_oauth_server::{Jwks, Jwt, KeySet};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = KeySet::from_jwks(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
/// # run(Jwt::issuer("https://idp.example.com").audience("inventory").jwks(Jwks::fixed(keys)?).build()?).await }
/// ```
pub trait RenderRejection: Send + Sync + 'static {
    /// The answer; an empty one is an answer without a body.
    fn render(&self, rejection: &Rejection, head: &Parts) -> Response<Bytes>;
}

impl<F> RenderRejection for F
where
    F: Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync + 'static,
{
    fn render(&self, rejection: &Rejection, head: &Parts) -> Response<Bytes> {
        self(rejection, head)
    }
}

/// What all refusals of a door, and of the rules behind it, have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Style {
    pub(crate) realm: Option<Box<str>>,
    /// The address of the metadata of the resource.
    pub(crate) resource_metadata: Option<Box<str>>,
    pub(crate) renderer: Option<Renderer>,
}

#[derive(Clone)]
pub(crate) struct Renderer(pub(crate) Arc<dyn RenderRejection>);

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renderer")
    }
}
