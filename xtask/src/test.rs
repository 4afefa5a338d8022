//! `cargo xtask test`: everything, once, with every log at TRACE and nothing captured.
//!
//! The console shows the tests and their failures; what was logged goes to a file, together with all
//! the rest. Then that file must not hold the canary.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;

use crate::canary::Search;
use crate::command::{Result, cargo, line, root, run as run_command};
use crate::setup;
use crate::totals::Totals;

const LOG: &str = "target/test-trace.log";

/// Sets everything up, then runs all the tests, or those of a selection. The sum is the last line,
/// whether it is a good one or not.
pub(crate) fn run(selection: &[String]) -> Result<ExitCode> {
    setup::run_all()?;
    let mut arguments = vec!["test", "--all-features"];
    if selection.is_empty() {
        arguments.push("--workspace");
    } else {
        arguments.extend(selection.iter().map(String::as_str));
    }
    // First the build alone, so that its errors and its progress are seen as cargo shows them.
    run_command(cargo(&arguments).arg("--no-run"))?;

    arguments.extend(["--no-fail-fast", "--", "--nocapture"]);
    let mut command = cargo(&arguments);
    command.env("RUST_LOG", "trace").env("NO_COLOR", "1").env("CARGO_TERM_COLOR", "never");
    let (success, mut record) = tee(&mut command)?;
    record.log.flush()?;

    let troubles = troubles(success, &record, selection.is_empty());
    for trouble in &troubles {
        eprintln!("xtask: {trouble}");
    }
    println!("{}", record.search.summary());
    println!("everything that was printed: {LOG}");
    println!("{}", sum(record.totals, &troubles));
    Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is known of a run.
struct Record {
    log: Box<dyn Write + Send>,
    search: Search,
    totals: Totals,
}

impl Record {
    fn new(log: impl Write + Send + 'static) -> Self {
        Self { log: Box::new(log), search: Search::new(), totals: Totals::default() }
    }

    /// Takes one line, and says whether the console shall show it.
    fn take(&mut self, line: &[u8]) -> io::Result<bool> {
        self.log.write_all(line)?;
        let line = String::from_utf8_lossy(line);
        self.totals.read(&line);
        Ok(!self.search.read(&line))
    }
}

fn troubles(success: bool, record: &Record, whole: bool) -> Vec<String> {
    let Totals { passed, ignored, .. } = record.totals;
    let mut troubles = Vec::new();
    if !success {
        troubles.push("tests failed".to_owned());
    }
    if passed == 0 {
        troubles.push("no test was run".to_owned());
    }
    if ignored > 0 {
        troubles.push(format!("{ignored} tests are ignored: nothing is skipped here"));
    }
    troubles.extend(record.search.nothing_leaked().err().map(|error| error.to_string()));
    if whole {
        troubles.extend(record.search.proves_something().err().map(|error| error.to_string()));
    }
    troubles
}

/// What failed outside the runners, such as a runner that crashed, is a failure all the same.
fn sum(totals: Totals, troubles: &[String]) -> Totals {
    let outside = !troubles.is_empty() && totals.failed == 0;
    Totals { failed: totals.failed + u64::from(outside), ..totals }
}

/// Runs a command; each line that it prints goes to the record, and through it to the console.
fn tee(command: &mut Command) -> Result<(bool, Record)> {
    println!("$ RUST_LOG=trace {}", line(command));
    let path = root().join(LOG);
    fs::create_dir_all(root().join("target"))?;
    let log = BufWriter::new(File::create(path)?);
    let record = Mutex::new(Record::new(log));

    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("stdout is no pipe")?;
    let stderr = child.stderr.take().ok_or("stderr is no pipe")?;
    let (out, err) = thread::scope(|scope| {
        let err = scope.spawn(|| drain(stderr, io::stderr(), &record));
        let out = drain(stdout, io::stdout(), &record);
        (out, err.join())
    });
    out?;
    err.map_err(|_| "the reader of stderr panicked")??;
    let status = child.wait()?;
    Ok((status.success(), record.into_inner().map_err(|_| "a reader panicked")?))
}

fn drain(from: impl Read, mut to: impl Write, record: &Mutex<Record>) -> Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        let show = record.lock().map_err(|_| "the other reader panicked")?.take(&line)?;
        if show {
            to.write_all(&line)?;
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "2026-01-01T00:00:00Z TRACE tower_oauth_client::inject: stamped";
    const GOOD: &str = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured";

    fn record(lines: &[&str]) -> Record {
        let mut record = Record::new(io::sink());
        for line in lines {
            record.take(line.as_bytes()).expect("a sink takes everything");
        }
        record
    }

    #[test]
    fn whatever_goes_wrong_fails_the_run() {
        let leak = format!("DEBUG h2: authorization: {}", crate::canary::CANARY);
        let bad = "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured";
        let ignored = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured";
        for (name, success, lines, troubles_expected, last_line) in [
            ("all is well", true, vec![OURS, GOOD, GOOD], 0, "4 passed, 0 failed"),
            ("tests fail", false, vec![OURS, GOOD, bad], 1, "3 passed, 3 failed"),
            ("a runner crashes", false, vec![OURS, GOOD], 1, "2 passed, 1 failed"),
            ("no test", true, vec![OURS], 1, "0 passed, 1 failed"),
            ("ignored tests", true, vec![OURS, ignored], 1, "2 passed, 1 failed"),
            ("a leak", true, vec![OURS, &leak, GOOD], 1, "2 passed, 1 failed"),
            ("no log", true, vec![GOOD], 1, "2 passed, 1 failed"),
        ] {
            let record = record(&lines);
            let troubles = troubles(success, &record, true);
            assert_eq!(troubles.len(), troubles_expected, "{name}");
            assert_eq!(sum(record.totals, &troubles).to_string(), last_line, "{name}");
        }
    }

    #[test]
    fn a_part_need_not_log() {
        assert!(troubles(true, &record(&[GOOD]), false).is_empty());
    }

    #[test]
    fn the_console_shows_all_but_the_logs() {
        let mut record = Record::new(io::sink());
        assert!(!record.take(OURS.as_bytes()).expect("a sink takes everything"));
        assert!(record.take(b"thread 'it' panicked at \xff").expect("a sink takes everything"));
    }
}
