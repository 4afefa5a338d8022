#![doc = include_str!("../docs/overview.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "client", feature = "server", feature = "axum"))]
pub mod guide;

pub use tower_oauth_core::{
    BoxFuture, BuildError, Challenge, Challenges, Clock, EndpointUri, Error, ErrorKind, Flush,
    Issuer, Need, OAuthCode, ProofRequest, Prover, Report, Revocation, RevocationSink, Revoked,
    Scopes, Secret, ServerNonces, SystemClock, Token, TokenId, TokenSource,
};
#[cfg(feature = "transport")]
#[cfg_attr(docsrs, doc(cfg(feature = "transport")))]
pub use tower_oauth_endpoint::TransportBuilder;
pub use tower_oauth_endpoint::{BoxError, Discovery, Endpoint, HttpClient, SharedService};
pub use tower_single_flight as single_flight;

/// Sans-IO codecs: one protocol message each, for those who write a transport, a store or a source.
pub use tower_oauth_core::codec;

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use tower_oauth_client::{
    Ambiguous, And, AuthMethod, BareForbidden, BareUnauthorized, CaptureBody, ClientError,
    ConfirmWithIntrospection, ForeignToken, GrpcUnauthenticated, InjectToken, InjectTokenFuture,
    InjectTokenLayer, NoReplay, NoToken, Or, PeekedBody, ReadBodies, RefusedRequest,
    RejectionPolicy, Replay, Replayed, RetryInvalidToken, RetryInvalidTokenFuture,
    RetryInvalidTokenLayer, SelectSource, StandardPolicy, Statuses, TokenCache, TokenCacheBuilder,
    TokenCaches, TokenEvent, TokenEvents, TokenHealth, TokenKey, TokenStatus, TokenVerdict,
    Wso2Faults, source_fn,
};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use tower_oauth_client::{
    AssertionAudience, AssertionRequest, Client, LostRefresh, MemoryStore, Redeeming,
    RefreshTokenStore, SecretFile, SecretSource, SessionId, StoredRefreshToken, SubjectToken,
    TokenTypeUri,
};
#[cfg(all(feature = "client", feature = "assertions"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "client", feature = "assertions"))))]
pub use tower_oauth_client::{ClientAssertion, KeyFile, SigningKeySource};
#[cfg(all(feature = "client", feature = "dpop"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "client", feature = "dpop"))))]
pub use tower_oauth_client::{DpopKey, Thumbprint};
#[cfg(all(feature = "client", any(feature = "assertions", feature = "dpop")))]
#[cfg_attr(
    docsrs,
    doc(cfg(all(feature = "client", any(feature = "assertions", feature = "dpop"))))
)]
pub use tower_oauth_client::{InvalidSigningKey, SigningKey};
#[cfg(all(feature = "client", feature = "sealed-store"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "client", feature = "sealed-store"))))]
pub use tower_oauth_client::{SealedFile, SealingKey};

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
    ReplayStore, RequireAuthenticationLayer, RequireClaimsLayer, RequireRule, RequireScopeLayer,
    RequireToken, RequireTokenLayer, ResourceMetadata, ResourceMetadataBuilder, Revocations,
    RevocationsBuilder, Scheme, Seen, ServeResourceMetadata, SkipReason, SkippedKey,
    StandardClaims, TenantResolver, Tenants, TenantsBuilder, UntilExpiry, Verdict,
    VerifiedTokenCache, VerifyingKey,
};

#[cfg(feature = "events")]
#[cfg_attr(docsrs, doc(cfg(feature = "events")))]
pub use tower_oauth_events::{
    BackchannelLogout, BackchannelLogoutBuilder, BackchannelLogoutIssuer, Polled, SetCounts,
    SetPoll, SetPollBuilder, SetPush, SetPushBuilder, SetPushTransmitter, SubjectName, Webhook,
    WebhookBuilder, WebhookIssuer,
};
#[cfg(all(feature = "server", feature = "status-list"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "server", feature = "status-list"))))]
pub use tower_oauth_server::{StatusLists, StatusListsBuilder};

/// JWS, JWK and claims, as the server door uses them, and what the client door signs with.
#[cfg(any(feature = "server", feature = "assertions", feature = "dpop"))]
#[cfg_attr(
    docsrs,
    doc(cfg(any(feature = "server", feature = "assertions", feature = "dpop")))
)]
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
