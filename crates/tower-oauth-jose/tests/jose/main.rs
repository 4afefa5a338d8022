//! The crate against its case tables; a case's id stands in the name of its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod by_hand;
mod claims;
mod dpop;
mod events;
mod header;
mod keys;
mod profiles;
mod random;
mod several;
mod signature;
mod signed_answers;
mod signer;
mod signing;
mod speccheck;
#[cfg(feature = "status-list")]
mod status_lists;
mod vectors;
mod wycheproof;
