//! What a test can do to a running authorization server, and what it can learn from it.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// What becomes of the signing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a test wants to match on all of them")]
pub enum Rotate {
    /// A new key is published and signs; the old ones stay published. The planned rotation.
    Add,
    /// A new key is published and signs; the old ones are gone. The emergency.
    Replace,
    /// A new key under the kid in use. What issuers do that number their keys anew at each start.
    SameKid,
    /// The keys that do not sign any more are gone. The second half of a planned rotation.
    Withdraw,
}

impl Rotate {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::SameKid => "same_kid",
            Self::Withdraw => "withdraw",
        }
    }
}

/// Something that goes wrong at one endpoint, or at several.
///
/// The paths are `/token`, `/jwks`, `/introspect`, `/revoke`, `/.well-known`; a path covers what
/// lies below it, and `/` covers all.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fault(Map<String, Value>);

impl Fault {
    /// A fault at this path. It does nothing until one of the methods below says what.
    pub fn at(path: &str) -> Self {
        Self(Map::new()).with("path", json!(path))
    }

    /// It ends after so many calls. Default: it lasts until cleared.
    pub fn times(self, times: u32) -> Self {
        self.with("times", json!(times))
    }

    /// Everything takes this much longer. Alone, the real answer follows.
    pub fn delay(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).expect("a delay within reason");
        self.with("delay_ms", json!(millis))
    }

    /// The connection is reset instead of an answer.
    pub fn reset(self) -> Self {
        self.with("reset", json!(true))
    }

    /// The server does its work, and the connection is reset in the place of its answer.
    pub fn lose_answer(self) -> Self {
        self.with("lose_answer", json!(true))
    }

    /// Of so many calls the last one only.
    pub fn every(self, calls: u32) -> Self {
        self.with("every", json!(calls))
    }

    /// This status instead of the real answer; with an empty body unless there is one.
    pub fn status(self, status: u16) -> Self {
        self.with("status", json!(status))
    }

    /// This body instead of the real answer; with status 200 unless there is one.
    pub fn body(self, body: &str) -> Self {
        self.with("body", json!(body))
    }

    /// The type of the body. Default: `application/json`.
    pub fn content_type(self, content_type: &str) -> Self {
        self.with("content_type", json!(content_type))
    }

    /// The `Retry-After` beside the status.
    pub fn retry_after(self, value: &str) -> Self {
        self.with("retry_after", json!(value))
    }

    pub(super) fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }
}

/// How often each endpoint was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a test compares it with a literal")]
pub struct Counters {
    /// The token endpoint.
    pub token: u64,
    /// The JWKS.
    pub jwks: u64,
    /// The discovery documents, both forms together.
    pub discovery: u64,
    /// The introspection endpoint.
    pub introspection: u64,
    /// The revocation endpoint.
    pub revocation: u64,
}

impl Counters {
    pub(super) fn from_json(json: &Value) -> Self {
        let calls = |wanted: &dyn Fn(&str) -> bool| {
            let by_path = json.as_object().expect("an object of counters").iter();
            by_path.filter(|(path, _)| wanted(path)).filter_map(|(_, n)| n.as_u64()).sum()
        };
        Self {
            token: calls(&|path| path == "/token"),
            jwks: calls(&|path| path == "/jwks"),
            discovery: calls(&|path| path.starts_with("/.well-known/")),
            introspection: calls(&|path| path == "/introspect"),
            revocation: calls(&|path| path == "/revoke"),
        }
    }
}
