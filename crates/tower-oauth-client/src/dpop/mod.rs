//! Tokens that are bound to a key of ours (RFC 9449): the key, and the proofs that it signs.

mod codec;
mod key;
mod prover;

pub(crate) use codec::ProvenCodec;
pub use key::DpopKey;
pub(crate) use prover::KeyProver;
