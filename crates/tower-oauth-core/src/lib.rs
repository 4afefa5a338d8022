//! Words, seams and sans-IO codecs of tower-oauth.
//!
//! This crate does no IO, starts no task and reads no clock of its own. It holds
//!
//! * the **words**: [`Token`], [`TokenId`], [`Secret`], [`Scopes`], [`Issuer`], [`Challenges`], [`Revocation`], [`Error`];
//! * the **seams**: [`TokenSource`] (who gives tokens), [`Prover`] (who holds the key that a token is bound to), [`RevocationSink`] (who hears that
//!   tokens have died) and [`Clock`] (who tells the time);
//! * the **[codecs](codec)**: one protocol message a file, `encode(&Req) -> http::Request` and
//!   `decode(http::Response) -> Result`, so that transport is a parameter.
//!
//! Applications use the `tower-oauth` facade; this crate is for those who write a source, a store or a transport.

mod challenge;
mod clock;
pub mod codec;
mod error;
mod json;
mod prover;
mod report;
mod revocation;
mod scopes;
mod secret;
mod source;
mod token;
mod uri;

pub use challenge::{Challenge, Challenges};
pub use clock::{Clock, SystemClock};
pub use error::{BuildError, Error, ErrorKind, OAuthCode};
pub use prover::{ProofRequest, Prover, ServerNonces};
pub use report::{Flush, Report};
pub use revocation::{Revocation, RevocationSink, Revoked};
pub use scopes::Scopes;
pub use secret::Secret;
pub use source::{BoxFuture, Need, TokenSource};
pub use token::{Token, TokenId};
pub use uri::{EndpointUri, Issuer};
