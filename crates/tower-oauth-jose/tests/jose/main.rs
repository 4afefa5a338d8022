//! The crate against its case tables; a case's id stands in the name of its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod claims;
mod header;
mod keys;
mod random;
mod signature;
mod signed_answers;
mod signer;
mod vectors;
