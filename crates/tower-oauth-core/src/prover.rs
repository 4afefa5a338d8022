use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::Error;

/// Where a server says which nonce the next proof has to carry (RFC 9449 §8, §9).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// A longer nonce is not taken.
const MAX_NONCE: usize = 1024;
/// So many servers are remembered; the one that was not heard of for longest goes.
const SERVERS: usize = 64;
/// After so many replays in a row that were asked for yet another nonce there is one in [`REST`].
const FRUITLESS: u32 = 4;
const REST: Duration = Duration::from_secs(1);

/// Proves, for each request, that its sender holds the key which a token is bound to (RFC 9449).
///
/// A token that is bound brings its prover along ([`Token::with_prover`](crate::Token::with_prover)), so that sources which wrap
/// others need not know of it.
pub trait Prover: Send + Sync + 'static {
    /// A new proof, for one request: the value of its `DPoP` field, marked sensitive.
    ///
    /// It is asked for where the request is sent, so it answers at once.
    ///
    /// # Errors
    /// The key does not sign.
    fn prove(&self, request: &ProofRequest<'_>) -> Result<HeaderValue, Error>;

    /// Whether this is a proof that this key has signed, for whatever request.
    fn recognises(&self, proof: &HeaderValue) -> bool;

    /// What resource servers have said of nonces. (Those of an authorization server are others, RFC 9449 §8.)
    fn nonces(&self) -> &ServerNonces;
}

/// What a proof is for.
#[derive(Clone, Copy)]
pub struct ProofRequest<'a> {
    /// `htm`: the method.
    pub method: &'a Method,
    /// `htu`: the target, without query and fragment.
    pub uri: &'a str,
    /// What `ath` is the digest of; `None` at a token endpoint.
    pub access_token: Option<&'a str>,
    /// What the server has asked for.
    pub nonce: Option<&'a str>,
}

/// The last nonce of each server, by its origin: at most 64, and 1 KiB each.
///
/// A server that asks for another nonce each time is not answered for ever: after four replays in a row that did not
/// help there is one a second.
#[derive(Default)]
pub struct ServerNonces(Mutex<VecDeque<Known>>);

/// One server; the one that was heard of last stands in front.
struct Known {
    origin: Box<str>,
    nonce: Option<Arc<str>>,
    /// Replays in a row that did not help.
    fruitless: u32,
    next_try: Option<Instant>,
}

// === impl ServerNonces ===

impl ServerNonces {
    /// The nonce that this server wants to see, if it has named one.
    #[must_use]
    pub fn of(&self, origin: &str) -> Option<Arc<str>> {
        self.known().iter().find(|known| *known.origin == *origin)?.nonce.clone()
    }

    /// Takes the nonce out of an answer, whatever its status (RFC 9449 §8.2), and gives it back.
    ///
    /// Nothing is taken where there are several, or one with characters that no nonce has (RFC 9449 §8.1).
    pub fn take(&self, origin: &str, answer: &HeaderMap) -> Option<Arc<str>> {
        let mut fields = answer.get_all(&DPOP_NONCE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        let nonce = field.to_str().ok().filter(|nonce| is_nonce(nonce))?;
        self.with(origin, |known| match &known.nonce {
            Some(same) if **same == *nonce => Some(Arc::clone(same)),
            _ => {
                known.nonce = Some(nonce.into());
                known.nonce.clone()
            }
        })
    }

    /// Whether a request that this server has asked a nonce for is to be sent again.
    pub fn may_replay(&self, origin: &str, now: Instant) -> bool {
        self.with(origin, |known| {
            let is_due = known.next_try.is_none_or(|next| now >= next);
            if is_due && known.next_try.is_some() {
                // One tries, the others wait for what comes of it.
                known.next_try = now.checked_add(REST);
            }
            is_due
        })
    }

    /// What came of a replay: whether the server has asked for yet another nonce.
    pub fn replayed(&self, origin: &str, asked_again: bool, now: Instant) {
        self.with(origin, |known| {
            known.fruitless = if asked_again { known.fruitless.saturating_add(1) } else { 0 };
            let rests = known.fruitless >= FRUITLESS;
            known.next_try = if rests { now.checked_add(REST) } else { None };
        });
    }

    fn with<T>(&self, origin: &str, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut servers = self.known();
        let at = servers.iter().position(|known| *known.origin == *origin);
        let mut known = at.and_then(|at| servers.remove(at)).unwrap_or_else(|| Known {
            origin: origin.into(),
            nonce: None,
            fruitless: 0,
            next_try: None,
        });
        let result = change(&mut known);
        servers.push_front(known);
        servers.truncate(SERVERS);
        result
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 9449 §8.1: `1*NQCHAR`.
fn is_nonce(text: &str) -> bool {
    let is_nqchar = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=MAX_NONCE).contains(&text.len()) && text.bytes().all(is_nqchar)
}

impl fmt::Debug for ServerNonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerNonces").field("servers", &self.known().len()).finish()
    }
}

