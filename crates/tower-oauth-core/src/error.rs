use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A configuration that cannot work, told by the builder that was given it.
///
/// `Display` names the option, the value (never a secret) and the reason.
#[derive(Clone, Debug)]
pub struct BuildError {
    option: &'static str,
    value: String,
    why: &'static str,
}

impl BuildError {
    /// Names the option, its value and why it is refused. Do not pass a secret as the value.
    #[must_use]
    pub fn new(option: &'static str, value: impl fmt::Display, why: &'static str) -> Self {
        Self { option, value: value.to_string(), why }
    }

    /// The same refusal under the name of another option.
    #[must_use]
    pub fn with_option(mut self, option: &'static str) -> Self {
        self.option = option;
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug formatting of the value would double the backslashes of a Windows path; escaping
        // control characters is enough to keep one error on one line of a log.
        write!(f, "{} `{}`: {}", self.option, self.value.escape_debug(), self.why)
    }
}

impl StdError for BuildError {}

/// Why there is no token, no key set or no metadata.
///
/// Cheap to clone: one failure is told to everybody who waited for the same call. `Display` is a
/// closed set of texts; nothing that a server sent is repeated in it. What the transport said is
/// the [`source`](StdError::source).
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What went wrong, as a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot work: a wrong issuer in the metadata, an endpoint that is missing there.
    Configuration(&'static str),
    /// No connection, or it broke: DNS, TCP, TLS, HTTP framing.
    Transport,
    /// The total deadline passed.
    Timeout,
    /// The answer was larger than the cap.
    TooLarge,
    /// The server answered with a redirect. Credentials are not sent to a second address (RFC 9700 §4.12).
    Redirect,
    /// A status that is neither success nor an OAuth error answer.
    Status(u16),
    /// A success answer that is not what the protocol promises; the text says which part.
    Malformed(&'static str),
    /// The authorization server refused, in OAuth's own words (RFC 6749 §5.2).
    OAuth(OAuthCode),
    /// The token does not cover the scope that was asked for (RFC 6749 §3.3).
    NarrowScope,
    /// Tokens are rejected at first sight again and again; no exchange is spent on the next one yet.
    BudgetSpent,
    /// The server issued another type of token than the exchange asked for (RFC 8693 §2.2.1).
    WrongTokenType,
    /// What the session was renewed with is refused, and there is nothing to fall back on: somebody has to
    /// sign in again. The refusal is the source.
    Reauthenticate,
    /// The session was logged out; new credentials begin another one.
    LoggedOut,
    /// The store that keeps refresh tokens does not work.
    Store,
    /// Tokens that were accepted die again and again soon after they were issued: another holder of the
    /// same account is active, and each exchange of one ends the token of the other. Nothing is sent for a moment.
    Duel,
    /// A credential library behind the source failed; what it said is the source of the error.
    Foreign,
    /// The source cannot give another token than the one that was refused.
    NotRenewable,
    /// The call panicked. The next one starts anew.
    Panicked,
    /// The runtime that ran the call has ended.
    Lost,
    /// There is no Tokio runtime to run the call on.
    NoRuntime,
    /// Too many callers wait for the same call.
    TooManyWaiters,
    /// A bounded store has no room for what has to be remembered.
    Full,
}

/// The error codes of OAuth's token endpoint, as a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OAuthCode {
    /// `invalid_request` (RFC 6749 §5.2).
    InvalidRequest,
    /// `invalid_client` (RFC 6749 §5.2): unknown client, or its authentication failed.
    InvalidClient,
    /// `invalid_grant` (RFC 6749 §5.2).
    InvalidGrant,
    /// `unauthorized_client` (RFC 6749 §5.2).
    UnauthorizedClient,
    /// `unsupported_grant_type` (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// `invalid_scope` (RFC 6749 §5.2).
    InvalidScope,
    /// `invalid_target` (RFC 8707 §2): the resource or audience is not known.
    InvalidTarget,
    /// `unsupported_token_type` (RFC 7009 §2.2.1): tokens of this kind cannot be revoked there.
    UnsupportedTokenType,
    /// `use_dpop_nonce` (RFC 9449 §8): the proof has to carry the nonce that came with this answer.
    UseDpopNonce,
    /// `invalid_dpop_proof` (RFC 9449 §5): the server does not take the proof; its clock may be another one than ours.
    InvalidDpopProof,
    /// A code that this crate does not know. Its text is not kept.
    Other,
}

