//! A scripted OAuth issuer and a manual clock for tests.
//!
//! What goes wrong between a service and its identity provider goes wrong *over time*: it restarts
//! and has forgotten every token, it changes its keys, it is slow, it is gone. [`ScriptedIssuer`]
//! does all that when a test says so, with real tokens and real keys, in process or on a socket,
//! and counts every call. [`ManualClock`] moves when a test says so.
//!
//! | a test says | and the issuer |
//! | --- | --- |
//! | [`restart()`](ScriptedIssuer::restart) | forgets all tokens; signatures and `exp` stay good |
//! | [`rotate(..)`](ScriptedIssuer::rotate) | has new keys: beside the old, instead, under the same name |
//! | [`set_active_tokens(..)`](ScriptedIssuer::set_active_tokens) | keeps one token for each holder: the same for all, or the newest |
//! | [`fault(endpoint, ..)`](ScriptedIssuer::fault) | is slow, hangs, fails, redirects, talks garbage or without end |
//! | [`go_dark()`](ScriptedIssuer::go_dark) | refuses connections, until [`light_up()`](ScriptedIssuer::light_up) |
//! | [`mint(..)`](ScriptedIssuer::mint), [`forge(..)`](ScriptedIssuer::forge) | makes a token, good or bad in any way |
//! | [`set_status(index, ..)`](ScriptedIssuer::set_status) | says in its status list that a token is revoked, or good again |
//! | [`is_active(token)`](ScriptedIssuer::is_active) | says whether it still knows it |
//! | [`calls(endpoint)`](ScriptedIssuer::calls) | says how often it was called |
//!
//! # A test
//!
//! Whatever takes a Tower HTTP service takes [`ScriptedIssuer::service`]; whatever takes a URL takes
//! the one of [`ScriptedIssuer::serve`]. Here a small client meets a restart:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tower::ServiceExt;
//! use tower_oauth_test::{Endpoint, Fault, ScriptedIssuer};
//!
//! # type Error = Box<dyn std::error::Error>;
//! /// The code under test: asks for a token.
//! async fn token(issuer: &ScriptedIssuer) -> Result<(StatusCode, String), Error> {
//!     let form = "grant_type=client_credentials&client_id=orders&client_secret=s3cret";
//!     let request = Request::post(issuer.url(Endpoint::Token))
//!         .header("content-type", "application/x-www-form-urlencoded")
//!         .body(Full::<Bytes>::from(form))?;
//!     let response = issuer.service().oneshot(request).await?;
//!     let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
//!     let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
//!     Ok((status, body["access_token"].as_str().unwrap_or_default().to_owned()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
//! let issuer = ScriptedIssuer::builder().client("orders", "s3cret").audience("inventory").build()?;
//! let (_, first) = token(&issuer).await?;
//! assert!(issuer.is_active(&first));
//!
//! // The identity provider restarts, and is not well for one call.
//! issuer.restart();
//! issuer.fault(Endpoint::Token, Fault::Status(503)).times(1);
//! assert!(!issuer.is_active(&first));
//! assert_eq!(token(&issuer).await?.0, StatusCode::SERVICE_UNAVAILABLE);
//!
//! let (_, second) = token(&issuer).await?;
//! assert!(issuer.is_active(&second));
//! assert_eq!(issuer.calls(Endpoint::Token), 3);
//! # Ok(()) }
//! ```
//!
//! # What it is not
//!
//! No authorization server: it grants what is asked to whoever knows a secret that stands in the
//! test. Its clients are compared in plain text and its tokens kept for ever. It knows the
//! `client_credentials` grant (RFC 6749 §4.4), introspection (RFC 7662), revocation (RFC 7009),
//! resource indicators (RFC 8707), status lists (draft-ietf-oauth-status-list), and both kinds of metadata.
//!
//! # Panics
//!
//! Where the cryptographic library cannot make a key, a signature or a random number, which takes a
//! system without randomness or memory. Everything else that can fail is a `Result`.

mod active;
mod answer;
mod body;
mod builder;
mod client_auth;
mod clock;
mod endpoints;
mod fault;
mod issuer;
mod key;
mod keyring;
mod request;
mod resource;
mod service;
mod socket;
mod state;
mod status_list;
mod token_spec;

#[cfg(test)]
mod tests;

pub use active::ActiveTokens;
pub use body::ScriptedBody;
pub use builder::ScriptedIssuerBuilder;
pub use clock::ManualClock;
pub use fault::{Endpoint, Fault};
pub use issuer::{ScriptedFault, ScriptedIssuer};
pub use key::Algorithm;
pub use keyring::Rotation;
pub use request::ReceivedRequest;
pub use resource::{Refusal, ScriptedResource};
pub use service::{ScriptedFuture, ScriptedService};
pub use socket::Serving;
pub use token_spec::{Signature, TokenSpec};
