//! Which source a request takes its token from.

use std::any::Any;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request};
use tower_oauth_core::{BoxFuture, Error, ErrorKind, Need, Token, TokenSource};

/// Picks the source of a request's token by the request's head: per tenant, user, scope, resource.
///
/// A closure `Fn(&http::request::Parts) -> Result<S, Error>` is one, for any [`TokenSource`] `S`. It runs
/// for every request, so it should find its source in a map rather than make one; the source that it
/// has picked goes with the request through its replay. An error is told to the caller as
/// [`ClientError::Token`](crate::ClientError::Token), and nothing is sent.
///
/// ```
/// use std::collections::HashMap;
/// use tower_oauth_client::{Error, ErrorKind, InjectTokenLayer, Token};
///
/// let tenants = HashMap::from([("a", Token::bearer("of-a")?), ("b", Token::bearer("of-b")?)]);
/// let layer = InjectTokenLayer::select(move |head: &http::request::Parts| {
///     let tenant = head.headers.get("x-tenant").and_then(|value| value.to_str().ok());
///     let token = tenant.and_then(|tenant| tenants.get(tenant));
///     token.cloned().ok_or(Error::new(ErrorKind::Configuration("no such tenant")))
/// });
/// # drop(layer); Ok::<_, Error>(())
/// ```
///
/// A closure may return `Arc<dyn TokenSource>` or any source; the former costs no allocation.
pub trait SelectSource: Send + Sync + 'static {
    /// The source for this request.
    ///
    /// # Errors
    /// Whatever the implementation finds wrong with the request.
    fn select(&self, head: &Parts) -> Result<Arc<dyn TokenSource>, Error>;
}

impl<F, S> SelectSource for F
where
    F: Fn(&Parts) -> Result<S, Error> + Send + Sync + 'static,
    S: TokenSource,
{
    fn select(&self, head: &Parts) -> Result<Arc<dyn TokenSource>, Error> {
        let source = self(head)?;
        // An `Arc` in an `Arc` would cost an allocation for each request.
        Ok(match (&source as &dyn Any).downcast_ref::<Arc<dyn TokenSource>>() {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(source),
        })
    }
}

/// One source for all requests, or one for each.
#[derive(Clone)]
pub(crate) struct Sources {
    common: Arc<dyn TokenSource>,
    select: Option<Arc<dyn SelectSource>>,
}

/// The source that was picked for a request; `None` is the common one, which needs no count.
#[derive(Clone)]
pub(crate) struct Selected(Option<Arc<dyn TokenSource>>);

impl Selected {
    pub(crate) const COMMON: Self = Self(None);

    /// Picks by the head of this request.
    pub(crate) fn by<B>(
        select: &dyn SelectSource,
        request: Request<B>,
    ) -> Result<(Self, Request<B>), Error> {
        let (head, body) = request.into_parts();
        let source = select.select(&head)?;
        Ok((Self(Some(source)), Request::from_parts(head, body)))
    }
}

impl Sources {
    pub(crate) fn one(source: impl TokenSource) -> Self {
        Self { common: Arc::new(source), select: None }
    }

    pub(crate) fn selected(select: impl SelectSource) -> Self {
        Self { common: Arc::new(Nobody), select: Some(Arc::new(select)) }
    }

    /// Who picks, where there is a choice: only then a request is taken apart, for its head to be looked at.
    pub(crate) fn selector(&self) -> Option<&dyn SelectSource> {
        self.select.as_deref()
    }

    pub(crate) fn get<'a>(&'a self, selected: &'a Selected) -> &'a dyn TokenSource {
        selected.0.as_ref().unwrap_or(&self.common).as_ref()
    }
}

/// Stands where every request has a source of its own.
struct Nobody;

impl TokenSource for Nobody {
    fn peek(&self) -> Option<Token> {
        None
    }

    fn fetch(&self, _: Need) -> BoxFuture<Result<Token, Error>> {
        Box::pin(std::future::ready(Err(ErrorKind::NotRenewable.into())))
    }

    fn recognise(&self, _: &HeaderValue) -> Option<Token> {
        None
    }
}
