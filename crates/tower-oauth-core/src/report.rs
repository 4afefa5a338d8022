use crate::TokenId;

/// How far the death of a token reaches, as a policy reads it from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flush {
    /// This token alone.
    Token,
    /// All tokens of the same subject: the user's, or the client's own.
    Subject,
    /// All tokens of the same issuer.
    Issuer,
}

/// What a door has seen and tells its source, for those who watch it
/// ([`TokenSource::report`](crate::TokenSource::report)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A request whose token was rejected was sent again with this one, and that one was accepted.
    Healed(TokenId),
    /// This token was rejected on a request that could not be sent again; the caller has the first answer.
    NotReplayable(TokenId),
    /// In place of this rejected token the source gave the same one again; there was nothing to try.
    SameTokenAgain(TokenId),
    /// More than this token has ended.
    Flush(TokenId, Flush),
    /// A request was not for an origin that the token is meant for, and went without it or not at all.
    OriginRefused,
}
