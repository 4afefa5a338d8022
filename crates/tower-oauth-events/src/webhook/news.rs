//! What the body says.

use serde_json::{Map, Value};
use tower_oauth_core::Revocation;

const MAX_ENTRIES: usize = 1_000;
/// The end of the year 9999: what lies beyond is a mistake, milliseconds for instance.
const MAX_DATE: i64 = 253_402_300_799;
const MOMENT: &str = "issued_at_or_before";

/// Reads all that has died at the issuer, or says what is wrong. Nothing may lie behind `latest`.
pub(super) fn read(
    body: &[u8],
    issuer: &str,
    timestamp: i64,
    latest: i64,
) -> Result<Vec<Revocation>, &'static str> {
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| "the body is no JSON object")?;
    if body.keys().any(|name| name != "revoked") {
        return Err("the body has a member that is not known");
    }
    let entries = body.get("revoked").and_then(Value::as_array);
    let entries = entries.ok_or("revoked is no array")?;
    if !(1..=MAX_ENTRIES).contains(&entries.len()) {
        return Err("revoked has not from 1 to 1,000 entries");
    }
    entries.iter().map(|entry| revocation(entry, issuer, timestamp, latest)).collect()
}

fn revocation(
    entry: &Value,
    issuer: &str,
    timestamp: i64,
    latest: i64,
) -> Result<Revocation, &'static str> {
    let entry = entry.as_object().ok_or("an entry is no object")?;
    let moment = entry.get(MOMENT).map(|moment| date(moment, latest)).transpose()?;
    // A name that is misspelt would end more tokens than is meant, or others.
    let mut rest = entry.iter().filter(|(name, _)| *name != MOMENT);
    let (Some((name, value)), None) = (rest.next(), rest.next()) else {
        return Err("an entry has not exactly one name");
    };
    let text = || {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.ok_or("a name is no text, or empty")
    };
    let (what, otherwise) = match name.as_str() {
        "token_id" => (Revocation::token_id(issuer, text()?), None),
        "session" => (Revocation::session(issuer, text()?), None),
        "subject" => (Revocation::subject(issuer, text()?), Some(timestamp)),
        "client" => (Revocation::client(issuer, text()?), Some(timestamp)),
        "all" if value == &Value::Bool(true) => (Revocation::of_issuer(issuer), Some(timestamp)),
        "all" => return Err("all is not true"),
        _ => return Err("an entry has a name that is not known"),
    };
    Ok(match moment.or(otherwise) {
        Some(moment) => what.issued_at_or_before(moment),
        None => what,
    })
}

fn date(value: &Value, latest: i64) -> Result<i64, &'static str> {
    let date = value.as_i64().filter(|date| (0..=MAX_DATE).contains(date));
    match date.ok_or("issued_at_or_before is no date")? {
        date if date > latest => Err("issued_at_or_before lies in the future"),
        date => Ok(date),
    }
}
