//! Stamps a token on each request.

mod future;
mod layer;
mod service;

pub use future::InjectTokenFuture;
pub use layer::InjectTokenLayer;
pub use service::InjectToken;
