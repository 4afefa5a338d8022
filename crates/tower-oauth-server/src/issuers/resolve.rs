//! Asking the application which issuers it trusts.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Semaphore;
use tower_oauth_core::{BoxFuture, Error, ErrorKind};
use tower_oauth_endpoint::BoxError;
use tower_service::Service;

use crate::Jwt;

/// The total time of an answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many issuers are asked about at a time. Whoever comes beyond that is told 503 and not parked:
/// a flood of made-up issuers must not become one of look-ups.
const MAX_IN_FLIGHT: usize = 64;

/// Says whether an issuer is trusted, and by which rules its tokens are judged.
///
/// It is asked for an issuer that no live tenant has, once for all who wait, and not again for a while
/// if the answer is no. The name comes from a token that nobody has verified: look it up, and trust
/// nothing else about it. An `async` closure from the name is one:
///
/// ```
/// use tower_oauth_server::{BoxError, Jwt, Tenants};
///
/// # fn build(http: tower_oauth_endpoint::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let tenants = Tenants::resolver(move |issuer: String| {
///     let http = http.clone();
///     async move {
///         // A row of the tenants' table, say.
///         if !issuer.starts_with("https://idp.example.com/realms/") {
///             return Ok::<_, BoxError>(None);
///         }
///         let jwt = Jwt::issuer(issuer).audience("inventory").http_client(http).build()?;
///         Ok(Some(jwt))
///     }
/// })
/// .max_live(500)
/// .build()?;
/// # drop(tenants); Ok(()) }
/// ```
pub trait TenantResolver<C>: Send + Sync + 'static {
    /// The validator of this issuer, or `None` if it is not trusted.
    ///
    /// An error is our trouble, not the caller's: 503, and the next request asks again. So is no answer within 5 s.
    fn resolve(&self, issuer: &str) -> BoxFuture<Result<Option<Jwt<C>>, BoxError>>;
}

impl<C, F, A> TenantResolver<C> for F
where
    F: Fn(String) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Option<Jwt<C>>, BoxError>> + Send + 'static,
{
    fn resolve(&self, issuer: &str) -> BoxFuture<Result<Option<Jwt<C>>, BoxError>> {
        Box::pin(self(issuer.to_owned()))
    }
}

/// The resolver as a service, for a flight to go over.
pub(super) struct Resolve<C> {
    resolver: Arc<dyn TenantResolver<C>>,
    places: Arc<Semaphore>,
}

impl<C> Resolve<C> {
    pub(super) fn new(resolver: Arc<dyn TenantResolver<C>>) -> Self {
        Self { resolver, places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)) }
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Resolve<C> {
    fn clone(&self) -> Self {
        Self { resolver: Arc::clone(&self.resolver), places: Arc::clone(&self.places) }
    }
}

impl<C: Send + Sync + 'static> Service<Arc<str>> for Resolve<C> {
    type Response = Option<Jwt<C>>;
    type Error = Error;
    type Future = BoxFuture<Result<Option<Jwt<C>>, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, issuer: Arc<str>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Ok(_place) = this.places.try_acquire() else {
                return Err(ErrorKind::TooManyWaiters.into());
            };
            let answer = tokio::time::timeout(DEADLINE, this.resolver.resolve(&issuer));
            let found = answer.await.map_err(|_| ErrorKind::Timeout)?.map_err(|error| {
                let what = "the resolver cannot tell whether the issuer is trusted";
                Error::new(ErrorKind::Configuration(what)).with_source(error)
            })?;
            if found.as_ref().is_some_and(|jwt| jwt.issuer_name() != &*issuer) {
                let what = "the resolver has answered with the validator of another issuer";
                return Err(ErrorKind::Configuration(what).into());
            }
            Ok(found)
        })
    }
}
