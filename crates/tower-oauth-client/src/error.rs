use std::error::Error as StdError;
use std::fmt;

use tower_oauth_core::Error;

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
            Self::Token(_) => "request not sent",
            Self::Inner(_) => "request failed",
        })
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::Inner(error) => Some(error.as_ref()),
        }
    }
}
