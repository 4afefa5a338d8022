//! The client door of tower-oauth: a live access token on every outgoing request.
//!
//! * [`InjectTokenLayer`] stamps the token of a [`TokenSource`] on each request.
//! * [`RetryInvalidTokenLayer`] stamps it, judges the answer, and where the resource says that the
//!   token is dead gets another one, once for everybody, and sends the request again, once.
//! * [`TokenCache`] is the source: one token, refreshed ahead of its end in the background, replaced
//!   by a single exchange however many callers ask. [`TokenCaches`] is one for each key; [`source_fn`] takes the token
//!   from any credential library.
//!
//! Each layer is complete alone. Stacked, in either order, they agree.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt};
//! use tower_oauth_client::{RetryInvalidTokenLayer, TokenCache};
//! # use tower_oauth_endpoint::HttpClient;
//! # fn idp() -> HttpClient {
//! #     HttpClient::new(tower::service_fn(|_: Request<Full<Bytes>>| async {
//! #         let body = r#"{"access_token":"t1","token_type":"Bearer","expires_in":300}"#;
//! #         Response::builder().header("content-type", "application/json").body(Full::new(Bytes::from(body)))
//! #     }))
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = TokenCache::builder()
//!     .token_endpoint("https://idp.example.com/token")   // or .issuer(url): discovery
//!     .client_credentials("orders", "s3cret")            // better: Secret::from_env("ORDERS_SECRET")?
//!     .scope("inventory.read")
//! #   .http_client(idp())
//!     .build()?;
//!
//! let inventory = tower::service_fn(|request: Request<Full<Bytes>>| async move {
//!     assert_eq!(request.headers()["authorization"], "Bearer t1");
//!     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("42"))))
//! });
//! let inventory = RetryInvalidTokenLayer::new(tokens).layer(inventory);
//! let answer = inventory.oneshot(Request::new(Full::new(Bytes::new()))).await?;
//! assert_eq!(answer.status(), 200);
//! # Ok(()) }
//! ```
//!
//! # The onion
//!
//! ```text
//! your code
//!   └ RetryInvalidToken         the token door: outside everything that belongs to one attempt
//!       └ timeout, trace        per attempt
//!           └ connection pool, tonic Channel
//! ```
//!
//! A timeout *outside* the door includes the exchange for a new token and ends only the caller's own
//! wait: the exchange goes on, and its token is there for the next call.

mod auth;
mod capture;
mod confirm;
mod deadline;
#[cfg(feature = "dpop")]
mod dpop;
mod error;
mod grant;
mod guarded;
mod inject;
mod observe;
mod origin;
mod policy;
mod prove;
mod retry;
mod select;
mod source;
mod stamp;

pub use auth::{AssertionAudience, AssertionRequest, Client, SecretFile, SecretSource};
#[cfg(feature = "assertions")]
pub use auth::{KeyFile, SigningKeySource};
pub use capture::CaptureBody;
pub use confirm::ConfirmWithIntrospection;
#[cfg(feature = "dpop")]
pub use dpop::DpopKey;
pub use error::{ClientError, NoToken, RefusedRequest};
pub use grant::{
    LostRefresh, MemoryStore, Redeeming, RefreshTokenStore, SessionId, StoredRefreshToken,
    SubjectToken,
};
#[cfg(feature = "sealed-store")]
pub use grant::{SealedFile, SealingKey};
pub use inject::{InjectToken, InjectTokenFuture, InjectTokenLayer};
pub use policy::{
    Ambiguous, And, BareForbidden, BareUnauthorized, GrpcUnauthenticated, Or, RejectionPolicy,
    StandardPolicy, Statuses, TokenVerdict, Wso2Faults,
};
pub use retry::{
    NoReplay, PeekedBody, ReadBodies, Replay, Replayed, RetryInvalidToken, RetryInvalidTokenFuture,
    RetryInvalidTokenLayer,
};
pub use select::SelectSource;
pub use source::{
    AuthMethod, ForeignToken, TokenCache, TokenCacheBuilder, TokenCaches, TokenEvent, TokenEvents,
    TokenHealth, TokenKey, TokenStatus, source_fn,
};
// What the signatures here are made of, so that a program needs no second crate to write them down.
pub use tower_oauth_core::codec::TokenTypeUri;
pub use tower_oauth_core::{
    BoxFuture, BuildError, Clock, Error, ErrorKind, Flush, Need, OAuthCode, ProofRequest, Prover,
    Report, Scopes, Secret, ServerNonces, SystemClock, Token, TokenId, TokenSource,
};
pub use tower_oauth_endpoint::HttpClient;
#[cfg(feature = "assertions")]
pub use tower_oauth_jose::ClientAssertion;
#[cfg(feature = "dpop")]
pub use tower_oauth_jose::Thumbprint;
#[cfg(any(feature = "assertions", feature = "dpop"))]
pub use tower_oauth_jose::{Algorithm, InvalidSigningKey, SigningKey};
