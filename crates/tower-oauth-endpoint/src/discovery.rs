use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_oauth_core::codec::{Metadata, MetadataCodec, MetadataRequest};
use tower_oauth_core::{BoxFuture, Error, ErrorKind, Issuer};
use tower_service::Service;

use crate::{BoxError, Endpoint};

/// Finds the metadata of an issuer: OpenID Connect Discovery §4.1 and RFC 8414 §3.
///
/// Tries the addresses of [`Issuer::metadata_uris`] in order and goes on to the next one only where
/// there is no metadata (4xx, or no JSON). A server in trouble, or a document that names another
/// issuer, ends the search: the answer of a second address would not be more trustworthy.
///
/// Nothing is cached here.
#[derive(Clone, Debug)]
pub struct Discovery<H> {
    endpoint: Endpoint<MetadataCodec, H>,
}

impl<H> Discovery<H> {
    /// Discovery over `http`; `codec` says which foreign hosts are trusted.
    pub const fn new(codec: MetadataCodec, http: H) -> Self {
        Self { endpoint: Endpoint::new(codec, http) }
    }

    /// Sets the total time of one address; 5 seconds by default.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.endpoint = self.endpoint.with_deadline(deadline);
        self
    }
}

impl<H, B> Service<Issuer> for Discovery<H>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Metadata;
    type Error = Error;
    type Future = BoxFuture<Result<Metadata, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Each address readies a clone of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, issuer: Issuer) -> Self::Future {
        let mut endpoint = self.endpoint.clone();
        let deadline = endpoint.deadline();
        Box::pin(async move {
            let uris = issuer.metadata_uris().map_err(|error| {
                Error::new(ErrorKind::Configuration("the issuer is not usable")).with_source(error)
            })?;
            let mut last = Error::from(ErrorKind::Configuration("the issuer has no metadata"));
            for uri in uris {
                // Tower leaves the wait for readiness to the caller, so the caller limits it.
                let ready = poll_fn(|cx| endpoint.poll_ready(cx));
                tokio::time::timeout(deadline, ready).await.map_err(|_| ErrorKind::Timeout)??;
                let request = MetadataRequest { issuer: issuer.clone(), uri };
                match endpoint.call(request).await {
                    Ok(metadata) => return Ok(metadata),
                    Err(error) if means_not_here(error.kind()) => last = error,
                    Err(error) => return Err(error),
                }
            }
            Err(last)
        })
    }
}

fn means_not_here(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Status(status) => (400..500).contains(&status) && status != 429,
        ErrorKind::Malformed(_) | ErrorKind::Redirect => true,
        _ => false,
    }
}
