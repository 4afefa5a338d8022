use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower_oauth_core::codec::{Grant, TokenRequest, TokenResponse};
use tower_oauth_core::{BoxFuture, Error, ErrorKind, OAuthCode};
use tower_service::Service;

use super::link::Link;
use super::redeem::{Redeemed, falls_through};
use super::session::{Replaces, Session};

/// Gets a token by the first way that works: the refresh token, then each link in order.
///
/// The links bring their grants. Only a client that asks for itself alone takes one that the request brings in the place of
/// that: there is no session that it could be mixed up with.
#[derive(Clone)]
pub(crate) struct Chain {
    session: Arc<Session>,
    links: Arc<[Link]>,
}

impl Chain {
    pub(crate) fn new(session: Arc<Session>, links: Vec<Link>) -> Self {
        Self { session, links: links.into() }
    }

    async fn run(&self, request: TokenRequest) -> Result<TokenResponse, Error> {
        let session = &self.session;
        if !session.is_of_a_user {
            let epoch = session.begin()?;
            if !matches!(request.grant, Grant::ClientCredentials) {
                return self.ask(epoch, request).await;
            }
            return self.follow(epoch, request, None, 0).await;
        }
        // One at a time: who comes second finds the successor of the refresh token, or the very answer.
        let _turn = session.turn.lock().await;
        let epoch = session.begin()?;
        if let Some(response) = session.take_unclaimed(&request) {
            return Ok(response);
        }
        match session.redeem(epoch, &request).await {
            Redeemed::Token(response) => Ok(response),
            Redeemed::Stop(error) => Err(error),
            Redeemed::No(refused, stored) => self.follow(epoch, request, refused, stored).await,
        }
    }

    /// With the grant that the request brings, and no other.
    async fn ask(&self, epoch: u64, request: TokenRequest) -> Result<TokenResponse, Error> {
        match self.session.edge.exchange(request, |_| true).await {
            Ok(answer) => self.session.landed(epoch, answer, Replaces::Generation(0)).await,
            Err(error) => Err(of_a_user(error)),
        }
    }

    async fn follow(
        &self,
        epoch: u64,
        request: TokenRequest,
        mut refused: Option<Error>,
        stored: u64,
    ) -> Result<TokenResponse, Error> {
        let session = &self.session;
        for link in &*self.links {
            if let Some(error) = &refused {
                tracing::info!(%error, "falling back on another grant");
            }
            let grant = link.grant(session.clock().unix_seconds()).await?;
            let asked = TokenRequest { grant, ..request.clone() };
            match session.edge.exchange(asked, |_| true).await {
                Ok(answer) => {
                    return session.landed(epoch, answer, Replaces::Generation(stored)).await;
                }
                Err(error) if falls_through(&error) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(self.ended(refused))
    }

    /// Nothing has worked. Where a person stands behind what was refused, that person can sign in again; that helps against no
    /// other refusal.
    fn ended(&self, refused: Option<Error>) -> Error {
        let ends_with_the_client = self.links.last().is_some_and(|link| !link.is_of_a_user());
        match refused {
            None => ErrorKind::Reauthenticate.into(),
            Some(error) if ends_with_the_client => error,
            Some(error) => of_a_user(error),
        }
    }
}

/// What a refusal of a user's credentials comes to.
fn of_a_user(error: Error) -> Error {
    match error.kind() {
        ErrorKind::OAuth(OAuthCode::InvalidGrant | OAuthCode::Other) => {
            Error::new(ErrorKind::Reauthenticate).with_source(error)
        }
        _ => error,
    }
}

impl Service<TokenRequest> for Chain {
    type Response = TokenResponse;
    type Error = Error;
    type Future = BoxFuture<Result<TokenResponse, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let chain = self.clone();
        if !chain.session.is_of_a_user {
            return Box::pin(async move { chain.run(request).await });
        }
        Box::pin(async move {
            // Apart from whoever waits: a deadline that passes must not end an exchange between the server's rotation and
            // our storing of what it rotated to.
            let runtime = Handle::try_current().map_err(|_| ErrorKind::NoRuntime)?;
            let (tell, told) = oneshot::channel();
            runtime.spawn(async move {
                if let Err(Ok(response)) = tell.send(chain.run(request.clone()).await) {
                    chain.session.put_unclaimed(request, response);
                }
            });
            told.await.unwrap_or_else(|_| Err(ErrorKind::Panicked.into()))
        })
    }
}
