//! The server door: only requests with a valid token come in.
//!
//! [`RequireTokenLayer`] is a [`tower_layer::Layer`] over any HTTP service, in axum, tonic, hyper and plain Tower, for any request
//! body and any inner error. It takes the bearer token of the `Authorization` field (RFC 6750 §2.1), asks an [`Authenticate`], and leaves one
//! proof in the request; [`Authenticated`] is that proof in a handler's hands; [`RequireScopeLayer`],
//! [`RequireClaimsLayer`] and [`RequireAuthenticationLayer`] ask it for more.
//!
//! # The onion
//!
//! ```text
//!   traces, CORS, timeouts      see refusals too; a CORS layer answers preflights before the door does
//!   └─ RequireTokenLayer          401, 400, 503: who are you?
//!      └─ RequireScopeLayer          403: may you do this? Likewise RequireClaimsLayer and, with a 401, RequireAuthenticationLayer
//!         └─ your service               takes Authenticated<Claims>
//! ```
//!
//! In a `tower::ServiceBuilder` and in `tonic::transport::Server` the layer that is added *first* is the outermost; in
//! `axum::Router` it is the one that is added *last*. Two more traps of axum, both of which fail closed if the handlers take
//! [`Authenticated`]: a route that is added after `.layer(..)` is not behind the layer, and neither is one of a router that is merged
//! later.
//!
//! # How it refuses
//!
//! A refusal is an answer and not an error, so that the inner service's error type stays. The typed reason, a [`Rejection`], is in the extensions
//! of the response.
//!
//! | [`Rejection`] | HTTP | `error` | gRPC |
//! | --- | --- | --- | --- |
//! | [`Missing`](Rejection::Missing) | 401 | | 16 `UNAUTHENTICATED` |
//! | [`Malformed`](Rejection::Malformed) | 400 | `invalid_request` | 16 `UNAUTHENTICATED` |
//! | [`Invalid`](Rejection::Invalid) | 401 | `invalid_token` | 16 `UNAUTHENTICATED` |
//! | [`InvalidProof`](Rejection::InvalidProof) | 401 | `invalid_dpop_proof` | 16 `UNAUTHENTICATED` |
//! | [`UseDpopNonce`](Rejection::UseDpopNonce) | 401, `DPoP-Nonce` | `use_dpop_nonce` | 16 `UNAUTHENTICATED` |
//! | [`InsufficientScope`](Rejection::InsufficientScope) | 403 | `insufficient_scope` | 7 `PERMISSION_DENIED` |
//! | [`InsufficientAuthentication`](Rejection::InsufficientAuthentication) | 401 | `insufficient_user_authentication` | 16 `UNAUTHENTICATED` |
//! | [`Forbidden`](Rejection::Forbidden) | 403 | | 7 `PERMISSION_DENIED` |
//! | [`Unavailable`](Rejection::Unavailable) | 503, `Retry-After` | | 14 `UNAVAILABLE` |
//! | [`Misconfigured`](Rejection::Misconfigured) | 500 | | 13 `INTERNAL` |
//!
//! 1. Over HTTP the challenge is in `WWW-Authenticate` (RFC 6750 §3), and unless no credentials came there is a JSON object with `error` and
//!    `error_description`. `Cache-Control: no-store` goes with all of them.
//! 2. A request with `content-type: application/grpc*` (gRPC-Web included) gets HTTP 200 and a trailers-only answer; the challenge goes with
//!    it as metadata.
//! 3. Only fixed texts are sent. Nothing of a token is in an answer, a log line or a `Debug`.
//! 4. A token in the query counts for nothing; beside one in the header it is a malformed request. Forms are not read.
//! 5. Other schemes (`Basic`) are no bearer credentials: the answer is that to a request without any. So is `DPoP`, unless the layer
//!    [takes it](RequireTokenLayer::dpop).
//! 6. A token that is bound to a key of its sender (`cnf`) is worth nothing without the proof of it: see [`Dpop`] and [`MutualTls`].

mod accessors;
mod authenticate;
mod authenticated;
mod body;
mod bound;
mod credentials;
mod introspect;
mod issuers;
mod jwks;
mod jwt;
mod metadata;
mod observe;
mod readiness;
mod rejection;
mod render;
mod require;
mod revocations;
mod rule;
#[cfg(feature = "status-list")]
mod status_list;

pub use authenticate::{Authenticate, Caller, Presented, Principal, Scheme, Verdict};
#[cfg(feature = "axum")]
pub use authenticated::NotAuthenticated;
pub use authenticated::{Authenticated, UntilExpiry};
pub use body::DoorBody;
pub use bound::{
    Dpop, DpopBuilder, MutualTls, PeerCertificate, ProofId, Remember, ReplayStore, Seen,
};
pub use introspect::{
    Introspection, IntrospectionBuilder, IntrospectionClient, IntrospectionIssuer, JwtOrOpaque,
    JwtThenIntrospect, Outage,
};
pub use issuers::{Issuers, TenantResolver, Tenants, TenantsBuilder};
pub use jwks::{ColdStart, Jwks, JwksBuilder, JwksHealth, JwksLoad, JwksStatus, JwksWatch};
pub use jwt::{Jwt, JwtBuilder, JwtIssuer, VerifiedTokenCache};
pub use metadata::{
    MetadataFuture, ResourceMetadata, ResourceMetadataBuilder, ServeResourceMetadata,
};
pub use readiness::Readiness;
pub use rejection::{MalformedRequest, Rejection};
pub use render::RenderRejection;
pub use require::{RequireToken, RequireTokenLayer, ResponseFuture};
pub use revocations::{Revocations, RevocationsBuilder};
pub use rule::{
    AuthenticationRequirement, RequireAuthenticationLayer, RequireClaimsLayer, RequireRule,
    RequireScopeLayer, RuleResponseFuture,
};
#[cfg(feature = "status-list")]
pub use status_list::{StatusLists, StatusListsBuilder};

// What the signatures here are made of, so that a program needs no second crate to write them down.
pub use tower_oauth_core::{BuildError, Clock, Error, ErrorKind, Scopes, Secret, SystemClock};
pub use tower_oauth_core::{Revocation, RevocationSink, Revoked};
pub use tower_oauth_endpoint::{BoxError, HttpClient};
pub use tower_oauth_jose::{Algorithm, InvalidToken, KeySet, SkippedKey, StandardClaims};
pub use tower_oauth_jose::{Confirmation, InvalidProof, Profile, SkipReason, VerifyingKey};
