use http::{Request, Response, Uri};
use tower_oauth_core::{BoxFuture, Error, Need, Report, Token, TokenId};

use super::nonce::{Spare, Wants};
use super::rights::Resource;
use super::{Call, DealtWith, IsReplay};
use crate::stamp::put;
use crate::{Replayed, TokenVerdict};

/// What the first attempt leaves behind for a second one.
pub(super) struct Attempt<S, B> {
    pub(super) call: Call,
    pub(super) token: Token,
    pub(super) spare: Spare<S, B>,
}

/// What is left when the second attempt is on its way.
pub(super) struct Sent<S, B> {
    pub(super) call: Call,
    /// The token that was refused.
    refused: TokenId,
    was_forbidden: bool,
    resource: Resource,
    /// The one that was sent in its place.
    token: Token,
    uri: Uri,
    /// For the server that takes the new token, and wants a nonce in its proof.
    spare: Option<Spare<S, B>>,
}

/// A second attempt, before its service is ready.
pub(super) struct Again<S, B> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) sent: Sent<S, B>,
}

impl<S, B> Attempt<S, B> {
    pub(super) fn resource(&self) -> Resource {
        self.call.shared.rights.resource(&self.spare.head)
    }

    /// Learns what the answer says of nonces, and reads whether it asks for one.
    pub(super) fn wants<R>(&self, response: &Response<R>) -> Wants {
        self.call.wants(&self.token, self.spare.head.uri(), response)
    }

    /// The same attempt with the same token and another proof, if the whole body is there, and time.
    pub(super) fn prove_again(self, nonce: &str) -> Option<(S, Request<B>, Call, Token)> {
        let Self { mut call, token, spare } = self;
        let (service, request) = spare.prove_again(&mut call, &token, nonce)?;
        Some((service, request, call, token))
    }

    /// Asks for another token. The exchange starts here and goes on whatever becomes of this request,
    /// so the next one has the new token.
    pub(super) fn renew(&self, verdict: TokenVerdict) -> BoxFuture<Result<Token, Error>> {
        let (source, refused) = (self.call.source(), self.token.id());
        if let TokenVerdict::Flush(flush) = verdict {
            source.report(Report::Flush(refused, flush));
        }
        let token = source.fetch(Need::Unlike(refused));
        if !self.spare.body.can_rewind() {
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
        let Self { call, token: first, spare } = self;
        let Spare { service, head, body } = spare;
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
        put(&token, &call.shared.guard, &mut request, None).ok()?;
        request.extensions_mut().insert(IsReplay);
        let was_forbidden = refused.status() == http::StatusCode::FORBIDDEN;
        let (refused, uri) = (first.id(), request.uri().clone());
        let sent = Sent { call, refused, was_forbidden, resource, token, uri, spare: None };
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

impl<S, B> Sent<S, B> {
    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    /// Whether the server may yet ask for a nonce.
    pub(super) fn needs_spare(&self) -> bool {
        self.token.prover().is_some() && !self.call.is_reproof
    }

    pub(super) fn keep(&mut self, spare: Spare<S, B>) {
        self.spare = Some(spare);
    }

    /// Learns what the answer says of nonces, and reads whether it asks for one.
    pub(super) fn wants<R>(&self, response: &Response<R>) -> Wants {
        self.call.wants(&self.token, &self.uri, response)
    }

    /// The second attempt once more, with another proof.
    pub(super) fn prove_again(&mut self, nonce: &str) -> Option<(S, Request<B>)> {
        self.spare.take()?.prove_again(&mut self.call, &self.token, nonce)
    }

    /// The second answer. Whatever it says: one replay at most.
    pub(super) fn conclude<R>(
        self,
        verdict: TokenVerdict,
        mut response: Response<R>,
    ) -> Response<R> {
        let Self { call, refused, was_forbidden, resource, token, .. } = self;
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
