//! The line that is shown while it runs.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::load::Load;

/// The line that tells how it goes, while it goes.
#[derive(Clone)]
pub(crate) struct Progress {
    load: Arc<Load>,
    phase: Arc<Mutex<&'static str>>,
}

impl Progress {
    pub(crate) fn new(load: Arc<Load>) -> Self {
        Self { load, phase: Arc::new(Mutex::new("start")) }
    }

    pub(crate) fn phase(&self, name: &'static str) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Tells, until this future is dropped: one line that changes, or in a log a line a second.
    pub(crate) async fn tell(self) {
        let live = std::io::stdout().is_terminal();
        let pause = if live { 100 } else { 1_000 };
        let mut ticks = tokio::time::interval(Duration::from_millis(pause));
        loop {
            ticks.tick().await;
            let (begin, end) = if live { ("\r", "\x1b[K") } else { ("", "\n") };
            print!("{begin}{}{end}", self.line());
            // Nobody may be listening any more; the run goes on.
            let _ = std::io::stdout().flush();
        }
    }

    fn line(&self) -> String {
        let (at, tally) = (self.load.now().as_secs_f64(), self.load.tally());
        let phase = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, control) =
            (tally.ours - tally.ours_failed, tally.control - tally.control_failed);
        format!(
            "{at:4.1}s {phase:<17} ours {ours:>5} ok {:>4} failed  control {control:>5} ok {:>4} failed",
            tally.ours_failed, tally.control_failed
        )
    }
}
