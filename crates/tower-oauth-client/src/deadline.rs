//! The deadline that a gRPC request carries: it includes the wait for a token.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;
use tokio::time::Sleep;
use tower_oauth_core::Clock;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a request that says `grpc-timeout` is over. What it says is counted by whoever sends it, from
/// the moment of sending, so each attempt is told only what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

/// Ends a wait. Without a deadline, or without a runtime that has timers, it never does.
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

// === impl Deadline ===

impl Deadline {
    pub(crate) fn of(headers: &HeaderMap, clock: &dyn Clock) -> Option<Self> {
        let timeout = parse(headers.get(&GRPC_TIMEOUT)?.as_bytes())?;
        clock.now().checked_add(timeout).map(Self)
    }

    /// Ends when the deadline does, if there is one.
    pub(crate) fn timer(deadline: Option<Self>, clock: &dyn Clock) -> Timer {
        deadline.map_or(Timer(None), |deadline| Timer::after(deadline.left(clock)))
    }

    /// Tells the next attempt what is left; `false` if nothing is.
    pub(crate) fn pass_on(self, headers: &mut HeaderMap, clock: &dyn Clock) -> bool {
        let left = self.left(clock);
        if left < Duration::from_micros(1) {
            return false;
        }
        headers.insert(GRPC_TIMEOUT, format(left));
        true
    }

    fn left(self, clock: &dyn Clock) -> Duration {
        self.0.saturating_duration_since(clock.now())
    }
}

// === impl Timer ===

impl Timer {
    pub(crate) fn after(duration: Duration) -> Self {
        let runtime = Handle::try_current().is_ok();
        Self(runtime.then(|| Box::pin(tokio::time::sleep(duration))))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

/// The wire form: up to eight digits and a unit ("gRPC over HTTP/2", Requests).
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 60 * 60),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// In the finest unit that has room for it, rounded down.
fn format(left: Duration) -> HeaderValue {
    const ROOM: u128 = 100_000_000;
    let (number, unit) = if left.as_micros() < ROOM {
        (left.as_micros(), 'u')
    } else if left.as_millis() < ROOM {
        (left.as_millis(), 'm')
    } else {
        (u128::from(left.as_secs()).min(ROOM - 1), 'S')
    };
    HeaderValue::from_str(&format!("{number}{unit}"))
        .unwrap_or_else(|_| HeaderValue::from_static("1S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r15_the_wire_form_is_read_and_written() {
        let cases = [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("99999999S", Some(99_999_999_000_000_000)),
            ("100m", Some(100_000_000)),
            ("82u", Some(82_000)),
            ("7n", Some(7)),
            ("0S", Some(0)),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            (" 1S", None),
            ("100000000S", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text.as_bytes()), nanos.map(Duration::from_nanos), "{text}");
        }
        let written = [
            (Duration::from_nanos(1_999), "1u"),
            (Duration::from_millis(1_500), "1500000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ];
        for (left, text) in written {
            assert_eq!(format(left), text);
        }
    }
}
