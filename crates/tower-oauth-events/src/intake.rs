//! What comes in: bounded in number, size and time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_oauth_server::BoxError;

/// The time for a body to come in.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many requests are served at a time.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    places: Arc<Semaphore>,
    max_body: usize,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    /// It ended early, or did not come in time.
    Broken,
}

impl Intake {
    pub(crate) fn new(places: usize, max_body: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), max_body }
    }

    /// A place, if there is one. Nobody waits for it: the sender comes again.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    pub(crate) async fn read<B>(&self, body: B) -> Result<Bytes, Unread>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        if body.size_hint().lower() > self.max_body as u64 {
            return Err(Unread::TooLarge);
        }
        let body = Limited::new(body, self.max_body).collect();
        match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Unread::TooLarge)
            }
            Ok(Err(_)) | Err(_) => Err(Unread::Broken),
        }
    }
}

impl Unread {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is too large",
            Self::Broken => "the body did not come in whole",
        }
    }
}

/// Whether the one content type is this, whatever its parameters.
pub(crate) fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(expected)
}

/// The shortest and the longest time after which a sender is asked to come again, in seconds.
pub(crate) fn seconds(retry_after: Duration) -> u64 {
    retry_after.as_secs().clamp(1, 300)
}
