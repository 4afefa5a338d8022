//! Benchmarks of tower-oauth.
