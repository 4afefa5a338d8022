//! From a token to a verdict: at once if the key is known, else after a fetch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_oauth_core::{Error, ErrorKind, Scopes};
use tower_oauth_jose::{
    Checked, InvalidToken, NoKey, StandardClaims, Thumbprint, Undecoded, Unverified, Verified,
};

use super::Jwt;
use super::cache::{Digest, Entry, Standing};
use crate::jwks::{Landed, Next, NoFetch, WAITING_RETRY_AFTER_MAX, Wait};
use crate::revocations::{Standing as Revoked, TokenText};
use crate::{Authenticate, Caller, Presented, Principal, Rejection, Verdict, observe};

/// How often a token is looked at: the first set, one from before the question, one from after it,
/// and more should flights be lost, or sets change while they are looked at.
const LOOKS: usize = 6;
/// The shortest time after which a client is asked to come again.
const SOON: Duration = Duration::from_secs(1);

/// Who sees to it that the sender holds what a token is bound to.
#[derive(Clone, Copy)]
pub(crate) enum Sender {
    /// Nobody: a bound token is refused.
    Unchecked,
    CheckedByDoor,
}

impl Sender {
    pub(crate) const fn of(presented: &Presented<'_>) -> Self {
        if presented.sender_is_checked { Self::CheckedByDoor } else { Self::Unchecked }
    }

    /// A verified token may be remembered from a door that checks senders, and come back at one that does not.
    pub(crate) fn let_in<C>(self, caller: Caller<C>) -> Result<Caller<C>, Rejection> {
        match self {
            Self::Unchecked if caller.principal.confirmation.is_some() => {
                Err(Rejection::Invalid(InvalidToken::SenderConstrained))
            }
            Self::Unchecked | Self::CheckedByDoor => Ok(caller),
        }
    }
}

/// Why a token was not proven, and by which keys.
struct Doubt {
    reason: InvalidToken,
    /// The fetch that the keys came from.
    seen: u64,
    /// The material under the token's key id.
    tried: Vec<Thumbprint>,
}

/// What one look at the keys says.
enum Look<'t> {
    Proven(Verified, Standing),
    Doubtful(Checked<'t>, Doubt),
    NoKeys(Checked<'t>),
}

impl<C: Send + Sync + 'static> Authenticate for Jwt<C> {
    type Claims = C;

    fn max_token_bytes(&self) -> usize {
        self.0.rules.max_token_bytes()
    }

    fn authenticate(&self, presented: Presented<'_>) -> Verdict<C> {
        self.authenticate_text(presented.token, Sender::of(&presented))
    }
}

