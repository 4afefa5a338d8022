//! Security event tokens that are pushed: RFC 8935, the receiving side.

mod builder;
mod events;
mod service;
mod subject;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tower_oauth_core::{RevocationSink, Secret};
use tower_oauth_jose::Unverified;
use tower_oauth_server::{Jwks, Rejection};

use crate::intake::Intake;
use crate::observe::{self, Outcome, Receiver};
use crate::seen::SeenNames;
use crate::trust::Trust;

use self::events::Told;
use self::subject::Subjects;

pub(crate) use self::service::code;

pub use self::builder::{SetPushBuilder, SetPushTransmitter};
pub use self::subject::SubjectName;

/// Receives security events (SETs, RFC 8417) that a transmitter pushes (RFC 8935), and ends the tokens that they concern.
///
/// A `tower::Service` for the endpoint URL of a stream of the OpenID Shared Signals Framework (SSF 1.0): mount it outside of the token door. Cloning is a
/// reference count.
///
/// # The rules
///
/// 1. A `POST` of `application/secevent+jwt`; where the transmitter was given an [`Authorization`](SetPushBuilder::authorization) value,
///    with that.
/// 2. The SET is verified with the transmitter's published keys: `typ` is `secevent+jwt`, `iss` the transmitter, `aud` us; `iat`, `jti`, `sub_id` and
///    `events` (from 1 to 16) are there, `exp` and `sub` are not (SSF §4.1).
/// 3. **What ends**: see the table. Only tokens that were issued at or before `event_timestamp` (or else `toe`, or else `iat`), however late the event comes.
///    A moment in the future is refused.
/// 4. **Whose**: subjects of one issuer, the [transmitter's own](SetPushBuilder::token_issuer) if not said otherwise. A subject of another is acknowledged,
///    counted, and has no effect; so are formats that do not name a subject of ours, and events that are not in the table, or not
///    [allowed](SetPushBuilder::allow_events) on this stream.
/// 5. The answer is 202 when every sink has been told. The same `jti` again is 202 and has no second effect; the last 100,000 within a day are
///    remembered, and later ones have the effect that they had.
/// 6. **Otherwise 400** with `err` and `description` (RFC 8935 §2.4): `invalid_request`, `invalid_key`, `invalid_issuer`, `invalid_audience`,
///    `authentication_failed`. If the keys cannot be had, or more come than are served at a time, it is 503 with `Retry-After`.
/// 7. **Bounded**: 16 KiB, 5 s for the body, 64 requests at a time.
///
/// | event | ends |
/// | --- | --- |
/// | CAEP `session-revoked`, `token-claims-change` | the subject's tokens |
/// | CAEP `credential-change` | the subject's tokens, unless `change_type` is `create` |
/// | CAEP `assurance-level-change` | the subject's tokens, unless `change_direction` is `increase` |
/// | RISC `account-disabled`, `account-purged`, `credential-compromise`, `sessions-revoked` | the subject's tokens |
/// | OAuth `token-revoked`, `tokens-revoked` | the subject's tokens |
/// | SSF `verification`, `stream-updated`; CAEP `session-established`, `session-presented`; RISC `account-enabled` | nothing |
///
/// | subject (`sub_id`, RFC 9493) | is |
/// | --- | --- |
/// | `iss_sub` | `sub`, if `iss` is the issuer of our tokens |
/// | `jwt_id` | the one token with this `jti`, likewise |
/// | `opaque`, `email` | `sub`, if not [said otherwise](SetPushBuilder::resolve_subject) |
/// | `phone_number`, `account`, `did`, `uri` | nobody, if not said otherwise |
/// | `aliases` | all of those that it lists |
/// | `complex` | the `session` if it is `opaque` (and those tokens of the `user` that name none); else the `user`; else the `application` as client |
///
/// Events whose subject stands inside of them, as the first drafts of RISC had it, are refused.
///
/// ```
/// use tower_oauth_core::Secret;
/// use tower_oauth_events::SetPush;
/// use tower_oauth_server::Revocations;
///
/// # fn build(http: tower_oauth_server::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let revocations = Revocations::new();
/// let events = SetPush::transmitter("https://idp.example.com")
///     .audience("https://inventory.example.com")
///     .authorization(Secret::new("Bearer 4ed1b0c7a9"))
///     .sink(revocations)
/// #   .http_client(http)
///     .build()?;
/// let app: axum::Router = axum::Router::new().route_service("/events", events);
/// # drop(app); Ok(()) }
/// ```
#[derive(Clone)]
pub struct SetPush(Arc<Inner>);

struct Inner {
    trust: Trust,
    subjects: Subjects,
    allowed: Option<BTreeSet<String>>,
    authorization: Option<Secret>,
    sinks: Vec<Arc<dyn RevocationSink>>,
    seen: SeenNames,
    intake: Intake,
    counters: Counters,
}

