use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "dpop")]
use tower_oauth_core::codec::TokenType;
use tower_oauth_core::codec::{
    ClientAuth, Codec, RevocationCodec, RevocationRequest, TokenAnswer, TokenCodec, TokenRequest,
};
use tower_oauth_core::{Clock, EndpointUri, Error, ErrorKind, OAuthCode, Prover};
use tower_oauth_endpoint::{Endpoint, HttpClient, Locator};
use tower_service::Service;

use crate::auth::{Client, Resolved, Try};
#[cfg(feature = "dpop")]
use crate::dpop::{KeyProver, ProvenCodec};

/// The endpoints of one client at its authorization server, wherever they are.
#[derive(Clone)]
pub(crate) struct ClientEdge {
    pub(crate) tokens: Locator,
    /// `None`: nobody has said where tokens are revoked.
    pub(crate) revocation: Option<Locator>,
    pub(crate) client: Client,
    pub(crate) issuer: Option<String>,
    pub(crate) http: HttpClient,
    pub(crate) deadline: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// What tokens are to be bound to.
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<Arc<KeyProver>>,
}

impl ClientEdge {
    /// Asks for a token. It is sent a second time, to where the endpoint is by now or to another address of it, only after an
    /// error where `may_repeat` says so.
    pub(crate) async fn exchange(
        &self,
        request: TokenRequest,
        may_repeat: impl Fn(&Error) -> bool,
    ) -> Result<TokenAnswer, Error> {
        #[cfg(feature = "dpop")]
        if let Some(prover) = &self.dpop {
            let codec = |uri: EndpointUri, auth| {
                let at = uri.as_uri().clone();
                let codec = TokenCodec::new(uri, auth).with_token_type(TokenType::Dpop).rotating();
                ProvenCodec::new(codec, Arc::clone(prover), at)
            };
            return self.send(&self.tokens, codec, request, may_repeat).await;
        }
        let codec = |uri, auth| TokenCodec::new(uri, auth).rotating();
        self.send(&self.tokens, codec, request, may_repeat).await
    }

    /// Ends a token (RFC 7009).
    pub(crate) async fn revoke(&self, request: RevocationRequest) -> Result<(), Error> {
        let Some(revocation) = &self.revocation else {
            return Err(ErrorKind::Configuration("the revocation endpoint is not known").into());
        };
        self.send(revocation, RevocationCodec::new, request, |_| true).await
    }

    /// Sends with what proves the client at the moment; once more, if the server refuses that and there is something newer, or if it
    /// wants the nonce in the proof that it has just named (RFC 9449 §8).
    async fn send<C>(
        &self,
        place: &Locator,
        codec: impl Fn(EndpointUri, ClientAuth) -> C,
        request: C::Request,
        may_repeat: impl Fn(&Error) -> bool,
    ) -> Result<C::Response, Error>
    where
        C: Codec + Clone + Send + Sync + 'static,
        C::Request: Clone + Send + Sync + 'static,
        C::Response: Send,
    {
        let mut is_second = false;
        loop {
            let used = Mutex::new(None::<Resolved>);
            let (codec, request, used) = (&codec, &request, &used);
            let call_once = |uri: EndpointUri| async move {
                // Anew for each address: an assertion is good for one try.
                let at = Try {
                    issuer: self.issuer.as_deref(),
                    endpoint: &uri,
                    now: self.clock.unix_seconds(),
                };
                let resolved = self.client.resolve(at).await?;
                let codec = codec(uri, resolved.auth.clone());
                *used.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolved);
                let mut endpoint =
                    Endpoint::new(codec, self.http.clone()).with_deadline(self.deadline);
                poll_fn(|cx| endpoint.poll_ready(cx)).await?;
                endpoint.call(request.clone()).await
            };
            let call = |uri: EndpointUri| async move {
                match call_once(uri.clone()).await {
                    Err(error) if self.prover().is_some() && asks_for_nonce(&error) => {
                        call_once(uri).await
                    }
                    result => result,
                }
            };
            let result = place.call_where(call, &may_repeat).await;
            let used = used.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (&result, used) {
                (Ok(_), Some(used)) => used.accepted(),
                (Err(error), Some(used))
                    if error.kind() == ErrorKind::OAuth(OAuthCode::InvalidClient)
                        && !is_second
                        && used.refused().await =>
                {
                    is_second = true;
                    continue;
                }
                _ => {}
            }
            return result;
        }
    }

    /// Who proves that we hold the key which tokens are bound to.
    #[cfg(feature = "dpop")]
    pub(crate) fn prover(&self) -> Option<Arc<dyn Prover>> {
        self.dpop.clone().map(|prover| prover as _)
    }

    /// Without the feature there is no key.
    #[cfg(not(feature = "dpop"))]
    pub(crate) fn prover(&self) -> Option<Arc<dyn Prover>> {
        None
    }
}

fn asks_for_nonce(error: &Error) -> bool {
    error.kind() == ErrorKind::OAuth(OAuthCode::UseDpopNonce)
}
