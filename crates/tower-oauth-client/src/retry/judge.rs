use http::response::Parts;
use http::{Response, StatusCode};
use tower_oauth_core::Token;

use super::attempt::Attempt;
use super::{DealtWith, Shared};
use crate::TokenVerdict;
use crate::confirm::Known;
use crate::policy::is_bare_forbidden;

/// What is to be done about a first answer.
pub(super) enum Finding {
    /// The caller gets it.
    HandOn,
    /// The token is dead.
    Renew(TokenVerdict),
    /// The authorization server is asked whether it is.
    Confirm,
}

impl Shared {
    /// Judges the head of an answer.
    pub(super) fn judge<R>(&self, response: Response<R>) -> (TokenVerdict, Response<R>) {
        let (head, body) = response.into_parts();
        let verdict = match head.status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => TokenVerdict::Silent,
            _ => self.policy.judge(&head),
        };
        (verdict, Response::from_parts(head, body))
    }

    /// Judges an answer whose head was not enough.
    pub(super) fn judge_start<R>(
        &self,
        start: &[u8],
        response: Response<R>,
    ) -> (TokenVerdict, Response<R>) {
        let (head, body) = response.into_parts();
        let verdict = match self.policy.judge_start(&head, start) {
            TokenVerdict::NeedsBody => TokenVerdict::Silent,
            verdict => verdict,
        };
        (verdict, Response::from_parts(head, body))
    }

    /// What a verdict on a first answer comes to, by what is known of the resource.
    pub(super) fn find<S, B, R>(
        &self,
        attempt: &Attempt<S, B>,
        verdict: TokenVerdict,
        response: Response<R>,
    ) -> (Finding, Response<R>) {
        let (head, body) = response.into_parts();
        let (finding, verdict) = self.weigh(attempt, verdict, &head);
        let mut response = Response::from_parts(head, body);
        let says_nothing = verdict == TokenVerdict::Silent && response.status().is_success();
        // On the hot path there is nothing to see, and nothing is paid for it.
        if verdict != TokenVerdict::Accepted && !says_nothing {
            response.extensions_mut().insert(verdict);
        }
        (finding, response)
    }

    fn weigh<S, B>(
        &self,
        attempt: &Attempt<S, B>,
        verdict: TokenVerdict,
        head: &Parts,
    ) -> (Finding, TokenVerdict) {
        const SILENT: (Finding, TokenVerdict) = (Finding::HandOn, TokenVerdict::Silent);
        let rejected = (Finding::Renew(TokenVerdict::Rejected), TokenVerdict::Rejected);
        match verdict {
            TokenVerdict::Accepted => {
                attempt.token.mark_accepted();
                (Finding::HandOn, verdict)
            }
            TokenVerdict::Rejected | TokenVerdict::Flush(_) => {
                // A token that nobody has accepted yet explains nothing: it may never have lived. What its
                // replacement costs is the source's to say.
                let is_about_rights = head.status == StatusCode::FORBIDDEN
                    && attempt.token.was_accepted()
                    && self.rights.explain(attempt.resource(), self.clock.now());
                if is_about_rights { SILENT } else { (Finding::Renew(verdict), verdict) }
            }
            TokenVerdict::Silent if !is_bare_forbidden(head) => SILENT,
            TokenVerdict::Silent | TokenVerdict::Ambiguous | TokenVerdict::NeedsBody => {
                let resource = || attempt.resource();
                let known = |confirm: &crate::ConfirmWithIntrospection| {
                    confirm.known(attempt.token.id(), resource())
                };
                match self.confirm.as_ref().map(known) {
                    None | Some(Known::Stands) => SILENT,
                    Some(Known::Dead) => rejected,
                    Some(Known::Unknown) => (Finding::Confirm, TokenVerdict::Ambiguous),
                }
            }
        }
    }
}

/// Whether a layer inside has sent this request again, because this token was rejected.
pub(super) fn is_dealt_with<R>(response: &Response<R>, token: &Token) -> bool {
    // Most answers have no extensions, and then nothing is looked up.
    !response.extensions().is_empty()
        && response.extensions().get::<DealtWith>().is_some_and(|mark| mark.0 == token.id())
}
