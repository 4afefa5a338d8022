//! Security event tokens that are fetched: RFC 8936, the receiving side.

mod builder;
mod codec;

use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use serde_json::{Value, json};
use tower_oauth_core::{Error, ErrorKind};
use tower_oauth_endpoint::{Endpoint, HttpClient};
use tower_oauth_jose::InvalidToken;
use tower_oauth_server::Rejection;
use tower_service::Service as _;

use crate::push::code;
use crate::{SetPush, observe};

use self::codec::{Ask, Owed, PollCodec};

pub use self::builder::SetPollBuilder;

/// For connecting, sending and the whole answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often in a row a transmitter is asked that says each time that it has more.
const MAX_ROUNDS: usize = 16;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Error::MAX_RETRY_AFTER;

/// Fetches security events (SETs, RFC 8417) from a transmitter (RFC 8936): for programs that nobody can reach from outside.
///
/// What a SET does is what the [`SetPush`] does with it that this is built on, which need not be mounted anywhere; its rules, its memory of names and its
/// [counts](SetPush::counts) hold here too.
///
/// # The rules
///
/// 1. [`run`](Self::run) asks every [interval](SetPollBuilder::interval), without holding the connection (`returnImmediately`), for up to 32 SETs at a time, and
///    again at once as long as there are some: at most 16 times in a row, whatever `moreAvailable` says.
/// 2. **Acknowledged after the effect**: the name of a SET goes into the next request's `ack` when every sink has been told, or into its `setErrs` with the code
///    of RFC 8935 §2.4 if it is no event of this transmitter for us. Until a request has been answered, what it said is said again (unless it was
///    400, which it may have been the cause of).
/// 3. A SET that cannot be verified now, for want of keys, is neither acknowledged nor refused: it comes again.
/// 4. **Trouble**: after a failed request the next one waits for 1 s, then twice as long each time, up to 5 minutes, or for as long as `Retry-After` says. All
///    waiting has 10 % of jitter.
/// 5. **Bounded**: 1 MiB and 10 s for an answer; no redirects; https, or loopback. If 32 SETs are too large for that, half as many are asked for from then on.
///
/// ```no_run
/// use tower_oauth_core::Secret;
/// use tower_oauth_events::{SetPoll, SetPush};
/// use tower_oauth_server::Revocations;
///
/// # async fn start(http: tower_oauth_server::HttpClient) -> Result<(), tower_oauth_core::BuildError> {
/// let revocations = Revocations::new();
/// let events = SetPush::transmitter("https://idp.example.com")
///     .audience("https://inventory.example.com")
/// #   .http_client(http.clone())
///     .sink(revocations)
///     .build()?;
/// let poll = SetPoll::builder(events, "https://idp.example.com/ssf/poll")
///     .authorization(Secret::new("Bearer 4ed1b0c7a9"))
/// #   .http_client(http)
///     .build()?;
/// let polling = tokio::spawn(poll.run());      // to stop: polling.abort()
/// # drop(polling); Ok(()) }
/// ```
#[must_use = "nothing is asked for until it is run"]
pub struct SetPoll {
    events: SetPush,
    endpoint: Endpoint<PollCodec, HttpClient>,
    interval: Duration,
    max_events: usize,
    owed: Owed,
}

/// What one request has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Polled {
    /// SETs that were acknowledged, those included that had come before.
    pub acknowledged: usize,
    /// SETs that were refused.
    pub refused: usize,
    /// Whether the transmitter says that it has more.
    pub more_available: bool,
    /// If there are SETs that could not be verified for want of keys: when to ask again.
    pub held_back: Option<Duration>,
}

impl SetPoll {
    /// Polls this address (the `endpoint_url` of the stream), and does with SETs what `events` does.
    pub fn builder(events: SetPush, endpoint: impl Into<String>) -> SetPollBuilder {
        SetPollBuilder::new(events, endpoint.into())
    }

    /// Asks once, and takes in what comes. For a program that has a beat of its own; else see [`run`](Self::run).
    ///
    /// If it is dropped before it is done, nothing is lost: SETs that are not acknowledged come again.
    ///
    /// # Errors
    /// The request failed, or its answer is malformed. What has to be acknowledged is kept for the next one.
    pub async fn poll(&mut self) -> Result<Polled, Error> {
        let answer = self.ask().await;
        observe::polled(answer.is_ok());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                match error.kind() {
                    ErrorKind::TooLarge => self.max_events = (self.max_events / 2).max(1),
                    // It may be what we say that it does not understand; then it sends those again.
                    ErrorKind::Status(400) => self.owed = Owed::default(),
                    _ => {}
                }
                return Err(error);
            }
        };
        self.owed = Owed::default();
        let mut polled = Polled {
            acknowledged: 0,
            refused: 0,
            more_available: answer.more_available,
            held_back: None,
        };
        // If it sends more than was asked for, they come again.
        for (name, set) in answer.sets.into_iter().take(self.max_events) {
            let taken = match set {
                Value::String(set) => self.events.receive(&set).await,
                _ => Err(Rejection::Invalid(InvalidToken::Malformed)),
            };
            match taken {
                Ok(()) => {
                    self.owed.acks.push(name);
                    polled.acknowledged += 1;
                }
                Err(Rejection::Invalid(reason)) => {
                    let error = json!({ "err": code(reason), "description": reason.to_string() });
                    self.owed.errors.insert(name, error);
                    polled.refused += 1;
                }
                Err(Rejection::Unavailable { retry_after, .. }) => {
                    polled.held_back = polled.held_back.max(Some(retry_after));
                }
                Err(_) => polled.held_back = polled.held_back.max(Some(SHORTEST)),
            }
        }
        Ok(polled)
    }

    /// Polls for ever: a task to be spawned, and to be aborted when the program ends.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let wait = match self.turn().await {
                Ok(None) => {
                    if failures > 0 {
                        tracing::info!(failures, "security events can be polled again");
                    }
                    failures = 0;
                    self.interval
                }
                Ok(Some(held_back)) => held_back.clamp(SHORTEST, LONGEST),
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(error = %error, "security events cannot be polled");
                    }
                    failures += 1;
                    back_off(failures).max(error.retry_after().unwrap_or_default())
                }
            };
            // So that many of us do not come all at once.
            tokio::time::sleep(wait.mul_f64(1.0 + fastrand::f64() / 10.0)).await;
        }
    }

    /// As long as there is something to fetch or to acknowledge. `Some` if SETs had to be held back.
    async fn turn(&mut self) -> Result<Option<Duration>, Error> {
        for _ in 0..MAX_ROUNDS {
            let polled = self.poll().await?;
            if polled.held_back.is_some() || polled.acknowledged + polled.refused == 0 {
                return Ok(polled.held_back);
            }
        }
        Ok(None)
    }

    async fn ask(&mut self) -> Result<codec::Sets, Error> {
        let ask = Ask { max_events: self.max_events, owed: self.owed.clone() };
        poll_fn(|cx| self.endpoint.poll_ready(cx)).await?;
        self.endpoint.call(ask).await
    }
}

/// The wait after so many failures in a row.
fn back_off(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX);
    SHORTEST.saturating_mul(factor).min(LONGEST)
}

impl fmt::Debug for SetPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetPoll")
            .field("events", &self.events)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
