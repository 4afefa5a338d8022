use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::ScriptedBody;
use crate::answer::answer;
use crate::state::Shared;

/// The future of the scripted services.
pub type ScriptedFuture =
    Pin<Box<dyn Future<Output = io::Result<Response<ScriptedBody>>> + Send + 'static>>;

/// A [`ScriptedIssuer`](crate::ScriptedIssuer) in process: an HTTP service without a socket.
///
/// It holds its caller to Tower's contract: a call that no `poll_ready` came before *on the same
/// clone* fails.
///
/// # Errors
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) while the issuer is dark,
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset) where a fault says so.
#[derive(Clone, Debug)]
pub struct ScriptedService {
    shared: Arc<Shared>,
    readiness: Readiness,
}

impl ScriptedService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, readiness: Readiness::default() }
    }
}

impl<B> Service<Request<B>> for ScriptedService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<ScriptedBody>;
    type Error = io::Error;
    type Future = ScriptedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.readiness.set();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ScriptedFuture {
        let ready = self.readiness.take();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            ready?;
            answer(shared, request).await
        })
    }
}

/// Whether this clone has been asked if it is ready. It does not travel with a clone.
#[derive(Debug, Default)]
pub(crate) struct Readiness(bool);

impl Readiness {
    pub(crate) fn set(&mut self) {
        self.0 = true;
    }

    pub(crate) fn take(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.0) {
            Ok(())
        } else {
            Err(io::Error::other("called without being ready: poll_ready comes first"))
        }
    }
}

impl Clone for Readiness {
    fn clone(&self) -> Self {
        Self(false)
    }
}
