//! Revocation events in: somebody says that tokens have died, and the caches that hold or trust them hear of it.
//!
//! [`BackchannelLogout`] receives logouts from an OpenID provider, [`SetPush`] the security events of a transmitter (RFC 8935, SSF, CAEP, RISC), [`Webhook`]
//! signed posts of whoever has neither. All are `tower::Service`s over HTTP requests with any body, to be mounted in axum, hyper or plain Tower. [`SetPoll`]
//! fetches security events instead (RFC 8936). What they learn they hand on through [`RevocationSink`](tower_oauth_core::RevocationSink):
//!
//! ```text
//!   the provider --POST--> BackchannelLogout, SetPush, Webhook --Revocation--> Revocations <--asks-- Jwt, Introspection
//!   the transmitter <--POST-- SetPoll --SET--> SetPush ----------^
//! ```
//!
//! The answer goes out when every sink has been told, so that the sender need not tell again; if the token cannot be verified for want of keys, it is
//! asked to.
//!
//! This crate needs `tower-oauth-server` for its `Jwks` alone, which keeps the sender's keys fresh as it keeps those of an issuer.

mod intake;
mod logout;
mod observe;
mod poll;
mod push;
mod seen;
mod trust;
mod webhook;

pub use logout::{BackchannelLogout, BackchannelLogoutBuilder, BackchannelLogoutIssuer};
pub use poll::{Polled, SetPoll, SetPollBuilder};
pub use push::{SetCounts, SetPush, SetPushBuilder, SetPushTransmitter, SubjectName};
pub use webhook::{Webhook, WebhookBuilder, WebhookIssuer};
