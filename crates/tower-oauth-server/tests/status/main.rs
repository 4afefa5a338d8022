//! Status lists against a scripted issuer; a case's id stands in the name of its test.
#![cfg(feature = "status-list")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bounds;
mod builder;
mod doors;
mod fixture;
mod flights;
mod freshness;
mod malformed;
mod outage;
mod verdicts;
