use http::{Request, Response};
use tower_oauth_core::{BoxFuture, Error, Need, Report, Token, TokenId};

use super::rights::Resource;
use super::{Call, DealtWith, IsReplay};
use crate::capture::Captured;
use crate::stamp::put;
use crate::{Replayed, TokenVerdict};

/// What the first attempt leaves behind for a second one.
pub(super) struct Attempt<S, B> {
    pub(super) call: Call,
    pub(super) token: Token,
    /// Not ready; a replay makes it so.
    pub(super) service: S,
    pub(super) head: Request<()>,
    pub(super) body: Captured<B>,
}

/// What is left when the second attempt is on its way.
pub(super) struct Sent {
    pub(super) call: Call,
    /// The token that was refused.
    refused: TokenId,
    was_forbidden: bool,
    resource: Resource,
    /// The one that was sent in its place.
    token: Token,
}

/// A second attempt, before its service is ready.
pub(super) struct Again<S, B> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) sent: Sent,
}

impl<S, B> Attempt<S, B> {
    pub(super) fn resource(&self) -> Resource {
        self.call.shared.rights.resource(&self.head)
    }

    /// Asks for another token. The exchange starts here and goes on whatever becomes of this request,
    /// so the next one has the new token.
    pub(super) fn renew(&self, verdict: TokenVerdict) -> BoxFuture<Result<Token, Error>> {
        let (source, refused) = (self.call.source(), self.token.id());
        if let TokenVerdict::Flush(flush) = verdict {
            source.report(Report::Flush(refused, flush));
        }
        let token = source.fetch(Need::Unlike(refused));
        if !self.body.can_rewind() {
            source.report(Report::NotReplayable(refused));
        }
        token
    }

    /// The second attempt, if there is another token, the whole body, and time.
    pub(super) fn again<R>(
        self,
        renewed: Result<Token, Error>,
        refused: &Response<R>,
    ) -> Option<Again<S, B>> {
        let token = renewed.ok()?;
        let resource = self.resource();
        let Self { call, token: first, service, head, body } = self;
        // A source that hands the refused token back, under whatever name, has nothing new to try.
        if token.header() == first.header() {
            call.source().report(Report::SameTokenAgain(first.id()));
            return None;
        }
        let Some(body) = body.rewind() else {
            // More than is kept was pulled meanwhile.
            call.source().report(Report::NotReplayable(first.id()));
            return None;
        };
        let mut request = head.map(|()| body);
        if !call.is_in_time(&mut request) {
            return None;
        }
        put(&token, &mut request);
        request.extensions_mut().insert(IsReplay);
        let was_forbidden = refused.status() == http::StatusCode::FORBIDDEN;
        let sent = Sent { call, refused: first.id(), was_forbidden, resource, token };
        Some(Again { service, request, sent })
    }

    /// Asks the authorization server whether the token is dead.
    pub(super) fn confirm(&self) -> BoxFuture<bool> {
        match &self.call.shared.confirm {
            Some(confirm) => confirm.ask(&self.token, self.resource()),
            None => Box::pin(std::future::ready(false)),
        }
    }
}

impl Sent {
    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    /// The second answer. Whatever it says: one replay at most.
    pub(super) fn conclude<R>(
        self,
        verdict: TokenVerdict,
        mut response: Response<R>,
    ) -> Response<R> {
        let Self { call, refused, was_forbidden, resource, token } = self;
        let rights = &call.shared.rights;
        let is_forbidden = response.status() == http::StatusCode::FORBIDDEN;
        if verdict == TokenVerdict::Accepted {
            token.mark_accepted();
            call.source().report(Report::Healed(token.id()));
            if was_forbidden {
                rights.was_the_token();
            }
        } else if verdict.is_rejection() && was_forbidden && is_forbidden {
            // About this resource and not about the token, so that it is remembered here.
            rights.refused_again(resource, token.id(), call.shared.clock.now());
        } else if verdict.is_rejection() {
            call.source().report(Report::RejectedAgain(token.id()));
        }
        let extensions = response.extensions_mut();
        extensions.insert(verdict);
        extensions.insert(Replayed);
        extensions.insert(DealtWith(refused));
        response
    }
}
