use std::fmt;

use crate::json::JsonError;
use crate::key::SkipReason;

/// Why a DPoP proof is refused (RFC 9449 section 4.3).
///
/// A closed list with fixed texts, as [`InvalidToken`](crate::InvalidToken) is one. To the client all of them are `invalid_dpop_proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidProof {
    /// The request has no `DPoP` field.
    Missing,
    /// The request has more than one `DPoP` field.
    Several,
    /// The proof, or an object inside it, is larger than the limit.
    TooLarge,
    /// Not a compact JWS with a JSON header and JSON claims.
    Malformed,
    /// The header or the claims name a member twice.
    DuplicateMember,
    /// A header parameter that is never accepted: `crit`, `b64`, `zip`, `enc` or `cty`.
    ForbiddenHeader(&'static str),
    /// `typ` is not `dpop+jwt`.
    WrongType,
    /// `alg` is missing, unknown (`none` and HMAC included), or not among those that are allowed.
    AlgorithmNotAllowed,
    /// There is no `jwk` in the header.
    MissingKey,
    /// The `jwk` in the header is no public key for signatures; a private one is refused too.
    InvalidKey(SkipReason),
    /// The `jwk` does not go with `alg`.
    KeyMismatch,
    /// The signature is not the key's.
    BadSignature,
    /// A claim that must be there is not.
    MissingClaim(&'static str),
    /// A claim of the wrong JSON type, empty, or out of range.
    InvalidClaim(&'static str),
    /// `htm` is not the request's method.
    WrongMethod,
    /// `htu` is not the request's target.
    WrongUri,
    /// `iat` lies too far in the past.
    TooOld,
    /// `iat` lies too far in the future.
    FromTheFuture,
    /// `ath` is the digest of another token than the request's.
    WrongToken,
    /// The token is bound to another key than the one that signed the proof.
    WrongKey,
    /// The proof has been used before.
    Replayed,
}

impl InvalidProof {
    /// A short fixed name, for log fields and metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "proof_missing",
            Self::Several => "proof_several",
            Self::TooLarge => "proof_too_large",
            Self::Malformed => "proof_malformed",
            Self::DuplicateMember => "proof_duplicate_member",
            Self::ForbiddenHeader(_) => "proof_forbidden_header",
            Self::WrongType => "proof_wrong_type",
            Self::AlgorithmNotAllowed => "proof_algorithm_not_allowed",
            Self::MissingKey => "proof_missing_key",
            Self::InvalidKey(_) => "proof_invalid_key",
            Self::KeyMismatch => "proof_key_mismatch",
            Self::BadSignature => "proof_bad_signature",
            Self::MissingClaim(_) => "proof_missing_claim",
            Self::InvalidClaim(_) => "proof_invalid_claim",
            Self::WrongMethod => "proof_wrong_method",
            Self::WrongUri => "proof_wrong_uri",
            Self::TooOld => "proof_too_old",
            Self::FromTheFuture => "proof_from_the_future",
            Self::WrongToken => "proof_wrong_token",
            Self::WrongKey => "proof_wrong_key",
            Self::Replayed => "proof_replayed",
        }
    }
}

impl fmt::Display for InvalidProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Missing => "there is no DPoP proof",
            Self::Several => "there are several DPoP proofs",
            Self::TooLarge => "the DPoP proof is too large",
            Self::Malformed => "the DPoP proof is malformed",
            Self::DuplicateMember => "the DPoP proof names a member twice",
            Self::ForbiddenHeader(name) => {
                return write!(f, "the header parameter {name} is not accepted in a DPoP proof");
            }
            Self::WrongType => "this is not a DPoP proof",
            Self::AlgorithmNotAllowed => "the signature algorithm of the DPoP proof is not allowed",
            Self::MissingKey => "the DPoP proof has no key",
            Self::InvalidKey(_) => "the key of the DPoP proof is not accepted",
            Self::KeyMismatch => "the key of the DPoP proof is not for this algorithm",
            Self::BadSignature => "the signature of the DPoP proof is wrong",
            Self::MissingClaim(name) => {
                return write!(f, "the claim {name} is missing in the DPoP proof");
            }
            Self::InvalidClaim(name) => {
                return write!(f, "the claim {name} is invalid in the DPoP proof");
            }
            Self::WrongMethod => "the DPoP proof is for another method",
            Self::WrongUri => "the DPoP proof is for another target",
            Self::TooOld => "the DPoP proof is too old",
            Self::FromTheFuture => "the DPoP proof is from the future",
            Self::WrongToken => "the DPoP proof is for another token",
            Self::WrongKey => "the token is bound to another key than that of the DPoP proof",
            Self::Replayed => "the DPoP proof has been used before",
        };
        f.write_str(text)
    }
}

impl std::error::Error for InvalidProof {}

impl From<JsonError> for InvalidProof {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed => Self::Malformed,
            JsonError::Duplicate => Self::DuplicateMember,
            JsonError::TooLarge => Self::TooLarge,
        }
    }
}
