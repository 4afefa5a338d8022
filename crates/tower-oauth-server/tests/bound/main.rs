//! Tokens that are bound to a key of their sender, over HTTP and over gRPC.

// Clippy takes helpers outside of a `#[test]` for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod builder;
mod introspected;
mod mutual_tls;
mod nonces;
mod proofs;
mod remembered;
mod replay;
mod schemes;
mod sender;
