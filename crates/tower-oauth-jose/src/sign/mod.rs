//! Signing: what a client proves itself with.

mod assertion;
mod key;
mod proof;

pub use assertion::ClientAssertion;
pub use key::{InvalidSigningKey, SigningKey};
pub use proof::{DpopClaims, DpopSigner};
