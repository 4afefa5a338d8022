//! The client door, tested as its users see it: through public names only.

// What clippy allows in tests it takes for production code in their helpers. Paused time is tokio's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod answers;
mod bodies;
mod builder;
mod cache;
mod canary;
mod combined;
mod deadlines;
mod duel;
mod errors;
mod forbidden;
mod foreign;
mod grants;
mod keyed;
mod layers;
#[cfg(feature = "metrics")]
mod observed;
mod operators;
mod origins;
mod proofs;
mod refresh;
mod rejections;
mod replay;
mod restart;
mod rig;
mod runtimes;
mod secret_files;
mod select;
mod sessions;
mod stacked;
mod storms;
mod trouble;
mod upstream;
mod verdicts;
