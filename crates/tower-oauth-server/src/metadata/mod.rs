//! Protected resource metadata (RFC 9728): where to get a token for this resource.
//!
//! 1. The document stands at a well-known address made of the resource's own (RFC 9728 §3.1).
//! 2. It is public, and the door must not stand before it: who reads it has no token yet.
//! 3. It is written once, when it is built.

mod builder;
mod document;
mod layer;
mod service;

pub use builder::ResourceMetadataBuilder;
pub use document::ResourceMetadata;
pub use layer::{MetadataFuture, ServeResourceMetadata};