impl<C: Send + Sync + 'static> Jwt<C> {
    /// A token without the request that it came with.
    pub(crate) fn authenticate_text(&self, token: &str, sender: Sender) -> Verdict<C> {
        self.with_status(self.verify_text(token, sender), token)
    }

    fn verify_text(&self, token: &str, sender: Sender) -> Verdict<C> {
        let digest = match self.recall(token) {
            Ok(caller) => return Verdict::Now(self.let_in(caller, token, sender)),
            Err(digest) => digest,
        };
        let parsed = Undecoded::parse_up_to(self.0.rules.max_token_bytes(), token);
        match parsed.and_then(|parsed| self.decode(parsed)) {
            Ok(parsed) => self.judge(parsed, token, digest, sender),
            Err(reason) => Verdict::Now(Err(Rejection::Invalid(reason))),
        }
    }

    /// Decodes a token, unless its key was looked for just now and the issuer does not have it: whatever its claims say, it is refused
    /// without a fetch, and a flood of such tokens costs their headers.
    fn decode<'t>(&self, token: Undecoded<'t>) -> Result<Unverified<'t>, InvalidToken> {
        if let Some(kid) = token.kid() {
            let peek = self.0.jwks.peek();
            let keys = peek.keys().map(|keys| keys.candidates(Some(kid), token.algorithm()));
            if matches!(keys, Some(Err(NoKey::UnknownKid)))
                && self.0.jwks.is_absent(kid, peek.seq())
            {
                return Err(InvalidToken::UnknownKey);
            }
        }
        token.decode()
    }

    /// The same for a token that is already parsed, because its issuer had to be found.
    pub(crate) fn authenticate_parsed(
        &self,
        token: Unverified<'_>,
        text: &str,
        sender: Sender,
    ) -> Verdict<C> {
        // It was parsed within the bound of somebody else.
        if text.len() > self.0.rules.max_token_bytes() {
            return Verdict::Now(Err(Rejection::Invalid(InvalidToken::TooLarge)));
        }
        let verdict = match self.recall(text) {
            Ok(caller) => Verdict::Now(self.let_in(caller, text, sender)),
            Err(digest) => self.judge(token, text, digest, sender),
        };
        self.with_status(verdict, text)
    }

    /// The caller of a token that was verified before, or what to remember it by.
    fn recall(&self, token: &str) -> Result<Caller<C>, Option<Digest>> {
        let Some(verified) = &self.0.verified else { return Err(None) };
        let Some(digest) = verified.digest(token) else { return Err(None) };
        let peek = self.0.jwks.peek();
        // Without keys nobody is let in, whomever we remember.
        let Some(keys) = peek.keys() else { return Err(Some(digest)) };
        let now = self.0.clock.unix_seconds();
        let found = verified.get(&digest, now, keys, peek.generation());
        observe::verified_token(found.is_some());
        found.ok_or(Some(digest))
    }

    /// Lets in who is remembered, unless the token has died since.
    ///
    /// What is dead stays remembered: to refuse it again costs a look-up and no signature.
    fn let_in(
        &self,
        caller: Caller<C>,
        text: &str,
        sender: Sender,
    ) -> Result<Caller<C>, Rejection> {
        sender.let_in(self.unless_revoked(caller, TokenText::Text(text))?)
    }

    /// Judges a token that is not remembered.
    fn judge(
        &self,
        token: Unverified<'_>,
        text: &str,
        digest: Option<Digest>,
        sender: Sender,
    ) -> Verdict<C> {
        let (rules, now) = (&self.0.rules, self.wall_clock());
        let checked = match sender {
            Sender::Unchecked => token.check(rules, now),
            Sender::CheckedByDoor => token.check_bound(rules, now),
        };
        let mut checked = match checked {
            Ok(checked) => checked,
            Err(reason) => return Verdict::Now(Err(Rejection::Invalid(reason))),
        };
        let mut doubt = None;
        for _ in 0..LOOKS {
            let next = match self.look(checked, doubt.take()) {
                Look::Proven(verified, standing) => {
                    let text = TokenText::Text(text);
                    return Verdict::Now(self.accept(verified, standing, digest, text));
                }
                Look::Doubtful(token, found) => {
                    let next = self.miss(&token, &found, None, &Landed::Nothing);
                    (checked, doubt) = (token, Some(found));
                    next
                }
                Look::NoKeys(token) => {
                    checked = token;
                    self.first(None)
                }
            };
            match next {
                Next::LookAgain => {}
                Next::Refuse(rejection) => return Verdict::Now(Err(rejection)),
                Next::Wait(wait) => {
                    let asks = self.0.revocations.is_some();
                    let text = asks.then(|| TokenText::Sha256(TokenText::Text(text).sha256()));
                    let text = text.unwrap_or(TokenText::Text(""));
                    let checked = checked.into_owned();
                    let settle = self.clone().settle(checked, text, digest, doubt, wait);
                    return Verdict::Later(Box::pin(settle));
                }
            }
        }
        Verdict::Now(Err(undecided()))
    }
}