// The token stands in here, and a path may hold what is nobody else's business.
impl fmt::Debug for ProofRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

#[cfg(test)]
// The clock is the one thing here that is no value; its start does not matter.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn answer(nonces: &[&str]) -> HeaderMap {
        nonces.iter().map(|nonce| (DPOP_NONCE, nonce.parse().unwrap())).collect()
    }

    #[test]
    fn d04_the_last_nonce_of_each_server_counts_and_of_no_other() {
        let nonces = ServerNonces::default();
        let (a, b) = ("https://a.example", "https://b.example");
        assert_eq!(nonces.of(a), None);
        for nonce in ["1", "2", "2"] {
            assert_eq!(nonces.take(a, &answer(&[nonce])).as_deref(), Some(nonce));
            assert_eq!(nonces.of(a).as_deref(), Some(nonce));
        }
        assert_eq!(nonces.take(a, &answer(&[])), None);
        assert_eq!(nonces.of(a).as_deref(), Some("2"), "an answer without a nonce changes nothing");
        assert_eq!(nonces.of(b), None);
    }

    #[test]
    fn d04_what_is_no_nonce_is_not_taken() {
        let nonces = ServerNonces::default();
        let long = "x".repeat(MAX_NONCE + 1);
        for bad in [&["a", "b"][..], &[""], &["a b"], &["a\"b"], &["a\\b"], &["\u{e4}"], &[&long]] {
            assert_eq!(nonces.take("https://a.example", &answer(bad)), None, "{bad:?}");
        }
        assert_eq!(nonces.of("https://a.example"), None);
        assert!(nonces.take("https://a.example", &answer(&[&long[1..]])).is_some());
    }

    #[test]
    fn d04_servers_are_bounded_and_the_quietest_goes() {
        let nonces = ServerNonces::default();
        for server in 0..1000 {
            nonces.take(&format!("https://s{server}.example"), &answer(&["n"]));
            nonces.take("https://a.example", &answer(&["n"]));
        }
        assert_eq!(nonces.known().len(), SERVERS);
        assert!(nonces.of("https://a.example").is_some());
        assert!(nonces.of("https://s999.example").is_some());
        assert_eq!(nonces.of("https://s1.example"), None);
    }

    #[test]
    fn r11_a_server_that_is_never_content_is_tried_once_a_second() {
        let (nonces, server, start) =
            (ServerNonces::default(), "https://a.example", Instant::now());
        let mut replays = 0;
        // 100 requests a second, for 10 s.
        for request in 0..1000 {
            let now = start + Duration::from_millis(request * 10);
            if nonces.may_replay(server, now) {
                replays += 1;
                nonces.replayed(server, true, now);
            }
        }
        assert_eq!(replays, u64::from(FRUITLESS) + 9);
        assert!(nonces.may_replay("https://b.example", start), "another server's business");
        nonces.replayed(server, false, start + Duration::from_secs(20));
        for _ in 0..3 {
            assert!(nonces.may_replay(server, start + Duration::from_secs(20)), "content again");
        }
    }

    #[test]
    fn l01_debug_shows_neither_token_nor_path() {
        let request = ProofRequest {
            method: &Method::GET,
            uri: "https://a.example/CANARY",
            access_token: Some("CANARY"),
            nonce: Some("CANARY"),
        };
        let nonces = ServerNonces::default();
        nonces.take("https://CANARY.example", &answer(&["CANARY"]));
        let shown = format!("{request:?} {nonces:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
