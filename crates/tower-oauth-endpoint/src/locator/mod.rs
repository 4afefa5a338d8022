mod several;

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tower_oauth_core::codec::Metadata;
use tower_oauth_core::{Clock, EndpointUri, Error, ErrorKind, Issuer};
use tower_service::Service;

pub use self::several::FurtherAddresses;
use crate::{Discovery, HttpClient};

/// Metadata is read again after an hour.
const METADATA_LIFE: Duration = Duration::from_secs(60 * 60);

/// The time for reading it again while an address is known, so that some is left to use it.
const REDISCOVERY_DEADLINE: Duration = Duration::from_secs(2);

/// Knows where one endpoint of an issuer is: by configuration, or by discovery.
///
/// What was discovered is believed for an hour. After that, and when nobody answers where the
/// endpoint was, the metadata is read again; an address that has worked is better than none, so an
/// issuer whose metadata cannot be read just then does not stop anything.
///
/// There may be [further addresses](Self::also_at) of the same endpoint, which are tried where the first one is in trouble.
///
/// Cloning is a reference count; clones share what was found.
#[derive(Clone)]
pub struct Locator {
    place: Arc<Place>,
    others: Option<Arc<FurtherAddresses>>,
}

enum Place {
    Fixed(EndpointUri),
    Discovered(Box<Discovered>),
}

struct Discovered {
    issuer: Issuer,
    discovery: Discovery<HttpClient>,
    pick: fn(&Metadata) -> Result<EndpointUri, Error>,
    clock: Arc<dyn Clock>,
    found: Mutex<Option<Found>>,
}

#[derive(Clone)]
struct Found {
    uri: EndpointUri,
    at: Instant,
}

impl Locator {
    /// The endpoint is there, and nothing is discovered.
    #[must_use]
    pub fn fixed(uri: EndpointUri) -> Self {
        Self { place: Arc::new(Place::Fixed(uri)), others: None }
    }

    /// The endpoint is where the issuer's metadata says; `pick` takes it out of them.
    #[must_use]
    pub fn discovered(
        issuer: Issuer,
        discovery: Discovery<HttpClient>,
        pick: fn(&Metadata) -> Result<EndpointUri, Error>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let found = Mutex::new(None);
        let place =
            Place::Discovered(Box::new(Discovered { issuer, discovery, pick, clock, found }));
        Self { place: Arc::new(place), others: None }
    }

    /// Further addresses of the same endpoint: a passive one beside an active one, other regions. An empty list changes nothing.
    ///
    /// They are tried in their order where an address is in passing trouble ([`Error::is_transient`]); a refusal is an
    /// answer, whichever address gives it. The one that answered is asked first from then on, until the first one is
    /// tried again after 30 seconds, doubling up to 5 minutes. `deadline` holds for all tries together; each address gets an
    /// equal share of what is left of it.
    #[must_use]
    pub fn also_at(
        mut self,
        uris: impl IntoIterator<Item = EndpointUri>,
        clock: Arc<dyn Clock>,
        deadline: Duration,
    ) -> Self {
        let uris: Vec<_> = uris.into_iter().collect();
        self.others =
            (!uris.is_empty()).then(|| Arc::new(FurtherAddresses::new(uris, clock, deadline)));
        self
    }

    /// Calls the endpoint; once more, if nobody answers there and the metadata name another place; and
    /// at its further addresses, while there is trouble that passes.
    ///
    /// # Errors
    /// Those of `call`, and of the discovery where no address is known;
    /// [`ErrorKind::Configuration`] if the metadata do not name the endpoint.
    pub async fn call<T, F>(&self, call: impl Fn(EndpointUri) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.call_where(call, |_| true).await
    }

    /// As [`call`](Self::call), for what must not be sent twice: after an error a second call is made only if
    /// `may_repeat` allows it.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_where<T, F>(
        &self,
        call: impl Fn(EndpointUri) -> F,
        may_repeat: impl Fn(&Error) -> bool,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (call, may_repeat) = (&call, &may_repeat);
        match &self.others {
            None => self.place.call(call, may_repeat).await,
            Some(others) => {
                let at = |uri: Option<EndpointUri>| async move {
                    match uri {
                        None => self.place.call(call, may_repeat).await,
                        Some(uri) => call(uri).await,
                    }
                };
                others.call(at, may_repeat).await
            }
        }
    }
}

impl Place {
    async fn call<T, F>(
        &self,
        call: impl Fn(EndpointUri) -> F,
        may_repeat: impl Fn(&Error) -> bool,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let place = match self {
            Place::Fixed(uri) => return call(uri.clone()).await,
            Place::Discovered(place) => place,
        };
        let known = place.found().clone();
        let now = place.clock.now();
        let is_recent = |found: &Found| now.saturating_duration_since(found.at) < METADATA_LIFE;
        let (uri, was_believed) = match known {
            Some(found) if is_recent(&found) => (found.uri, true),
            Some(found) => {
                (place.discover(Some(REDISCOVERY_DEADLINE)).await.unwrap_or(found.uri), false)
            }
            None => (place.discover(None).await?, false),
        };
        let result = call(uri.clone()).await;
        match result {
            Err(error) if was_believed && may_have_moved(error.kind()) && may_repeat(&error) => {
                match place.discover(Some(REDISCOVERY_DEADLINE)).await {
                    Ok(moved) if moved != uri => call(moved).await,
                    _ => Err(error),
                }
            }
            result => result,
        }
    }
}

impl Discovered {
    async fn discover(&self, deadline: Option<Duration>) -> Result<EndpointUri, Error> {
        let mut discovery = self.discovery.clone();
        if let Some(deadline) = deadline {
            discovery = discovery.with_deadline(deadline);
        }
        poll_fn(|cx| discovery.poll_ready(cx)).await?;
        let metadata = discovery.call(self.issuer.clone()).await?;
        let uri = (self.pick)(&metadata)?;
        // Stored before the endpoint is called, so that a slow issuer gets further each time.
        *self.found() = Some(Found { uri: uri.clone(), at: self.clock.now() });
        Ok(uri)
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_have_moved(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transport | ErrorKind::Redirect | ErrorKind::Status(404 | 405 | 410))
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.place {
            Place::Fixed(uri) => f.debug_tuple("Locator").field(uri).finish(),
            Place::Discovered(place) => f.debug_tuple("Locator").field(&place.issuer).finish(),
        }
    }
}