impl<C> Jwt<C> {
    /// The cold path: waits for keys, and looks again.
    async fn settle(
        self,
        mut checked: Checked<'static>,
        text: TokenText<'static>,
        digest: Option<Digest>,
        mut doubt: Option<Doubt>,
        wait: Wait,
    ) -> Result<Caller<C>, Rejection> {
        let asked = Some(wait.asked);
        let mut wait = Some(wait);
        for _ in 0..LOOKS {
            let landed = match wait.take() {
                Some(wait) => self.0.jwks.landed(wait).await,
                None => Landed::Nothing,
            };
            let next = match self.look(checked, doubt.take()) {
                Look::Proven(verified, standing) => {
                    return self.accept_late(verified, standing, digest, text);
                }
                Look::Doubtful(token, found) => {
                    if newer_keys_may_help(found.reason) {
                        if matches!(landed, Landed::Answered) {
                            self.0.jwks.absent(token.kid());
                            return Err(Rejection::Invalid(found.reason));
                        }
                        if let Landed::Failed(error) = &landed
                            && error.kind() == ErrorKind::TooManyWaiters
                        {
                            return Err(failed(error));
                        }
                    }
                    // The set may be from before the token's key, so that it is no answer yet.
                    let next = self.miss(&token, &found, asked, &landed);
                    (checked, doubt) = (token, Some(found));
                    next
                }
                Look::NoKeys(token) => {
                    if let Landed::Failed(error) = landed {
                        return Err(failed(&error));
                    }
                    checked = token;
                    self.first(asked)
                }
            };
            match next {
                Next::LookAgain => {}
                Next::Refuse(rejection) => return Err(rejection),
                Next::Wait(next) => wait = Some(next),
            }
        }
        Err(undecided())
    }

    fn miss(
        &self,
        token: &Checked<'_>,
        doubt: &Doubt,
        asked: Option<u64>,
        landed: &Landed,
    ) -> Next<Rejection> {
        let invalid = Rejection::Invalid(doubt.reason);
        if !newer_keys_may_help(doubt.reason) {
            return Next::Refuse(invalid);
        }
        let why_not = match self.0.jwks.miss(token.kid(), doubt.seen, asked) {
            Next::LookAgain => return Next::LookAgain,
            Next::Wait(wait) => return Next::Wait(wait),
            Next::Refuse(why_not) => why_not,
        };
        // Who could not ask does not know that the token is bad.
        Next::Refuse(match (why_not, landed) {
            (NoFetch::Failing(cause, left), _) => unavailable(cause, Some(left)),
            (NoFetch::NoBudget, Landed::Failed(error)) => failed(error),
            (NoFetch::Absent | NoFetch::NoBudget, _) => invalid,
        })
    }

    fn first(&self, asked: Option<u64>) -> Next<Rejection> {
        match self.0.jwks.first(asked) {
            Next::LookAgain => Next::LookAgain,
            Next::Wait(wait) => Next::Wait(wait),
            Next::Refuse((cause, left)) => Next::Refuse(unavailable(cause, Some(left))),
        }
    }

