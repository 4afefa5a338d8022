//! What the events of a SET mean.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tower_oauth_core::Revocation;
use tower_oauth_jose::{InvalidToken, Verified};

use super::subject::Subjects;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const OAUTH: &str = "https://schemas.openid.net/secevent/oauth/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";
/// The end of the year 9999: what lies beyond is a mistake, milliseconds for instance.
const MAX_DATE: f64 = 253_402_300_799.0;

/// All that a SET tells.
#[derive(Default)]
pub(super) struct Told {
    pub(super) revocations: Vec<Revocation>,
    pub(super) unknown_events: u64,
    pub(super) disallowed_events: u64,
    pub(super) unknown_subjects: u64,
}

/// Whether events of this type can end tokens.
pub(super) fn may_end(name: &str) -> bool {
    Effect::of(name, &Value::Null) == Effect::Ends
}

/// What an event does to the tokens of its subject that were issued before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Ends,
    Nothing,
    Unknown,
}

impl Told {
    /// Reads the events. None of them may lie behind `latest`, in seconds since 1970.
    pub(super) fn read(
        verified: &Verified,
        subjects: &Subjects,
        allowed: Option<&BTreeSet<String>>,
        latest: i64,
    ) -> Result<Self, InvalidToken> {
        let claims: Map<String, Value> = verified.claims()?;
        let events = claims.get("events").and_then(Value::as_object);
        let events = events.ok_or(InvalidToken::MissingClaim("events"))?;
        let mut told = Self::default();
        for (name, event) in events {
            match Effect::of(name, event) {
                Effect::Nothing => {}
                Effect::Unknown => told.unknown_events += 1,
                Effect::Ends if allowed.is_some_and(|allowed| !allowed.contains(name)) => {
                    told.disallowed_events += 1;
                }
                Effect::Ends => {
                    let moment = moment(event, &claims)?;
                    if moment > latest {
                        return Err(InvalidToken::NotYetValid);
                    }
                    let subject = claims.get("sub_id").unwrap_or(&Value::Null);
                    let ended = subjects.read(subject)?;
                    told.unknown_subjects += u64::from(ended.is_empty());
                    let dated = ended.into_iter().map(|what| what.issued_at_or_before(moment));
                    told.revocations.extend(dated);
                }
            }
        }
        Ok(told)
    }
}

impl Effect {
    fn of(name: &str, event: &Value) -> Self {
        let says = |member, value| event.get(member).and_then(Value::as_str) == Some(value);
        if let Some(name) = name.strip_prefix(CAEP) {
            return match name {
                "session-revoked" | "token-claims-change" => Self::Ends,
                // One more credential takes nothing from anybody.
                "credential-change" if says("change_type", "create") => Self::Nothing,
                "assurance-level-change" if says("change_direction", "increase") => Self::Nothing,
                "credential-change" | "assurance-level-change" => Self::Ends,
                "session-established" | "session-presented" => Self::Nothing,
                _ => Self::Unknown,
            };
        }
        if let Some(name) = name.strip_prefix(RISC) {
            return match name {
                "account-disabled"
                | "account-purged"
                | "credential-compromise"
                | "sessions-revoked" => Self::Ends,
                "account-enabled" => Self::Nothing,
                _ => Self::Unknown,
            };
        }
        match (name.strip_prefix(OAUTH), name.strip_prefix(SSF)) {
            (Some("token-revoked" | "tokens-revoked"), _) => Self::Ends,
            (_, Some("verification" | "stream-updated")) => Self::Nothing,
            _ => Self::Unknown,
        }
    }
}

/// When it happened: the event's own word (CAEP §2), that of the SET (`toe`, RFC 8417 §2.2), or the time at which that was made.
fn moment(event: &Value, claims: &Map<String, Value>) -> Result<i64, InvalidToken> {
    let told = [
        ("event_timestamp", event.get("event_timestamp")),
        ("toe", claims.get("toe")),
        ("iat", claims.get("iat")),
    ];
    let found = told.into_iter().find_map(|(name, value)| Some((name, value?)));
    let (name, value) = found.ok_or(InvalidToken::MissingClaim("iat"))?;
    let date = value.as_f64().filter(|date| (0.0..=MAX_DATE).contains(date));
    date.map(|date| date.floor() as i64).ok_or(InvalidToken::InvalidClaim(name))
}
