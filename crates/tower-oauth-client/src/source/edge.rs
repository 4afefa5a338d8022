use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_oauth_core::codec::{ClientAuth, TokenCodec, TokenRequest, TokenResponse};
use tower_oauth_core::{BoxFuture, EndpointUri, Error};
use tower_oauth_endpoint::{Endpoint, HttpClient, Locator};
use tower_service::Service;

/// The token endpoint of one client, wherever it is.
#[derive(Clone)]
pub(super) struct TokenEdge {
    pub(super) locator: Locator,
    pub(super) auth: ClientAuth,
    pub(super) http: HttpClient,
    pub(super) deadline: Duration,
}

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
        Box::pin(async move { edge.locator.call(|uri| edge.exchange(uri, request.clone())).await })
    }
}

impl TokenEdge {
    async fn exchange(
        &self,
        uri: EndpointUri,
        request: TokenRequest,
    ) -> Result<TokenResponse, Error> {
        let codec = TokenCodec::new(uri, self.auth.clone());
        let mut endpoint = Endpoint::new(codec, self.http.clone()).with_deadline(self.deadline);
        poll_fn(|cx| endpoint.poll_ready(cx)).await?;
        endpoint.call(request).await
    }
}
