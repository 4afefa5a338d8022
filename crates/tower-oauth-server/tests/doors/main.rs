//! The doors of the server, each case over HTTP and over gRPC.

// Clippy's leave for tests reaches functions marked as tests, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod authenticated;
#[cfg(feature = "axum")]
mod axum_traps;
mod canary;
mod credentials;
mod cut;
#[cfg(feature = "axum")]
mod darkness;
mod discipline;
mod hostile_tokens;
mod hyper_server;
mod issued;
#[cfg(feature = "axum")]
mod metadata;
#[cfg(feature = "metrics")]
mod observed;
#[cfg(feature = "axum")]
mod own_form;
mod readiness;
mod recheck;
mod rendering;
mod rules;
mod scope;
mod strip;
mod support;
mod tonic_server;
