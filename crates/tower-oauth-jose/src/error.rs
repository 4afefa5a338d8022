use std::fmt;

/// Why a token is refused.
///
/// A closed list with fixed texts: nothing that came with the token is in it, so it may be logged,
/// counted and shown. To the client all of them are `invalid_token` (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidToken {
    /// The token, its header part, its key id, or an object inside it is larger than the limit.
    TooLarge,
    /// Not a compact JWS with a JSON header and JSON claims (RFC 7515 section 7.1).
    Malformed,
    /// A header or claims object names a member twice (RFC 7515 section 4, RFC 7519 section 4).
    DuplicateMember,
    /// A header parameter that is never accepted: `crit`, `b64`, `zip`, `enc`, `cty` or `jwk`.
    ForbiddenHeader(&'static str),
    /// A header parameter of the wrong JSON type, or empty.
    InvalidHeader(&'static str),
    /// `alg` is missing, unknown (`none` and HMAC included), or not among those that are allowed.
    AlgorithmNotAllowed,
    /// `typ` says that this is another kind of token (RFC 8725 section 3.11).
    WrongType,
    /// A claim that must be there is not.
    MissingClaim(&'static str),
    /// A claim of the wrong JSON type, empty, or out of range.
    InvalidClaim(&'static str),
    /// A claim that tells another kind of token (RFC 8725 section 3.12).
    ForbiddenClaim(&'static str),
    /// `iss` is not, byte for byte, the issuer that is trusted.
    WrongIssuer,
    /// `aud` names none of the audiences that we are.
    WrongAudience,
    /// The token was issued to a client that is not on the list.
    WrongClient,
    /// The time is at or after `exp` (RFC 7519 section 4.1.4).
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// The token lives longer than the maximum.
    LifetimeTooLong,
    /// The token is bound to a key of its sender (`cnf`) and was sent as a plain bearer token.
    SenderConstrained,
    /// The token is not bound to a key of its sender, and only bound ones are accepted here.
    NotSenderConstrained,
    /// The token is bound to another key, or another certificate, than its sender has shown.
    WrongSender,
    /// No key is known under the token's key id. A refetch of the key set may help.
    UnknownKey,
    /// The key under the token's key id does not go with the token's `alg`.
    KeyMismatch,
    /// The token names no key id and several keys would fit.
    AmbiguousKey,
    /// The signature is not the key's.
    BadSignature,
    /// The token is valid, but its claims do not fit the type that the application asked for.
    UnfitClaims,
    /// The token is valid, but a check of the application refuses it. The text is the application's
    /// own, fixed in its code; the client is not told.
    CheckFailed(&'static str),
    /// Its issuer has ended it before its time: revoked, logged out, or forgotten (RFC 7662 section 2.2).
    Inactive,
    /// Its issuer has suspended it: it may become valid again (draft-ietf-oauth-status-list section 7.1).
    Suspended,
    /// Its issuer gives it a status that means nothing here (draft-ietf-oauth-status-list section 7.1).
    UnknownStatus,
    /// The status list that it names has no entry for it (draft-ietf-oauth-status-list section 8.3).
    NoStatus,
}

impl InvalidToken {
    /// A short fixed name, for log fields and metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::DuplicateMember => "duplicate_member",
            Self::ForbiddenHeader(_) => "forbidden_header",
            Self::InvalidHeader(_) => "invalid_header",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::WrongType => "wrong_type",
            Self::MissingClaim(_) => "missing_claim",
            Self::InvalidClaim(_) => "invalid_claim",
            Self::ForbiddenClaim(_) => "forbidden_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::WrongClient => "wrong_client",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::SenderConstrained => "sender_constrained",
            Self::NotSenderConstrained => "not_sender_constrained",
            Self::WrongSender => "wrong_sender",
            Self::UnknownKey => "unknown_key",
            Self::KeyMismatch => "key_mismatch",
            Self::AmbiguousKey => "ambiguous_key",
            Self::BadSignature => "bad_signature",
            Self::UnfitClaims => "unfit_claims",
            Self::CheckFailed(_) => "check_failed",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
            Self::UnknownStatus => "unknown_status",
            Self::NoStatus => "no_status",
        }
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::TooLarge => "the token is too large",
            Self::Malformed => "the token is malformed",
            Self::DuplicateMember => "the token names a member twice",
            Self::ForbiddenHeader(name) => {
                return write!(f, "the header parameter {name} is not accepted");
            }
            Self::InvalidHeader(name) => {
                return write!(f, "the header parameter {name} is invalid");
            }
            Self::AlgorithmNotAllowed => "the signature algorithm is not allowed",
            Self::WrongType => "this is another type of token",
            Self::MissingClaim(name) => return write!(f, "the claim {name} is missing"),
            Self::InvalidClaim(name) => return write!(f, "the claim {name} is invalid"),
            Self::ForbiddenClaim(name) => {
                return write!(f, "the claim {name} belongs to another type of token");
            }
            Self::WrongIssuer => "the issuer is not trusted",
            Self::WrongAudience => "the token is meant for another audience",
            Self::WrongClient => "the token was issued to another client",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::LifetimeTooLong => "the token lives longer than is accepted",
            Self::SenderConstrained => "the token is bound to a key of its sender",
            Self::NotSenderConstrained => "the token is not bound to a key of its sender",
            Self::WrongSender => "the token is bound to another sender",
            Self::UnknownKey => "the signing key is unknown",
            Self::KeyMismatch => "the signing key is not for this algorithm",
            Self::AmbiguousKey => "the token does not say which key signed it",
            Self::BadSignature => "the signature is wrong",
            Self::UnfitClaims => "the claims do not have the expected form",
            Self::CheckFailed(_) => "the application does not accept the token",
            Self::Inactive => "the token is not active any more",
            Self::Suspended => "the token is suspended",
            Self::UnknownStatus => "the token has a status that is not accepted",
            Self::NoStatus => "the status list does not know the token",
        };
        f.write_str(text)
    }
}

impl std::error::Error for InvalidToken {}
