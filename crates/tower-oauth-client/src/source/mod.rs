//! The source: one cached token and the exchange that renews it.

mod builder;
mod cache;
mod edge;
mod exchange;
mod log_out;
mod schedule;
mod state;

pub use builder::{AuthMethod, TokenCacheBuilder};
pub use cache::TokenCache;
pub(crate) use edge::ClientEdge;
