//! The source: one cached token and the exchange that renews it.

mod budget;
mod build;
mod builder;
mod cache;
mod caches;
mod edge;
mod event;
mod exchange;
mod grants;
mod health;
mod key;
mod log_out;
mod schedule;
mod shelf;
mod source_fn;
mod state;
mod switches;

pub use builder::{AuthMethod, TokenCacheBuilder};
pub use cache::TokenCache;
pub use caches::TokenCaches;
pub(crate) use edge::ClientEdge;
pub use event::{TokenEvent, TokenEvents};
pub use health::{TokenHealth, TokenStatus};
pub use key::TokenKey;
pub use source_fn::{ForeignToken, source_fn};
