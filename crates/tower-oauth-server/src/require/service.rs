use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::door::{Answer, Door};
use super::future::ResponseFuture;
use crate::accessors::inner_accessors;
use crate::{Authenticate, DoorBody};

/// Lets in only requests with a valid bearer token. Made by [`RequireTokenLayer`](crate::RequireTokenLayer).
///
/// A request that comes in carries the proof for [`Authenticated`](crate::Authenticated); a proof that it brought along is thrown away, and
/// its `Authorization` field is marked sensitive. One that does not is answered here, and `S` is not called.
#[derive(Clone)]
pub struct RequireToken<S> {
    inner: S,
    door: Arc<Door>,
}

impl<S> RequireToken<S> {
    /// A door before `inner`, with the defaults of [`RequireTokenLayer`](crate::RequireTokenLayer).
    pub fn new<A: Authenticate>(inner: S, authenticator: A) -> Self {
        Self::with_door(inner, Door::new(authenticator))
    }

    pub(super) fn with_door(inner: S, door: Door) -> Self {
        Self { inner, door: Arc::new(door) }
    }

    inner_accessors!(S);
}

impl<S, B, RB> Service<Request<B>> for RequireToken<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
{
    type Response = Response<DoorBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        Door::hide_token(&mut head);
        match self.door.judge(&head) {
            Answer::Now(Ok(admission)) => {
                let on_answer = self.door.admit(&mut head, admission);
                ResponseFuture::calling(self.inner.call(Request::from_parts(head, body)), on_answer)
            }
            Answer::Now(Err(rejection)) => {
                // `poll_ready` may have reserved a place in the inner service. A clone has none: the place is free for a request that
                // needs it.
                self.inner = self.inner.clone();
                Door::hide_tokens(&mut head);
                ResponseFuture::refused(self.door.refusal(rejection, &head))
            }
            Answer::Later(verdict) => {
                // The place is given back here, too: whoever makes the door wait, and may be refused after it, must not keep out those
                // who need not wait. The clone is made ready when the verdict is there.
                self.inner = self.inner.clone();
                let inner = self.inner.clone();
                let request = Request::from_parts(head, body);
                ResponseFuture::waiting(verdict, Arc::clone(&self.door), inner, request)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for RequireToken<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RequireToken");
        out.field("inner", &self.inner);
        self.door.debug(out)
    }
}
