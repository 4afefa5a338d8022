//! Any credential library as the source.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tower_oauth_core::codec::{TokenRequest, TokenResponse};
use tower_oauth_core::{BoxFuture, Clock, Error, ErrorKind, Need, Secret};
use tower_service::Service;

use super::{TokenCache, TokenCacheBuilder};

/// A token of another library: its text, and when it ends.
#[derive(Clone, Debug)]
pub struct ForeignToken {
    access_token: Secret,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Unknown,
    In(Duration),
    At(i64),
}

impl ForeignToken {
    /// A bearer token. Without an end it lives 60 seconds.
    #[must_use]
    pub fn bearer(access_token: impl Into<Secret>) -> Self {
        Self { access_token: access_token.into(), end: End::Unknown }
    }

    /// It ends so long from now.
    #[must_use]
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.end = End::In(life);
        self
    }

    /// It ends at this time, in seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn expires_at(mut self, unix_seconds: i64) -> Self {
        self.end = End::At(unix_seconds);
        self
    }
}

/// Lets any credential library be the source: a [`TokenCacheBuilder`] over a closure.
///
/// The closure is asked when a token is needed, with what is needed: any, or another than one that was rejected
/// ([`Need::Unlike`]); then tell the library to forget what it has, if it can. All that a [`TokenCache`] does is done above it: one call for
/// all callers, refresh ahead, back-off, replacement of what a resource rejects.
///
/// A library with a cache of its own may give the rejected token again. It is recognised by its value: no
/// replay, [`TokenEvent::SameTokenAgain`](crate::TokenEvent::SameTokenAgain), and the next call comes after a back-off of
/// 500 ms, doubling to 30 s. An error of the library is [`ErrorKind::Foreign`], with it as the source.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth_client::{ForeignToken, Need, source_fn};
///
/// # #[derive(Clone)] struct Library;
/// # impl Library {
/// #     async fn forget(&self) {}
/// #     async fn token(&self) -> std::io::Result<(String, Duration)> { Ok(("t".into(), Duration::from_secs(60))) }
/// # }
/// # fn main() -> Result<(), tower_oauth_client::BuildError> { let library = Library;
/// let tokens = source_fn(move |need| {
///     let library = library.clone();
///     async move {
///         if let Need::Unlike(_) = need {
///             library.forget().await;
///         }
///         let (text, life) = library.token().await?;
///         Ok::<_, std::io::Error>(ForeignToken::bearer(text).expires_in(life))
///     }
/// })
/// .build()?;
/// # drop(tokens); Ok(()) }
/// ```
pub fn source_fn<F, Fut, E>(get_token: F) -> TokenCacheBuilder
where
    F: Fn(Need) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ForeignToken, E>> + Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let call: Call = Arc::new(move |need| {
        let answer = get_token(need);
        Box::pin(async move {
            answer.await.map_err(|error| Error::new(ErrorKind::Foreign).with_source(error))
        })
    });
    TokenCache::builder().foreign(call)
}

pub(super) type Call = Arc<dyn Fn(Need) -> BoxFuture<Result<ForeignToken, Error>> + Send + Sync>;

/// The closure as the service below the cache.
#[derive(Clone)]
pub(super) struct Foreign {
    pub(super) call: Call,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service<TokenRequest> for Foreign {
    type Response = TokenResponse;
    type Error = Error;
    type Future = BoxFuture<Result<TokenResponse, Error>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let answer = (self.call)(request.unlike.map_or(Need::Any, Need::Unlike));
        let clock = Arc::clone(&self.clock);
        Box::pin(async move {
            let token = answer.await?;
            let expires_in = match token.end {
                End::Unknown => None,
                End::In(life) => Some(life),
                End::At(end) => {
                    let left = end.saturating_sub(clock.unix_seconds());
                    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
                }
            };
            Ok(TokenResponse::bearer(token.access_token, expires_in))
        })
    }
}
