//! Why a caller got no answer from a flight.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a caller got no answer from a flight.
///
/// Everybody who waited for a flight gets a clone of the same error, so it is [`Clone`] whatever
/// `E` is.
///
/// It is a [`std::error::Error`] when `E` is one. A boxed error is none itself; for that there is
/// [`into_boxed`](FlightError::into_boxed).
#[derive(Debug)]
#[non_exhaustive]
pub enum FlightError<E> {
    /// The inner service answered with this error, or was not ready because of it.
    Service(Arc<E>),
    /// The inner service or the `on_complete` hook panicked.
    ///
    /// The panic itself has gone to the panic hook of the process.
    Panicked,
    /// The runtime in which the flight was started was shut down before the call completed.
    ///
    /// Whether the call had its effect is not known. A caller whose own runtime lives may call
    /// again and will start a new flight.
    Lost,
    /// A call had to be started, and the caller was not inside a tokio runtime.
    NoRuntime,
    /// As many callers as allowed wait for this flight already.
    TooManyWaiters,
}

impl<E> FlightError<E> {
    /// The error of the inner service, if that is what it was.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_single_flight::FlightError;
    ///
    /// assert_eq!(FlightError::Service(Arc::new(404)).service(), Some(&404));
    /// assert_eq!(FlightError::<u16>::Lost.service(), None);
    /// ```
    pub fn service(&self) -> Option<&E> {
        match self {
            Self::Service(error) => Some(error),
            Self::Panicked | Self::Lost | Self::NoRuntime | Self::TooManyWaiters => None,
        }
    }
}

impl FlightError<Box<dyn Error + Send + Sync>> {
    /// Makes a boxed error of it, for services whose own error is a boxed one, as below `tower`'s
    /// timeout.
    ///
    /// The inner service's error is the [`source`](Error::source) of the new one.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_single_flight::FlightError;
    ///
    /// let error = FlightError::Service(Arc::new("connection refused".into())).into_boxed();
    /// assert_eq!(error.source().unwrap().to_string(), "connection refused");
    /// ```
    pub fn into_boxed(self) -> Box<dyn Error + Send + Sync> {
        Box::new(Boxed(self))
    }
}

// Derived, it would ask for `E: Clone`.
impl<E> Clone for FlightError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Service(error) => Self::Service(Arc::clone(error)),
            Self::Panicked => Self::Panicked,
            Self::Lost => Self::Lost,
            Self::NoRuntime => Self::NoRuntime,
            Self::TooManyWaiters => Self::TooManyWaiters,
        }
    }
}

impl<E> fmt::Display for FlightError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service(_) => "the shared call failed",
            Self::Panicked => "the shared call panicked",
            Self::Lost => "the runtime of the shared call was shut down",
            Self::NoRuntime => "a shared call can only be started inside a tokio runtime",
            Self::TooManyWaiters => "too many callers wait for the shared call",
        })
    }
}

impl<E: Error + 'static> Error for FlightError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.service().map(|error| error as &(dyn Error + 'static))
    }
}

/// What [`FlightError::into_boxed`] puts in the box.
struct Boxed(FlightError<Box<dyn Error + Send + Sync>>);

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Boxed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.service().map(|error| &**error as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Refused;

    impl fmt::Display for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("connection refused")
        }
    }

    impl Error for Refused {}

    #[test]
    fn every_error_says_its_own_and_leaves_the_source_to_the_chain() {
        let cases = [
            (FlightError::Service(Arc::new(Refused)), "the shared call failed", true),
            (FlightError::Panicked, "the shared call panicked", false),
            (FlightError::Lost, "the runtime of the shared call was shut down", false),
            (
                FlightError::NoRuntime,
                "a shared call can only be started inside a tokio runtime",
                false,
            ),
            (FlightError::TooManyWaiters, "too many callers wait for the shared call", false),
        ];
        for (error, text, has_source) in cases {
            assert_eq!(error.to_string(), text);
            assert!(!error.to_string().contains("connection refused"));
            assert_eq!(error.source().is_some_and(|e| e.is::<Refused>()), has_source, "{text}");
            assert_eq!(error.service().is_some(), has_source, "{text}");
            assert_eq!(error.clone().to_string(), text, "a clone is the same error");
        }
    }

    #[test]
    fn a_boxed_error_keeps_its_source() {
        let boxed = FlightError::Service(Arc::new(Box::from(Refused))).into_boxed();
        assert_eq!(boxed.to_string(), "the shared call failed");
        assert!(boxed.source().is_some_and(|e| e.is::<Refused>()));

        let lost = FlightError::<Box<dyn Error + Send + Sync>>::Lost.into_boxed();
        assert_eq!(lost.to_string(), "the runtime of the shared call was shut down");
        assert!(lost.source().is_none());
    }
}
