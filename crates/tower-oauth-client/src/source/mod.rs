//! The source: one cached token and the exchange that renews it.

mod budget;
mod builder;
mod cache;
mod edge;
mod event;
mod exchange;
mod health;
mod schedule;
mod state;
mod switches;

pub use builder::{AuthMethod, TokenCacheBuilder};
pub use cache::TokenCache;
pub use event::{TokenEvent, TokenEvents};
pub use health::{TokenHealth, TokenStatus};
