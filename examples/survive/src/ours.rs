//! Our group: clients behind the client door. This file is all that it takes.

use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use inventory_proto::inventory_client::InventoryClient;
use tonic::transport::Channel;
use tower::{Layer, ServiceExt};
use tower_oauth::{
    BoxError, BoxFuture, BuildError, HttpClient, RetryInvalidToken, RetryInvalidTokenLayer,
    TokenCache,
};

use crate::args::Login;
use crate::load::{Device, Protocol, Target};
use crate::mood::AUDIT;
use crate::wire;

/// A device: one token, used over HTTP and over gRPC.
pub(crate) struct OurDevice {
    tokens: TokenCache,
    uri: Uri,
    http: RetryInvalidToken<HttpClient>,
    inventory: Option<InventoryClient<RetryInvalidToken<Channel>>>,
}

impl OurDevice {
    /// Sets a device up. It logs in with its first request.
    pub(crate) fn new(login: &Login, target: &Target) -> Result<Self, BuildError> {
        Self::behind(login, target, |door| door)
    }

    /// Sets one up for a resource that says 403, without a word on why, where a token is dead.
    pub(crate) fn at_a_gateway(login: &Login, target: &Target) -> Result<Self, BuildError> {
        let (id, secret) = (&login.client_id, login.secret.clone());
        let http = HttpClient::transport()?;
        let confirm =
            tower_oauth::ConfirmWithIntrospection::issuer(&login.issuer, id, secret, http)?;
        Self::behind(login, target, |door| door.confirm_with_introspection(confirm))
    }

    fn behind(
        login: &Login,
        target: &Target,
        configure: impl FnOnce(RetryInvalidTokenLayer) -> RetryInvalidTokenLayer,
    ) -> Result<Self, BuildError> {
        // One cache for everything that uses this token: whoever learns first that it is dead
        // replaces it, once, for all.
        let tokens = tokens(login)?;
        // The layer goes outside of all that belongs to one attempt, right round the connection
        // here: a request with a dead token is sent again by it, and its caller sees one answer.
        let door = configure(RetryInvalidTokenLayer::new(tokens.clone()));
        Ok(Self {
            tokens,
            uri: target.uri.clone(),
            http: door.layer(target.http.clone()),
            inventory: target.grpc.clone().map(|grpc| InventoryClient::new(door.layer(grpc))),
        })
    }

    /// Asks for what its token gives no right to; the status of the answer.
    pub(crate) async fn audit(&self) -> Result<StatusCode, BoxError> {
        let mut uri = self.uri.clone().into_parts();
        uri.path_and_query = Some(PathAndQuery::from_static(AUDIT));
        let request = wire::get(&Uri::from_parts(uri)?, None)?;
        Ok(self.http.clone().oneshot(request).await?.status())
    }
}

/// The whole configuration: an issuer, a client, what it wants.
pub(crate) fn tokens(login: &Login) -> Result<TokenCache, BuildError> {
    let mut tokens = TokenCache::builder()
        .issuer(&login.issuer)
        .client_credentials(&login.client_id, login.secret.clone())
        .scopes(&login.scopes);
    if let Some(resource) = &login.resource {
        tokens = tokens.resource(resource);
    }
    tokens.build()
}

/// The code of an application. No line of it is about tokens.
impl Device for OurDevice {
    fn send(&self, over: Protocol, hold: Option<u32>) -> BoxFuture<Result<(), BoxError>> {
        match over {
            Protocol::Http => {
                let (http, request) = (self.http.clone(), wire::get(&self.uri, hold));
                Box::pin(async move {
                    let response = http.oneshot(request?).await?;
                    wire::whole(response).await.map(drop)
                })
            }
            Protocol::Grpc => {
                let inventory = self.inventory.clone();
                Box::pin(async move {
                    let mut inventory = inventory.ok_or("nobody speaks gRPC here")?;
                    inventory.count(wire::count(hold)).await?;
                    Ok(())
                })
            }
        }
    }
    fn log_out(&self) -> BoxFuture<Result<(), BoxError>> {
        let tokens = self.tokens.clone();
        Box::pin(async move { Ok(tokens.log_out().await?) })
    }
}
