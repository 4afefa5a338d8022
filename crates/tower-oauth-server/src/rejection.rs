use std::fmt;
use std::time::Duration;

use http::StatusCode;
use tower_oauth_core::{ErrorKind, Scopes};
use tower_oauth_jose::{InvalidProof, InvalidToken};

use crate::AuthenticationRequirement;

/// Why a request did not come in: one closed set, neutral between HTTP and gRPC.
///
/// It rides in the extensions of the refusing response, for logs and metrics. No text of the token
/// is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// No credentials came: 401 without an `error` (RFC 6750 §3.1), `UNAUTHENTICATED`.
    Missing,
    /// The credentials are not written as RFC 6750 §2 says: 400 `invalid_request`, `UNAUTHENTICATED`.
    Malformed(MalformedRequest),
    /// The token is not valid: 401 `invalid_token`, `UNAUTHENTICATED`.
    Invalid(InvalidToken),
    /// The DPoP proof that came with the token is not valid: 401 `invalid_dpop_proof`, `UNAUTHENTICATED`.
    InvalidProof(InvalidProof),
    /// The DPoP proof has no nonce of ours, or an old one: 401 `use_dpop_nonce` with a fresh one (RFC 9449 §9), `UNAUTHENTICATED`.
    UseDpopNonce,
    /// The token is valid and not enough: 403 `insufficient_scope`, `PERMISSION_DENIED`.
    InsufficientScope {
        /// What the route asks for.
        required: Scopes,
    },
    /// The token is valid, and the subject has not authenticated strongly or recently enough: 401
    /// `insufficient_user_authentication` (RFC 9470 §3), `UNAUTHENTICATED`.
    InsufficientAuthentication(AuthenticationRequirement),
    /// The token is valid, and no other of this caller would do: 403 without a challenge, `PERMISSION_DENIED`. The text says why.
    Forbidden(&'static str),
    /// We cannot decide: 503 with `Retry-After`, `UNAVAILABLE`. Never the caller's fault.
    Unavailable {
        /// What is wrong on our side.
        cause: ErrorKind,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The layers are put together wrongly: 500, `INTERNAL`. The text says how.
    Misconfigured(&'static str),
}

/// What is wrong with how the credentials are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedRequest {
    /// More than one `Authorization` field, or several credentials in one.
    SeveralCredentials,
    /// Not `Bearer`, spaces, and a `b64token`.
    NotABearerToken,
    /// A token longer than the authenticator looks at: 8 KiB if not said otherwise.
    TooLong,
    /// A token in the query beside one in the header (RFC 6750 §2: one method per request).
    TokenInQuery,
}

impl Rejection {
    /// The HTTP status: 401, 400, 403, 503 or 500.
    ///
    /// ```
    /// use tower_oauth_server::Rejection;
    /// assert_eq!(Rejection::Missing.status(), 401);
    /// ```
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Missing
            | Self::Invalid(_)
            | Self::InvalidProof(_)
            | Self::UseDpopNonce
            | Self::InsufficientAuthentication(_) => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::InsufficientScope { .. } | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC status code: 16 `UNAUTHENTICATED`, 7 `PERMISSION_DENIED`, 14 `UNAVAILABLE` or 13
    /// `INTERNAL`.
    ///
    /// `tonic::Code::from` takes it, for a handler that refuses a call by itself.
    #[must_use]
    pub const fn grpc_code(&self) -> i32 {
        match self {
            Self::Missing
            | Self::Malformed(_)
            | Self::Invalid(_)
            | Self::InvalidProof(_)
            | Self::UseDpopNonce
            | Self::InsufficientAuthentication(_) => 16,
            Self::InsufficientScope { .. } | Self::Forbidden(_) => 7,
            Self::Unavailable { .. } => 14,
            Self::Misconfigured(_) => 13,
        }
    }

    /// The `error` code of RFC 6750 §3.1, RFC 9449 §12.2 or RFC 9470 §3, for those that have one.
    #[must_use]
    pub const fn error(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) => Some("invalid_request"),
            Self::Invalid(_) => Some("invalid_token"),
            Self::InvalidProof(_) => Some("invalid_dpop_proof"),
            Self::UseDpopNonce => Some("use_dpop_nonce"),
            Self::InsufficientScope { .. } => Some("insufficient_scope"),
            Self::InsufficientAuthentication(_) => Some("insufficient_user_authentication"),
            Self::Missing
            | Self::Forbidden(_)
            | Self::Unavailable { .. }
            | Self::Misconfigured(_) => None,
        }
    }

    /// A short fixed name of the reason, for log fields and metric labels.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed(reason) => reason.code(),
            Self::Invalid(reason) => reason.code(),
            Self::InvalidProof(reason) => reason.code(),
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::InsufficientAuthentication(_) => "insufficient_user_authentication",
            Self::Forbidden(_) => "forbidden",
            Self::Unavailable { .. } => "unavailable",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

impl MalformedRequest {
    /// A short fixed name of the reason, for log fields and metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SeveralCredentials => "several_credentials",
            Self::NotABearerToken => "not_a_bearer_token",
            Self::TooLong => "too_long",
            Self::TokenInQuery => "token_in_query",
        }
    }
}

impl From<MalformedRequest> for Rejection {
    fn from(reason: MalformedRequest) -> Self {
        Self::Malformed(reason)
    }
}

impl From<InvalidToken> for Rejection {
    fn from(reason: InvalidToken) -> Self {
        Self::Invalid(reason)
    }
}

impl From<InvalidProof> for Rejection {
    fn from(reason: InvalidProof) -> Self {
        Self::InvalidProof(reason)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no credentials"),
            Self::Malformed(reason) => fmt::Display::fmt(reason, f),
            Self::Invalid(reason) => fmt::Display::fmt(reason, f),
            Self::InvalidProof(reason) => fmt::Display::fmt(reason, f),
            Self::UseDpopNonce => f.write_str("the DPoP proof needs a fresh nonce"),
            Self::InsufficientScope { .. } => f.write_str("the token has not enough scope"),
            Self::Unavailable { .. } => f.write_str("the token cannot be checked now"),
            Self::InsufficientAuthentication(_) => {
                f.write_str("a stronger or more recent authentication is needed")
            }
            Self::Forbidden(how) | Self::Misconfigured(how) => f.write_str(how),
        }
    }
}

impl fmt::Display for MalformedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SeveralCredentials => "there are several credentials",
            Self::NotABearerToken => "the credentials are not a well-formed bearer token",
            Self::TooLong => "the token is too long",
            Self::TokenInQuery => "there is a token in the query beside the one in the header",
        })
    }
}

impl std::error::Error for Rejection {}
