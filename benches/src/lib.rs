//! Benchmarks of tower-oauth, run by `cargo bench -p tower-oauth-benches`.
//!
//! Each group has the bare work beside the layer that does it, so that a ratio can be read off one
//! run; absolute times depend on the machine.
