//! Behind the door: a caller who may come in may still not do everything.

mod layer;
mod service;

pub use layer::RequireScopeLayer;
pub use service::RequireScope;
