//! End-to-end tests of tower-oauth on real sockets and a real authorization server.
//!
//! What stands here is what several of the tests need; the tests themselves are in `tests/`.
//! Everything listens on 127.0.0.1, waits in real time (so not for tests with a paused clock), is
//! bounded by a deadline, and panics when it cannot do its work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_debug_implementations,
    reason = "test support: a failure here is a test failure"
)]

pub mod clients;
pub mod idp;
pub mod logs;
pub mod raw_http;
pub mod resource;
pub mod session;
