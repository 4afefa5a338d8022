use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tower_oauth_core::codec::{ClientAuth, MetadataCodec, TokenCodec, TokenRequest, TokenResponse};
use tower_oauth_core::{BoxFuture, Clock, EndpointUri, Error, ErrorKind, Issuer};
use tower_oauth_endpoint::{Discovery, Endpoint, HttpClient};
use tower_service::Service;

/// The token endpoint of one client, found by discovery where it was not given.
#[derive(Clone)]
pub(super) struct TokenEdge {
    pub(super) address: Address,
    pub(super) auth: ClientAuth,
    pub(super) http: HttpClient,
    pub(super) deadline: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub(super) enum Address {
    Fixed(EndpointUri),
    Discovered {
        issuer: Issuer,
        codec: MetadataCodec,
        /// What was found, and when.
        found: Arc<ArcSwapOption<(EndpointUri, Instant)>>,
    },
}

/// Metadata is read again after an hour, and when the endpoint that it named is not there.
const METADATA_LIFE: Duration = Duration::from_secs(60 * 60);

impl Service<TokenRequest> for TokenEdge {
    type Response = TokenResponse;
    type Error = Error;
    type Future = BoxFuture<Result<TokenResponse, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Discovery and exchange each ready a clone of the HTTP client.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let edge = self.clone();
        Box::pin(async move {
            let uri = edge.endpoint().await?;
            let codec = TokenCodec::new(uri, edge.auth.clone());
            let mut endpoint = Endpoint::new(codec, edge.http.clone()).with_deadline(edge.deadline);
            std::future::poll_fn(|cx| endpoint.poll_ready(cx)).await?;
            let answer = endpoint.call(request).await;
            if let (Err(error), Address::Discovered { found, .. }) = (&answer, &edge.address)
                && may_have_moved(error.kind())
            {
                found.store(None);
            }
            answer
        })
    }
}

impl TokenEdge {
    async fn endpoint(&self) -> Result<EndpointUri, Error> {
        let (issuer, codec, found) = match &self.address {
            Address::Fixed(uri) => return Ok(uri.clone()),
            Address::Discovered { issuer, codec, found } => (issuer, codec, found),
        };
        let now = self.clock.now();
        if let Some(held) = found.load_full()
            && now.saturating_duration_since(held.1) < METADATA_LIFE
        {
            return Ok(held.0.clone());
        }
        let mut discovery =
            Discovery::new(codec.clone(), self.http.clone()).with_deadline(self.deadline);
        let metadata = discovery.call(issuer.clone()).await?;
        let uri = metadata
            .token_endpoint
            .ok_or(ErrorKind::Configuration("the metadata has no token_endpoint"))?;
        found.store(Some(Arc::new((uri.clone(), now))));
        Ok(uri)
    }
}

fn may_have_moved(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transport | ErrorKind::Redirect | ErrorKind::Status(404 | 405 | 410))
}
