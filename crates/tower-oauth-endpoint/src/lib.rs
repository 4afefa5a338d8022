//! The edge of tower-oauth: everything that reaches out goes through here.
//!
//! [`Endpoint`] is one generic adapter: a [`Codec`](tower_oauth_core::codec::Codec) on one side, any
//! HTTP [`Service`](tower_service::Service) on the other. What must hold for every call to an
//! authorization server lives in it once:
//!
//! 1. `https`, or plain `http` to a loopback address, and no credentials in the query;
//! 2. one total deadline over connecting, sending and reading, 5 seconds by default;
//! 3. a cap on the answer's body, counted while it arrives;
//! 4. no redirects: an answer 3xx is an error, and credentials are not sent to a second address
//!    (RFC 9700 §4.12).
//!
//! Retries, limits and traces on the way out are Tower's: wrap the HTTP service that you pass in.
//!
//! [`HttpClient`] is an HTTP service with its type erased, and the default transport: hyper with
//! rustls on aws-lc-rs and the system's root certificates.

mod discovery;
mod endpoint;
mod http_client;
mod locator;
mod shared_service;
#[cfg(feature = "transport")]
mod transport;

pub use discovery::Discovery;
pub use endpoint::Endpoint;
pub use http_client::{BoxError, HttpClient};
pub use locator::{FurtherAddresses, Locator};
pub use shared_service::SharedService;
#[cfg(feature = "transport")]
pub use transport::TransportBuilder;
