use std::error::Error as StdError;
use std::fmt;

use tower_oauth_core::{Error, ErrorKind};

/// Any error of an inner service.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a call through a client layer failed.
///
/// A rejected token is no error: the resource's answer comes back as it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no token, so nothing was sent.
    Token(NoToken),
    /// The request must not have a token, so nothing was sent.
    Refused(RefusedRequest),
    /// The inner service failed. The box holds its own error, unchanged.
    Inner(BoxError),
}

/// No token could be had.
///
/// With the `tonic` feature a `tonic::Status` stands in the chain of sources, `UNAVAILABLE` where
/// the same call may succeed later, else `UNAUTHENTICATED`; a tonic client reports it instead of
/// `Unknown`.
#[derive(Debug)]
pub struct NoToken {
    error: Error,
    #[cfg(feature = "tonic")]
    status: tonic::Status,
}

impl NoToken {
    pub(crate) fn new(error: Error) -> Self {
        #[cfg(feature = "tonic")]
        let status = {
            let code = if error.is_transient() {
                tonic::Code::Unavailable
            } else {
                tonic::Code::Unauthenticated
            };
            let mut status = tonic::Status::new(code, format!("no access token: {error}"));
            status.set_source(std::sync::Arc::new(error.clone()));
            status
        };
        Self {
            error,
            #[cfg(feature = "tonic")]
            status,
        }
    }

    /// The deadline that the request carries has passed while it waited for a token.
    pub(crate) fn late() -> Self {
        let error = Error::from(ErrorKind::Timeout);
        Self {
            #[cfg(feature = "tonic")]
            status: {
                let mut status = tonic::Status::deadline_exceeded("no access token in time");
                status.set_source(std::sync::Arc::new(error.clone()));
                status
            },
            error,
        }
    }

    /// Why there is no token.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no access token")
    }
}

impl StdError for NoToken {
    #[cfg(not(feature = "tonic"))]
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }

    #[cfg(feature = "tonic")]
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.status)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) | Self::Refused(_) => "request not sent",
            Self::Inner(_) => "request failed",
        })
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::Refused(error) => Some(error),
            Self::Inner(error) => Some(error.as_ref()),
        }
    }
}

/// A request that was not sent, because the settings of the layer forbid it or are not enough for it.
///
/// With the `tonic` feature a `tonic::Status` of `FAILED_PRECONDITION` stands in the chain of sources.
#[derive(Debug)]
pub struct RefusedRequest {
    why: Refusal,
    #[cfg(feature = "tonic")]
    status: tonic::Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Plain `http` to another machine.
    PlainHttp,
    /// Nobody can say for sure where the URI leads to.
    NoOrigin,
    OtherOrigin,
    OwnAuthorization,
    /// A proof would have to name an origin that nobody has told.
    NoProofOrigin,
}

impl RefusedRequest {
    pub(crate) fn new(why: Refusal) -> Self {
        Self {
            why,
            #[cfg(feature = "tonic")]
            status: tonic::Status::failed_precondition(why.as_str()),
        }
    }

    /// Plain `http` to another machine would show the token to the network (RFC 6750 §5.3).
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.why == Refusal::PlainHttp
    }

    /// The origin of the request is not one that the token is meant for, or cannot be told for sure.
    #[must_use]
    pub fn is_other_origin(&self) -> bool {
        matches!(self.why, Refusal::OtherOrigin | Refusal::NoOrigin)
    }

    /// The token is bound to a key, and its proof has to name an origin that the request does not show (a tonic `Channel` adds it further
    /// in): set `dpop_origin`, or one origin by `with_origins`.
    #[must_use]
    pub fn is_missing_dpop_origin(&self) -> bool {
        self.why == Refusal::NoProofOrigin
    }

    /// The request carries an `Authorization` of its own, and the layer was told to refuse that.
    #[must_use]
    pub fn is_own_authorization(&self) -> bool {
        self.why == Refusal::OwnAuthorization
    }
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::PlainHttp => "a token must not travel by plain http",
            Self::NoOrigin => "where the request leads to cannot be told for sure",
            Self::OtherOrigin => "the token is not meant for the origin of the request",
            Self::OwnAuthorization => "the request has an authorization of its own",
            Self::NoProofOrigin => "the origin for the proof is not known: set dpop_origin",
        }
    }
}

impl fmt::Display for RefusedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.as_str())
    }
}

impl StdError for RefusedRequest {
    #[cfg(feature = "tonic")]
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.status)
    }
}
