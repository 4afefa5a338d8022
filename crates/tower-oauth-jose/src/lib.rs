//! JWS, JWK and JWT claims: synchronous, pure, strict.
//!
//! This crate decides whether an access token in JWT form is valid. It does no input or output,
//! reads no clock and keeps no state; the server door of `tower-oauth` brings keys and time.
//!
//! A token goes through types, each of which proves that the steps before it were taken:
//!
//! 1. [`Unverified::parse`]: the size, the shape, the header. Hostile input ends here, cheaply.
//! 2. [`Unverified::check`]: everything about the claims that needs no key, by the [`Rules`]. A
//!    token that is expired or another issuer's never causes a key to be looked up or fetched.
//! 3. [`Checked::verify_by`] (or [`Checked::verify`]): the signature, with a key of a [`KeySet`].
//! 4. [`Verified::claims`]: only now are the claims given to the application, in its own type.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use tower_oauth_jose::{InvalidToken, KeySet, Rules, Unverified};
//!
//! let rules = Rules::builder("https://idp.example.com", "inventory").build()?;
//! let keys = KeySet::from_jwks(r#"{"keys":[]}"#)?;
//! let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
//!
//! fn authenticate(
//!     token: &str,
//!     rules: &Rules,
//!     keys: &KeySet,
//!     now: std::time::SystemTime,
//! ) -> Result<Option<String>, InvalidToken> {
//!     let verified = Unverified::parse(token)?.check(rules, now)?.verify_by(keys)?;
//!     Ok(verified.standard().subject().map(str::to_owned))
//! }
//!
//! assert_eq!(authenticate("not.a.token", &rules, &keys, now), Err(InvalidToken::Malformed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Keys and algorithms
//!
//! A key is checked, bound to its algorithms and parsed once, when it is loaded; see
//! [`VerifyingKey`]. RS256 to PS512, ES256, ES384 and Ed25519 are supported, over aws-lc-rs. HMAC is,
//! too, but only with a secret that is configured by hand ([`VerifyingKey::hmac`]) and by rules that
//! name it; a JWK never makes a secret. There is no `none` and no encryption. Of `jsonwebtoken` only
//! types appear, in conversions; its process-wide provider is never touched.
//!
//! # Senders
//!
//! A token that is bound to a key of its sender (`cnf`) is refused by [`Unverified::check`]. A caller that checks the sender takes
//! [`Unverified::check_bound`] and compares the [`Confirmation`] with the key of a [`DpopProof`] (RFC 9449) or the digest of a certificate
//! (RFC 8705).
//!
//! # Status lists
//!
//! With the feature `status-list` a [`Verified`] token tells where its status stands, and the list that its issuer has signed is
//! verified like a token (`Unverified::check_status_list`), unpacked under a cap (`PackedStatusList`), and looked up in (`StatusList`).
//!
//! # Signing
//!
//! [`SigningKey`] signs what a client proves itself with: a [`ClientAssertion`] (RFC 7523), and by a [`DpopSigner`] the proof beside a token that
//! is bound to it (RFC 9449). Tokens are not issued here.
//!
//! # Limits
//!
//! A token has at most [`MAX_TOKEN_BYTES`] (or what the rules say), its encoded header [`MAX_HEADER_BYTES`], a key id
//! [`MAX_KID_BYTES`]; JSON is nested at most 32 deep, with at most 256 members in an object; `aud`
//! lists at most 64 values; a key set at most 100 keys.

mod algorithm;
mod base64url;
mod claims;
mod confirmation;
mod dpop;
mod error;
mod header;
mod json;
mod key;
mod profile;
mod rules;
mod shape;
mod sign;
#[cfg(feature = "status-list")]
mod status_list;
mod text;
mod token;

pub use self::algorithm::{Algorithm, AlgorithmSet, UnknownAlgorithm};
pub use self::claims::{IntrospectedClaims, StandardClaims};
pub use self::confirmation::{CertificateDigest, Confirmation};
pub use self::dpop::{DpopProof, DpopRequest, DpopRules, InvalidProof, TargetUri};
pub use self::error::InvalidToken;
pub use self::key::{
    Candidates, KeyDiff, KeySet, KeySetError, NoKey, SkipReason, SkippedKey, Thumbprint,
    VerifyingKey,
};
pub use self::profile::Profile;
pub use self::rules::{InvalidRules, Rules, RulesBuilder};
pub use self::shape::is_jws_shaped;
pub use self::sign::{ClientAssertion, DpopClaims, DpopSigner, InvalidSigningKey, SigningKey};
#[cfg(feature = "status-list")]
pub use self::status_list::{
    LARGEST_STATUS_LIST_BYTES, PackedStatusList, StatusList, StatusReference,
};
pub use self::token::{Checked, Undecoded, Unproven, Unverified, Verified};

/// The longest DPoP proof that is looked at, in bytes: 8 KiB.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;
/// The longest token that is looked at if nothing else is said, in bytes: 8 KiB.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest token that can be asked for ([`RulesBuilder::max_token_bytes`]), in bytes: 64 KiB.
pub const LARGEST_TOKEN_BYTES: usize = 64 * 1024;
/// The longest header part of a token, encoded, in bytes: 2 KiB.
pub const MAX_HEADER_BYTES: usize = 2 * 1024;
/// The longest key id, in bytes.
pub const MAX_KID_BYTES: usize = 256;
