use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use super::builder::ResourceMetadataBuilder;

/// The metadata of a protected resource (RFC 9728), as a service and as a layer; cheap to clone.
///
/// As a **service** it answers any path with the document, so that it is for a router to mount: at [`path`](Self::path). `GET`
/// and `HEAD` get `application/json` with `Cache-Control: public, max-age=3600`
/// ([`max_age`](ResourceMetadataBuilder::max_age)), other methods 405. As a **layer** it answers that path and lets everything else
/// through, for stacks without a router; it goes *outside* of a [`RequireTokenLayer`](crate::RequireTokenLayer). Where browsers read the
/// document, a CORS layer goes outside of it.
///
/// ```
/// use tower_oauth_server::ResourceMetadata;
///
/// let metadata = ResourceMetadata::builder("https://api.example.com/inventory")
///     .authorization_server("https://idp.example.com/realms/shop")
///     .scopes_supported(["inventory.read", "inventory.write"])
///     .resource_name("Inventory")
///     .build()?;
/// assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/inventory");
/// assert_eq!(
///     metadata.uri(),
///     "https://api.example.com/.well-known/oauth-protected-resource/inventory"
/// );
/// let app: axum::Router = axum::Router::new().route_service(metadata.path(), metadata.clone());
/// # drop(app);
/// # Ok::<_, tower_oauth_core::BuildError>(())
/// ```
///
/// [`RequireTokenLayer::resource_metadata`](crate::RequireTokenLayer::resource_metadata) names it in the challenges.
#[derive(Clone)]
pub struct ResourceMetadata(Arc<Document>);

pub(super) struct Document {
    pub(super) resource: String,
    pub(super) uri: String,
    pub(super) path: String,
    pub(super) json: Bytes,
    pub(super) cache_control: HeaderValue,
}

impl ResourceMetadata {
    /// The metadata of the resource with this identifier (RFC 9728 §1.2): an `https` URL without fragment, or plain `http` on a loopback
    /// address. It is what a client names as `resource` (RFC 8707) when it asks for a token.
    pub fn builder(resource: impl Into<String>) -> ResourceMetadataBuilder {
        ResourceMetadataBuilder::new(resource.into())
    }

    pub(super) fn new(document: Document) -> Self {
        Self(Arc::new(document))
    }

    /// The identifier of the resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// The address of the document.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.0.uri
    }

    /// The path of that address, for a router.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The document: one JSON object.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.0.json
    }

    pub(super) fn answer(&self, method: &Method) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        if method != Method::GET && method != Method::HEAD {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, self.0.cache_control.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.0.json.len()));
        if method == Method::GET {
            *response.body_mut() = self.0.json.clone();
        }
        response
    }
}

impl fmt::Debug for ResourceMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceMetadata").field("uri", &self.0.uri).finish_non_exhaustive()
    }
}
