//! DPoP on the client (RFC 9449), without sockets: our own server door is the resource, which checks every proof as a stranger would.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests fail as the tests do"
)]

mod nonces;
mod origins;
mod requests;
mod rig;
mod token_endpoint;
