use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// The endpoints of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/token`: RFC 6749 §3.2.
    Token,
    /// `/jwks`: RFC 7517 §5.
    Jwks,
    /// The metadata, under all its well-known names: RFC 8414, OpenID Connect Discovery.
    Discovery,
    /// `/introspect`: RFC 7662.
    Introspection,
    /// `/revoke`: RFC 7009.
    Revocation,
    /// `/statuslists/1`, and any other name in its place: draft-ietf-oauth-status-list.
    StatusList,
}

/// What an endpoint does instead of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Works, but only after this long (tokio's time: paused time works in process).
    Delay(Duration),
    /// Takes the request and never answers it, not even when the endpoint is healed.
    Hang,
    /// Does not do the work; the connection breaks. In process the call fails with
    /// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset).
    Reset,
    /// Does the work (the token is issued, or revoked), but the answer is lost as in [`Self::Reset`].
    LoseAnswer,
    /// Answers with this status and no body. A number that is no status is sent as 500.
    Status(u16),
    /// Answers with this status and a `Retry-After` field of this text (RFC 9110 §10.2.3).
    StatusWithRetryAfter {
        /// The status, as in [`Self::Status`].
        status: u16,
        /// Seconds, a date, or nonsense.
        retry_after: String,
    },
    /// Answers 200 with this as `application/json`.
    Garbage(Bytes),
    /// Answers with exactly this.
    Body {
        /// The status, as in [`Self::Status`].
        status: u16,
        /// The `Content-Type` field.
        content_type: String,
        /// The content.
        body: Bytes,
    },
    /// Sends the client elsewhere by 307, the redirect that keeps method and body.
    Redirect(String),
    /// Answers rightly, but the connection breaks in the middle of the body.
    CutBody,
    /// Answers 200 with a JSON text that goes on for ever, as fast as it is read.
    EndlessBody,
    /// Answers 200 with a JSON text that goes on for ever, one byte each such interval.
    DripForever(Duration),
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Token,
        Self::Jwks,
        Self::Discovery,
        Self::Introspection,
        Self::Revocation,
        Self::StatusList,
    ];
}

impl Fault {
    /// An OAuth error answer (RFC 6749 §5.2) with this code: 401 for `invalid_client`, else 400.
    #[must_use]
    pub fn oauth_error(code: &str) -> Self {
        Self::Body {
            status: if code == "invalid_client" { 401 } else { 400 },
            content_type: "application/json".into(),
            body: serde_json::json!({ "error": code }).to_string().into(),
        }
    }
}

/// One value for each endpoint.
#[derive(Debug, Default)]
pub(crate) struct PerEndpoint<T> {
    token: T,
    jwks: T,
    discovery: T,
    introspection: T,
    revocation: T,
    status_list: T,
}

impl<T> PerEndpoint<T> {
    pub(crate) fn of(&self, endpoint: Endpoint) -> &T {
        match endpoint {
            Endpoint::Token => &self.token,
            Endpoint::Jwks => &self.jwks,
            Endpoint::Discovery => &self.discovery,
            Endpoint::Introspection => &self.introspection,
            Endpoint::Revocation => &self.revocation,
            Endpoint::StatusList => &self.status_list,
        }
    }

    pub(crate) fn of_mut(&mut self, endpoint: Endpoint) -> &mut T {
        match endpoint {
            Endpoint::Token => &mut self.token,
            Endpoint::Jwks => &mut self.jwks,
            Endpoint::Discovery => &mut self.discovery,
            Endpoint::Introspection => &mut self.introspection,
            Endpoint::Revocation => &mut self.revocation,
            Endpoint::StatusList => &mut self.status_list,
        }
    }
}

/// The faults of one endpoint, played in the order in which they were scripted.
#[derive(Debug, Default)]
pub(crate) struct Script {
    queue: VecDeque<Scripted>,
    next_id: u64,
}

#[derive(Debug)]
struct Scripted {
    id: u64,
    fault: Fault,
    /// How often it is still to be played; `None` is for ever.
    left: Option<u64>,
}

impl Script {
    /// Adds a fault that stands until it is healed, and returns its name.
    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        // Behind a fault that stands for ever nothing would ever be played: the new one replaces it.
        self.queue.retain(|scripted| scripted.left.is_some());
        self.next_id += 1;
        self.queue.push_back(Scripted { id: self.next_id, fault, left: None });
        self.next_id
    }

    pub(crate) fn limit(&mut self, id: u64, times: u64) {
        if let Some(scripted) = self.queue.iter_mut().find(|scripted| scripted.id == id) {
            scripted.left = Some(times);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    /// The fault of the next call.
    pub(crate) fn play(&mut self) -> Option<Fault> {
        loop {
            let first = self.queue.front_mut()?;
            match &mut first.left {
                None => return Some(first.fault.clone()),
                Some(0) => {
                    self.queue.pop_front();
                }
                Some(left) => {
                    *left -= 1;
                    return Some(first.fault.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_played_in_order_then_the_endpoint_is_well() {
        let mut script = Script::default();
        let id = script.add(Fault::Hang);
        script.limit(id, 2);
        let id = script.add(Fault::Reset);
        script.limit(id, 1);
        let id = script.add(Fault::Status(503));
        script.limit(id, 0);
        let played: Vec<_> = (0..5).map(|_| script.play()).collect();
        assert_eq!(played, [Some(Fault::Hang), Some(Fault::Hang), Some(Fault::Reset), None, None]);
    }

    #[test]
    fn a_standing_fault_is_replaced_by_the_next() {
        let mut script = Script::default();
        script.add(Fault::Hang);
        assert_eq!(script.play(), Some(Fault::Hang));
        script.add(Fault::Reset);
        assert_eq!((script.play(), script.play()), (Some(Fault::Reset), Some(Fault::Reset)));
        script.clear();
        assert_eq!(script.play(), None);
    }
}
