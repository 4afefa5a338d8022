//! Where to ask: by configuration, or by discovery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tower_oauth_core::codec::{Metadata, MetadataCodec};
use tower_oauth_core::{Clock, EndpointUri, Error, ErrorKind, Issuer};
use tower_oauth_endpoint::{Discovery, HttpClient};
use tower_service::Service;
use tower_single_flight::SingleFlight;

use super::edge::{DEADLINE, flatten};

/// How long a discovered address is believed.
const REDISCOVER: Duration = Duration::from_secs(60 * 60);
/// How long it is believed when asking again was no use.
const REDISCOVER_SOON: Duration = Duration::from_secs(60);
/// The time for asking again while an address is known, so that some is left for the question.
const REDISCOVERY_DEADLINE: Duration = Duration::from_secs(2);
/// A failing endpoint is looked for no more often than this.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// Where to ask.
///
/// It is not the `Locator` of the other endpoints, which are called once in a while: questions come by the hundred. Here they share one
/// discovery, and one that has failed is not repeated by each of them.
pub(super) enum Place {
    Uri(EndpointUri),
    Issuer(Box<Discovered>),
}

pub(super) struct Discovered {
    issuer: Issuer,
    discovery: SharedDiscovery,
    found: ArcSwapOption<Found>,
    clock: Arc<dyn Clock>,
}

/// Many tokens that come at the same moment ask for the metadata once.
type SharedDiscovery = SingleFlight<Discovery<HttpClient>, fn(&Issuer), (), Metadata, Error>;

/// A discovered address.
struct Found {
    uri: EndpointUri,
    again_at: Instant,
    /// When somebody last looked, with or without success.
    looked_at: Instant,
}

impl Place {
    pub(super) fn discovered(
        issuer: Issuer,
        codec: MetadataCodec,
        http: HttpClient,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let discovery = SingleFlight::new(Discovery::new(codec, http), (|_| ()) as fn(&Issuer));
        let found = ArcSwapOption::empty();
        Self::Issuer(Box::new(Discovered { issuer, discovery, found, clock }))
    }

    pub(super) async fn address(&self) -> Result<EndpointUri, Error> {
        let place = match self {
            Self::Uri(uri) => return Ok(uri.clone()),
            Self::Issuer(place) => place,
        };
        let Some(known) = place.found.load_full() else { return place.discover(DEADLINE).await };
        let now = place.clock.now();
        if now < known.again_at {
            return Ok(known.uri.clone());
        }
        // An address that has worked is better than none.
        Ok(place.discover(REDISCOVERY_DEADLINE).await.unwrap_or_else(|_| {
            place.remember(known.uri.clone(), now, REDISCOVER_SOON);
            known.uri.clone()
        }))
    }

    /// Another address than this one, where a question has failed in this way.
    pub(super) async fn moved(&self, from: &EndpointUri, how: ErrorKind) -> Option<EndpointUri> {
        let Self::Issuer(place) = self else { return None };
        if !may_have_moved(how) {
            return None;
        }
        let known = place.found.load_full()?;
        if known.uri != *from {
            // Somebody else has found it.
            return Some(known.uri.clone());
        }
        let now = place.clock.now();
        if now.saturating_duration_since(known.looked_at) < LOOK_PAUSE {
            return None;
        }
        match place.discover(REDISCOVERY_DEADLINE).await {
            Ok(uri) => Some(uri).filter(|uri| uri != from),
            Err(_) => {
                let left = known.again_at.saturating_duration_since(now);
                place.remember(known.uri.clone(), now, left);
                None
            }
        }
    }
}

impl Discovered {
    async fn discover(&self, patience: Duration) -> Result<EndpointUri, Error> {
        let asked = self.discovery.clone().call(self.issuer.clone());
        let metadata = tokio::time::timeout(patience, asked)
            .await
            .map_err(|_| ErrorKind::Timeout)?
            .map_err(flatten)?;
        let uri = metadata.introspection_endpoint()?;
        self.remember(uri.clone(), self.clock.now(), REDISCOVER);
        Ok(uri)
    }

    fn remember(&self, uri: EndpointUri, now: Instant, believed: Duration) {
        let again_at = now.checked_add(believed).unwrap_or(now);
        self.found.store(Some(Arc::new(Found { uri, again_at, looked_at: now })));
    }
}

fn may_have_moved(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transport | ErrorKind::Redirect | ErrorKind::Status(404 | 405 | 410))
}
