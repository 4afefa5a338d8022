//! The load: requests at a fixed rate, whatever becomes of those before them, and a record of each.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use tower_oauth::{BoxError, BoxFuture, Clock, SystemClock};

use crate::wire::chain;

/// How long a caller waits for an answer before it gives up, which is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the rate is caught up with.
const TICK: Duration = Duration::from_millis(5);
/// How many failures of our own group are told in full.
const TOLD: usize = 5;

/// Whose clients sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Behind tower-oauth.
    Ours,
    /// As it is done everywhere.
    Control,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// A client that logs in once and shares its token among all that it sends.
pub(crate) trait Device: Send + Sync + 'static {
    /// Asks for the stock. Any answer but 200 with a whole body, or gRPC's OK, is an error.
    ///
    /// `hold` names the incident that the network keeps the request for (see `resource::Gate`).
    fn send(&self, over: Protocol, hold: Option<u32>) -> BoxFuture<Result<(), BoxError>>;

    /// Ends the token that it has (RFC 7009). It is of no use after that.
    fn log_out(&self) -> BoxFuture<Result<(), BoxError>>;
}

/// What a device of either group talks to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What is asked for over HTTP.
    pub(crate) uri: Uri,
    pub(crate) http: tower_oauth::HttpClient,
    /// Where gRPC is spoken, if it is.
    pub(crate) grpc: Option<tonic::transport::Channel>,
}

/// One request, from its caller's side. Times count from the start of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) group: Group,
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Failed,
    /// While the resource refused everybody, good tokens too: nobody can help that.
    Refused,
}

/// The clients of both groups, and what they saw.
pub(crate) struct Load {
    clock: SystemClock,
    began: Instant,
    rate: AtomicU32,
    protocols: &'static [Protocol],
    fleets: Mutex<Fleets>,
    log: Mutex<Log>,
    pending: AtomicUsize,
}

#[derive(Default)]
struct Fleets {
    ours: Vec<Arc<dyn Device>>,
    control: Vec<Arc<dyn Device>>,
}

#[derive(Default)]
struct Log {
    samples: Vec<Sample>,
    tally: Tally,
    told: Vec<String>,
    refusing: Option<Refusing>,
}

/// When the resource refused everybody; until now, if it has no end.
#[derive(Clone, Copy)]
struct Refusing {
    from: Duration,
    to: Option<Duration>,
}

/// Both groups in numbers, so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ours: u64,
    pub(crate) ours_failed: u64,
    pub(crate) control: u64,
    pub(crate) control_failed: u64,
}

impl Load {
    /// A load of `rate` requests a second for each group, these protocols in turn.
    pub(crate) fn new(rate: u32, protocols: &'static [Protocol]) -> Arc<Self> {
        Arc::new(Self {
            clock: SystemClock,
            began: SystemClock.now(),
            rate: AtomicU32::new(rate),
            protocols,
            fleets: Mutex::default(),
            log: Mutex::default(),
            pending: AtomicUsize::new(0),
        })
    }

    /// The time since the start of the run.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now().duration_since(self.began)
    }

    pub(crate) async fn sleep_until(&self, moment: Duration) {
        tokio::time::sleep(moment.saturating_sub(self.now())).await;
    }

    /// From now on these devices send what the group sends, in turn.
    pub(crate) fn equip(&self, group: Group, devices: Vec<Arc<dyn Device>>) {
        let mut fleets = lock(&self.fleets);
        match group {
            Group::Ours => fleets.ours = devices,
            Group::Control => fleets.control = devices,
        }
    }

    /// From now on sends so many requests a second for each group.
    pub(crate) fn set_rate(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// From now on the resource refuses everybody; or does so no longer.
    pub(crate) fn set_refusing(&self, refusing: bool) {
        let now = self.now();
        let mut log = lock(&self.log);
        let from = log.refusing.map_or(now, |refusing| refusing.from);
        log.refusing = Some(Refusing { from, to: (!refusing).then_some(now) });
    }

    /// The device that joined a group last.
    pub(crate) fn newest(&self, group: Group) -> Option<Arc<dyn Device>> {
        let fleets = lock(&self.fleets);
        match group {
            Group::Ours => fleets.ours.last().cloned(),
            Group::Control => fleets.control.last().cloned(),
        }
    }

    /// Sends, until this future is dropped.
    ///
    /// An open loop: a request that waits does not keep the next one from being sent, as a queue
    /// of people does not wait in the street because the till is slow.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        let (mut last, mut due, mut sent) = (self.now(), 0.0, 0_usize);
        loop {
            ticks.tick().await;
            let now = self.now();
            let rate = f64::from(self.rate.load(Ordering::Relaxed));
            due += (now - last).as_secs_f64() * rate;
            last = now;
            while (sent as f64) < due {
                for group in [Group::Ours, Group::Control] {
                    self.send_nth(sent, group, None);
                }
                sent += 1;
            }
        }
    }

    /// Sends so many requests of a group at once, to be held by the network until the incident.
    pub(crate) fn hold(self: &Arc<Self>, group: Group, count: usize, incident: u32) {
        for n in 0..count {
            self.send_nth(n, group, Some(incident));
        }
    }

    /// Protocols take turns, and devices do within each protocol.
    fn send_nth(self: &Arc<Self>, n: usize, group: Group, hold: Option<u32>) {
        let device = {
            let fleets = lock(&self.fleets);
            let fleet = match group {
                Group::Ours => &fleets.ours,
                Group::Control => &fleets.control,
            };
            let turn = (n / self.protocols.len().max(1)).checked_rem(fleet.len());
            turn.and_then(|turn| fleet.get(turn)).cloned()
        };
        let over = n.checked_rem(self.protocols.len()).and_then(|n| self.protocols.get(n)).copied();
        let (Some(device), Some(over)) = (device, over) else { return };

        let (load, start) = (Arc::clone(self), self.now());
        self.pending.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, device.send(over, hold)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".into()));
            load.record(group, over, start, answer);
            load.pending.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn record(&self, group: Group, over: Protocol, start: Duration, answer: Result<(), BoxError>) {
        let end = self.now();
        let mut log = lock(&self.log);
        let outcome = match (&answer, log.refusing) {
            (Ok(()), _) => Outcome::Good,
            (Err(_), Some(refusing)) if refusing.excuses(start, end) => Outcome::Refused,
            (Err(_), _) => Outcome::Failed,
        };
        log.samples.push(Sample { group, start, end, outcome });
        let failed = u64::from(outcome == Outcome::Failed);
        match group {
            Group::Ours => {
                log.tally.ours += 1;
                log.tally.ours_failed += failed;
            }
            Group::Control => {
                log.tally.control += 1;
                log.tally.control_failed += failed;
            }
        }
        if let Err(error) = answer
            && group == Group::Ours
            && outcome == Outcome::Failed
            && log.told.len() < TOLD
        {
            let at = start.as_secs_f64();
            log.told.push(format!("sent at {at:.2} s over {over:?}: {}", chain(&*error)));
        }
    }

    /// Waits for the answers that are still to come.
    pub(crate) async fn drain(&self) {
        // Nobody waits for longer than a caller's patience.
        while self.pending.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(TICK).await;
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        lock(&self.log).tally
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        lock(&self.log).samples.clone()
    }

    /// The first failures of our group, in words. There should be none.
    pub(crate) fn told(&self) -> Vec<String> {
        lock(&self.log).told.clone()
    }
}

impl Refusing {
    /// Whether a request was under way meanwhile.
    fn excuses(self, start: Duration, end: Duration) -> bool {
        end >= self.from && self.to.is_none_or(|to| start < to)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