/// What has come of the SETs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetCounts {
    /// SETs that were acknowledged, replayed ones included.
    pub acknowledged: u64,
    /// SETs that had come before.
    pub replayed: u64,
    /// SETs that were refused with 400.
    pub refused: u64,
    /// Revocations that the sinks were told of.
    pub revocations: u64,
    /// Events of a type that is not known here.
    pub unknown_events: u64,
    /// Events that would have ended tokens, of a type that is not [allowed](SetPushBuilder::allow_events) on the stream.
    pub disallowed_events: u64,
    /// Events that would have ended tokens, of a subject that is none of ours or cannot be told.
    pub unknown_subjects: u64,
}

#[derive(Default)]
struct Counters {
    acknowledged: AtomicU64,
    replayed: AtomicU64,
    refused: AtomicU64,
    revocations: AtomicU64,
    unknown_events: AtomicU64,
    disallowed_events: AtomicU64,
    unknown_subjects: AtomicU64,
}

impl SetPush {
    /// Events of this transmitter, compared byte for byte with `iss`.
    ///
    /// Its metadata say where its keys are if it is an authorization server, too; else say it with
    /// [`jwks_uri`](SetPushBuilder::jwks_uri). The next step is [`audience`](SetPushTransmitter::audience).
    pub fn transmitter(issuer: impl Into<String>) -> SetPushTransmitter {
        SetPushTransmitter::new(issuer.into())
    }

    /// The transmitter's keys: to warm them up, or to ask for their health.
    #[must_use]
    pub fn jwks(&self) -> &Jwks {
        &self.0.trust.jwks
    }

    /// What has come of the SETs so far.
    #[must_use]
    pub fn counts(&self) -> SetCounts {
        let Counters { acknowledged, replayed, refused, revocations, .. } = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SetCounts {
            acknowledged: read(acknowledged),
            replayed: read(replayed),
            refused: read(refused),
            revocations: read(revocations),
            unknown_events: read(&self.0.counters.unknown_events),
            disallowed_events: read(&self.0.counters.disallowed_events),
            unknown_subjects: read(&self.0.counters.unknown_subjects),
        }
    }

    /// Takes in a SET that has come by another way than a push: out of a queue, say. What the service does with the body of a request.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] for one that is no event of this transmitter for us; [`Rejection::Unavailable`] if that cannot be told now.
    pub async fn receive(&self, set: &str) -> Result<(), Rejection> {
        let outcome = self.take(set).await;
        let counters = &self.0.counters;
        match outcome {
            Ok(_) => add(&counters.acknowledged, 1),
            Err(Rejection::Invalid(_)) => add(&counters.refused, 1),
            Err(_) => {}
        }
        let seen = outcome.as_ref().map_or_else(Outcome::of, |outcome| *outcome);
        observe::received(Receiver::SecurityEvents, seen);
        outcome.map(drop)
    }

    async fn take(&self, set: &str) -> Result<Outcome, Rejection> {
        let Inner { trust, subjects, allowed, sinks, seen, counters, .. } = &*self.0;
        let verified = trust.verify(set, Unverified::check_security_event).await?;
        let name = verified.standard().token_id().unwrap_or_default();
        if seen.contains(name) {
            add(&counters.replayed, 1);
            return Ok(Outcome::Replayed);
        }
        let latest =
            trust.clock.unix_seconds().saturating_add_unsigned(trust.rules.leeway().as_secs());
        // All of it is read before any of it has an effect.
        let told = Told::read(&verified, subjects, allowed.as_ref(), latest)
            .map_err(Rejection::Invalid)?;
        for what in &told.revocations {
            sinks.revoke(what);
        }
        // After the effect: who sees the name here may answer at once.
        seen.insert(name, trust.clock.now());
        add(&counters.revocations, told.revocations.len() as u64);
        add(&counters.unknown_events, told.unknown_events);
        add(&counters.disallowed_events, told.disallowed_events);
        add(&counters.unknown_subjects, told.unknown_subjects);
        observe::revoked(Receiver::SecurityEvents, told.revocations.len());
        observe::ignored("unknown_event", told.unknown_events);
        observe::ignored("disallowed_event", told.disallowed_events);
        observe::ignored("unknown_subject", told.unknown_subjects);
        tracing::debug!(
            revocations = told.revocations.len(),
            unknown_events = told.unknown_events,
            unknown_subjects = told.unknown_subjects,
            "security event received"
        );
        Ok(Outcome::Applied)
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl fmt::Debug for SetPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPush")
            .field("transmitter", &self.0.trust.rules.issuer())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
