//! The validator: what it is made of, what it lets in, what it says of the caller.

// Clippy takes helpers outside of a `#[test]` for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../jwks/fixture.rs"]
#[allow(dead_code, reason = "the key set's tests use the rest")]
mod fixture;

mod builder;
mod by_hand;
mod cache;
mod issuers;
mod revoked;
mod selection;
mod verdicts;
