//! Benchmarks of tower-oauth.
//!
//! `cargo xtask bench` runs the program `rows` of this crate: each path beside the bare work that it does, measured in one run and
//! interleaved, so that what a ratio says holds on a busy machine too. `cargo bench -p tower-oauth-benches` runs the micro benchmarks.

#![allow(missing_docs, reason = "a benchmark is no library")]

pub mod contest;
