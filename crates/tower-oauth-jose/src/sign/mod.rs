//! Signing: what a client proves itself with.

mod assertion;
mod key;

pub use assertion::ClientAssertion;
pub use key::{InvalidSigningKey, SigningKey};
