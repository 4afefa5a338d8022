//! The key set against a scripted issuer: cases 1 to 43 of the JWKS table and K01 to K15.

// Clippy takes helpers outside of a `#[test]` for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

mod cold;
mod events;
mod further;
mod handle;
mod misses;
mod outage;
mod places;
mod refresh;
mod snapshot_file;
