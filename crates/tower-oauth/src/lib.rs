#![doc = include_str!("../docs/overview.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "client", feature = "server", feature = "axum"))]
pub mod guide;

pub use tower_oauth_core::{
    BoxFuture, BuildError, Challenge, Challenges, Clock, EndpointUri, Error, ErrorKind, Flush,
    Issuer, Need, OAuthCode, Report, Scopes, Secret, SystemClock, Token, TokenId, TokenSource,
};
pub use tower_oauth_endpoint::{BoxError, Discovery, Endpoint, HttpClient, SharedService};
pub use tower_single_flight as single_flight;

/// Sans-IO codecs: one protocol message each, for those who write a transport, a store or a source.
pub use tower_oauth_core::codec;

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use tower_oauth_client::{
    Ambiguous, And, AuthMethod, BareForbidden, BareUnauthorized, CaptureBody, ClientError,
    ConfirmWithIntrospection, GrpcUnauthenticated, InjectToken, InjectTokenFuture,
    InjectTokenLayer, NoReplay, NoToken, Or, PeekedBody, ReadBodies, RefusedRequest,
    RejectionPolicy, Replay, Replayed, RetryInvalidToken, RetryInvalidTokenFuture,
    RetryInvalidTokenLayer, SelectSource, StandardPolicy, Statuses, TokenCache, TokenCacheBuilder,
    TokenVerdict, Wso2Faults,
};

#[cfg(all(feature = "server", feature = "axum"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "server", feature = "axum"))))]
pub use tower_oauth_server::NotAuthenticated;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use tower_oauth_server::{
    Algorithm, Authenticate, Authenticated, AuthenticationRequirement, Caller, ColdStart,
    Confirmation, DoorBody, Dpop, DpopBuilder, Introspection, IntrospectionBuilder,
    IntrospectionClient, IntrospectionIssuer, InvalidProof, InvalidToken, Issuers, Jwks,
    JwksBuilder, JwksHealth, JwksLoad, JwksStatus, JwksWatch, Jwt, JwtBuilder, JwtIssuer,
    JwtOrOpaque, JwtThenIntrospect, KeySet, MalformedRequest, MutualTls, Outage, PeerCertificate,
    Presented, Principal, Profile, ProofId, Readiness, Rejection, Remember, RenderRejection,
    ReplayStore, RequireAuthenticationLayer, RequireClaimsLayer, RequireRule, RequireScope,
    RequireScopeLayer, RequireToken, RequireTokenLayer, ResourceMetadata, ResourceMetadataBuilder,
    Scheme, Seen, ServeResourceMetadata, SkipReason, SkippedKey, StandardClaims, TenantResolver,
    Tenants, TenantsBuilder, UntilExpiry, Verdict, VerifiedTokenCache, VerifyingKey,
};

/// JWS, JWK and claims, as the server door uses them.
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use tower_oauth_jose as jose;

/// What most programs need.
///
/// ```
/// use tower_oauth::prelude::*;
/// ```
pub mod prelude {
    /// Tower's own, for `some_layer.layer(some_service)`.
    pub use tower_layer::Layer;
    pub use tower_oauth_core::{Secret, TokenSource};

    #[cfg(feature = "client")]
    pub use tower_oauth_client::{InjectTokenLayer, RetryInvalidTokenLayer, TokenCache};

    #[cfg(feature = "server")]
    pub use tower_oauth_server::{Authenticated, Jwks, Jwt, RequireScopeLayer, RequireTokenLayer};
}
