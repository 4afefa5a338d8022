use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;

use crate::{Error, ErrorKind, Report, Token, TokenId};

/// A boxed future that can be sent to another task.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Gives tokens: the seam between the client layers and whoever gets tokens.
///
/// # Contract
/// 1. [`peek`](Self::peek) is the hot path: no waiting, no IO. `None` means "ask [`fetch`](Self::fetch)".
/// 2. `fetch(Need::Unlike(id))` never answers with the token `id`. If a newer one is already there
///    it comes at once, without a call: a late rejection of an old token must not kill the new one.
/// 3. Every fetch joins the exchange that is in the air; the exchange survives callers that go away.
/// 4. A source that wraps another hands its tokens on as they are, and forwards
///    [`recognise`](Self::recognise): a token keeps its [`TokenId`] and is known by every layer.
///
/// Only a cache or a fixed token is a source. Fallback chains, stores and grants belong below the
/// one cache: two caches in a row would go on handing out the dead token of the inner one.
pub trait TokenSource: Send + Sync + 'static {
    /// The token to send now, if one is at hand.
    fn peek(&self) -> Option<Token>;

    /// Waits for a token.
    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>>;

    /// The token of this source that has this `Authorization` value, if it is one of the last few.
    ///
    /// It lets two layers over the same source agree: what the outer one has stamped the inner one
    /// does not take for the caller's own header, also where the token was replaced in between. A
    /// source that wraps another asks that one; a fixed token compares itself.
    fn recognise(&self, authorization: &HeaderValue) -> Option<Token>;

    /// Hears what a door has seen: how a rejection ended, or that more than one token is dead.
    ///
    /// It is never called on the hot path, and answers at once. By default nothing is done with it;
    /// a source that wraps another hands it on.
    fn report(&self, _report: Report) {}
}

/// Which token a caller of [`TokenSource::fetch`] needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any live token.
    Any,
    /// Any live token but this one: the resource has rejected it.
    Unlike(TokenId),
}

impl<T: TokenSource + ?Sized> TokenSource for Arc<T> {
    fn peek(&self) -> Option<Token> {
        (**self).peek()
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        (**self).fetch(need)
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        (**self).recognise(authorization)
    }

    fn report(&self, report: Report) {
        (**self).report(report);
    }
}

/// A fixed token is a source that cannot renew: [`Need::Unlike`] itself is
/// [`ErrorKind::NotRenewable`].
impl TokenSource for Token {
    fn peek(&self) -> Option<Token> {
        Some(self.clone())
    }

    fn fetch(&self, need: Need) -> BoxFuture<Result<Token, Error>> {
        let answer = match need {
            Need::Unlike(refused) if refused == self.id() => Err(ErrorKind::NotRenewable.into()),
            Need::Any | Need::Unlike(_) => Ok(self.clone()),
        };
        Box::pin(std::future::ready(answer))
    }

    fn recognise(&self, authorization: &HeaderValue) -> Option<Token> {
        self.is_carried_by(authorization).then(|| self.clone())
    }
}
