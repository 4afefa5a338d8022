//! The axum extractor.

use std::fmt;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::Authenticated;
use crate::Rejection;
use crate::render::Refusal;
use crate::require::Admission;

/// Why a handler that takes [`Authenticated`] was not run. Answers like the door does, over gRPC too.
#[derive(Clone)]
pub struct NotAuthenticated(Refusal);

impl NotAuthenticated {
    /// The reason.
    #[must_use]
    pub const fn rejection(&self) -> &Rejection {
        self.0.rejection()
    }

    fn new(rejection: Rejection, head: &Parts) -> Self {
        Self(Admission::refusal(rejection, head))
    }
}

impl<C, S> FromRequestParts<S> for Authenticated<C>
where
    C: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = NotAuthenticated;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, NotAuthenticated> {
        Self::from_extensions(&head.extensions)
            .map_err(|rejection| NotAuthenticated::new(rejection, head))
    }
}

/// `None` is an anonymous request that the door has let in, and nothing else: a missing layer and a wrong claims type are errors here too.
impl<C, S> OptionalFromRequestParts<S> for Authenticated<C>
where
    C: Send + Sync + 'static,
    S: Send + Sync,
{
    type Rejection = NotAuthenticated;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, NotAuthenticated> {
        match Self::from_extensions(&head.extensions) {
            Ok(caller) => Ok(Some(caller)),
            Err(Rejection::Missing) => Ok(None),
            Err(rejection) => Err(NotAuthenticated::new(rejection, head)),
        }
    }
}

impl IntoResponse for NotAuthenticated {
    fn into_response(self) -> Response {
        self.0.to_response().map(Body::from)
    }
}

/// For a handler that refuses by itself. It is the HTTP answer: a handler knows whether it serves gRPC, this does not. Nor does it know the
/// door: without realm, address of metadata, and [`RenderRejection`](crate::RenderRejection).
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        Refusal::over_http(self).to_response().map(Body::from)
    }
}

impl fmt::Display for NotAuthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.rejection(), f)
    }
}

impl fmt::Debug for NotAuthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NotAuthenticated").field(self.rejection()).finish()
    }
}

impl std::error::Error for NotAuthenticated {}
