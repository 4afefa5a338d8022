//! Receivers of events between a scripted issuer and a resource server; a case's id stands in the name of its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;
mod logout;
mod logout_refused;
#[cfg(feature = "metrics")]
mod observed;
mod poll;
mod push;
mod push_refused;
mod trouble;
mod webhook;
