//! Opaque tokens against a scripted issuer; a case's id stands in the name of its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod builder;
mod cache;
mod events;
mod fixture;
mod flights;
mod further;
mod kinds;
mod outage;
mod revoked;
mod signed;