    fn look<'t>(&self, checked: Checked<'t>, doubt: Option<Doubt>) -> Look<'t> {
        let peek = self.0.jwks.peek();
        let Some(keys) = peek.keys() else {
            return Look::NoKeys(checked);
        };
        // The same material gives the same answer, and a signature costs more than all the rest.
        if let Some(doubt) = doubt {
            let signed_badly = doubt.reason == InvalidToken::BadSignature;
            if signed_badly && doubt.tried == keys.thumbprints(checked.kid()) {
                return Look::Doubtful(checked, Doubt { seen: peek.seq(), ..doubt });
            }
        }
        // Only who remembers the token has to know by what name its key was called.
        let kid = self.0.verified.as_ref().and(checked.kid()).map(Box::from);
        let algorithm = checked.algorithm();
        match checked.verify_by(keys) {
            Ok(verified) => {
                let (key, generation) = (verified.key(), peek.generation());
                Look::Proven(verified, Standing { kid, algorithm, key, generation })
            }
            Err(unproven) => {
                let (reason, checked) = (unproven.reason(), unproven.into_checked());
                let tried = keys.thumbprints(checked.kid());
                Look::Doubtful(checked, Doubt { reason, seen: peek.seq(), tried })
            }
        }
    }

    fn accept(
        &self,
        verified: Verified,
        standing: Standing,
        digest: Option<Digest>,
        text: TokenText<'_>,
    ) -> Result<Caller<C>, Rejection> {
        let (from, until) = window(verified.standard(), self.0.rules.leeway());
        let principal = principal(verified.standard(), self.0.rules.leeway());
        let principal = self.with_place(principal, &verified)?;
        let claims = (self.0.claims)(verified).map_err(Rejection::Invalid)?;
        let caller = Caller::new(principal, claims);
        if let (Some(cache), Some(digest)) = (&self.0.verified, digest) {
            let entry = Entry { caller: caller.clone(), from, until, standing };
            cache.put(digest, entry, self.0.clock.unix_seconds());
        }
        self.unless_revoked(caller, text)
    }

    pub(super) fn unless_revoked(
        &self,
        caller: Caller<C>,
        text: TokenText<'_>,
    ) -> Result<Caller<C>, Rejection> {
        let Some(revocations) = &self.0.revocations else { return Ok(caller) };
        match revocations.standing(&caller.principal, text, None) {
            Revoked::Revoked => Err(Rejection::Invalid(InvalidToken::Inactive)),
            Revoked::Alive | Revoked::Unclear => Ok(caller),
        }
    }

    /// The token may have died while it waited.
    fn accept_late(
        &self,
        verified: Verified,
        standing: Standing,
        digest: Option<Digest>,
        text: TokenText<'_>,
    ) -> Result<Caller<C>, Rejection> {
        let (_, until) = window(verified.standard(), self.0.rules.leeway());
        if self.0.clock.unix_seconds() >= until {
            return Err(Rejection::Invalid(InvalidToken::Expired));
        }
        self.accept(verified, standing, digest, text)
    }

    fn wall_clock(&self) -> SystemTime {
        let seconds = u64::try_from(self.0.clock.unix_seconds()).unwrap_or(0);
        // A clock that no `SystemTime` can show reads as 1970: every token is then of the future.
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
    }
}

/// Whether the issuer may have put another key in place.
pub(crate) fn newer_keys_may_help(reason: InvalidToken) -> bool {
    matches!(
        reason,
        InvalidToken::UnknownKey | InvalidToken::KeyMismatch | InvalidToken::BadSignature
    )
}

/// Sets came and went while they were looked at, or their flights were lost.
fn undecided() -> Rejection {
    unavailable(ErrorKind::Lost, None)
}

/// The issuer is asked again after half a minute at the latest while somebody waits for it, whatever it
/// says itself; and so is told to who waits.
fn failed(error: &Error) -> Rejection {
    let asked = error.retry_after().map(|asked| asked.min(WAITING_RETRY_AFTER_MAX));
    unavailable(error.kind(), asked)
}

pub(crate) fn unavailable(cause: ErrorKind, left: Option<Duration>) -> Rejection {
    Rejection::Unavailable { cause, retry_after: left.unwrap_or_default().max(SOON) }
}

/// From when until before when the token is valid, in seconds since 1970: the one leeway on all three dates.
fn window(claims: &StandardClaims, leeway: Duration) -> (i64, i64) {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    let leeway = i64::try_from(leeway.as_secs()).unwrap_or(0);
    let from = claims.not_before().max(claims.issued_at()).map_or(0, seconds);
    (from.saturating_sub(leeway), seconds(claims.expires_at()).saturating_add(leeway))
}

fn principal(claims: &StandardClaims, leeway: Duration) -> Principal {
    let expires_at = claims.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut principal = Principal::new(claims.issuer(), expires_at);
    principal.subject = claims.subject().map(str::to_owned);
    principal.client_id = claims.client_id().map(str::to_owned);
    principal.valid_until = expires_at.saturating_add(leeway);
    principal.acr = claims.acr().map(str::to_owned);
    principal.auth_time = claims.auth_time().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    principal.issued_at = claims.issued_at().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    principal.session_id = claims.session_id().map(str::to_owned);
    principal.token_id = claims.token_id().map(str::to_owned);
    principal.confirmation = claims.confirmation().cloned();
    principal.scopes = Scopes::parse(claims.scope());
    principal
}