impl OAuthCode {
    /// Reads the wire form.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            "invalid_target" => Self::InvalidTarget,
            "unsupported_token_type" => Self::UnsupportedTokenType,
            "use_dpop_nonce" => Self::UseDpopNonce,
            "invalid_dpop_proof" => Self::InvalidDpopProof,
            _ => Self::Other,
        }
    }

    /// The wire form; `other` for a code that is not known.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::Other => "other",
        }
    }
}

impl Error {
    /// The longest `Retry-After` that is honoured: 5 minutes.
    pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

    /// An error of this kind, without a source.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    /// Adds what caused it. `Display` does not repeat it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Adds when to ask again, by the server's wish or where a back-off ends, clamped to [`Self::MAX_RETRY_AFTER`].
    #[must_use]
    pub fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay.map(|delay| delay.min(Self::MAX_RETRY_AFTER));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// When to ask again, if the server said so or a back-off knows it; at most 5 minutes.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same request may succeed a moment later.
    ///
    /// `false` means that somebody has to change something (credentials, scope, configuration).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::Transport
            | ErrorKind::Timeout
            | ErrorKind::TooLarge
            | ErrorKind::Malformed(_)
            | ErrorKind::BudgetSpent
            | ErrorKind::Duel
            | ErrorKind::Foreign
            | ErrorKind::Panicked
            | ErrorKind::Lost
            | ErrorKind::TooManyWaiters
            | ErrorKind::Store
            | ErrorKind::Full => true,
            ErrorKind::Status(status) => status >= 500 || matches!(status, 408 | 425 | 429),
            ErrorKind::Configuration(_)
            | ErrorKind::Redirect
            | ErrorKind::OAuth(_)
            | ErrorKind::NarrowScope
            | ErrorKind::WrongTokenType
            | ErrorKind::Reauthenticate
            | ErrorKind::LoggedOut
            | ErrorKind::NotRenewable
            | ErrorKind::NoRuntime => false,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(what) => write!(f, "configuration cannot work: {what}"),
            Self::Transport => f.write_str("connection failed"),
            Self::Timeout => f.write_str("deadline passed"),
            Self::TooLarge => f.write_str("answer is larger than the cap"),
            Self::Redirect => f.write_str("answer is a redirect"),
            Self::Status(status) => write!(f, "answer has status {status}"),
            Self::Malformed(what) => write!(f, "answer is malformed: {what}"),
            Self::OAuth(code) => write!(f, "authorization server refused: {}", code.as_str()),
            Self::NarrowScope => f.write_str("token has less scope than was asked for"),
            Self::BudgetSpent => f.write_str("tokens are rejected at first sight; waiting"),
            Self::WrongTokenType => f.write_str("another type of token was issued than asked for"),
            Self::Reauthenticate => f.write_str("the session has ended: sign in again"),
            Self::LoggedOut => f.write_str("the session was logged out"),
            Self::Store => f.write_str("the store for refresh tokens does not work"),
            Self::Duel => f.write_str("another holder of the account is active; waiting"),
            Self::Foreign => f.write_str("the credential library failed"),
            Self::NotRenewable => f.write_str("the token cannot be replaced"),
            Self::Panicked => f.write_str("the call panicked"),
            Self::Lost => f.write_str("the runtime of the call has ended"),
            Self::NoRuntime => f.write_str("there is no Tokio runtime"),
            Self::TooManyWaiters => f.write_str("too many callers wait for the same call"),
            Self::Full => f.write_str("a bounded store is full"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.kind, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.kind);
        if let Some(delay) = &self.retry_after {
            out.field("retry_after", delay);
        }
        if let Some(source) = &self.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_does_not_repeat_the_source() {
        let error = Error::new(ErrorKind::Transport).with_source("refused");
        assert_eq!(error.to_string(), "connection failed");
        assert_eq!(error.source().unwrap().to_string(), "refused");
    }

    #[test]
    fn a_build_error_stays_on_one_line() {
        let error = BuildError::new("issuer", "a\nb\u{1b}[31m", "is odd");
        assert_eq!(error.to_string(), "issuer `a\\nb\\u{1b}[31m`: is odd");
    }

    #[test]
    fn retry_after_is_clamped() {
        let error =
            Error::from(ErrorKind::Status(503)).with_retry_after(Some(Duration::from_secs(9999)));
        assert_eq!(error.retry_after(), Some(Error::MAX_RETRY_AFTER));
    }
}
