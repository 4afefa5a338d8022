//! `cargo xtask probe --client`: how the client door behaves, beside how others do.

use crate::command::{Result, cargo, output};
use crate::probe::print;

/// When the others were measured.
const OTHERS_DATE: &str = "2026-11-21";

/// cf-gears-toolkit-auth 0.8.3 with its defaults, and with a throttle of 1 s and 401 and 403; huskarl 0.11.10 with the loop of its guide, and
/// with `invalidate()` on any 401 and 403; azure_core 1.1.0's policy, and the same with azure_identity 1.0.0; yup-oauth2 12.1.2
/// with a forced refresh on 401; a mutex and an `Option` by hand.
const OTHERS: [&str; 8] = ["CF", "CF-T", "HUS", "HUS+", "AZ", "AZ-ID", "YUP", "HAND"];

/// A probe: its name in the program that runs it, what it is, and what the others did.
struct Probe {
    name: &'static str,
    what: &'static str,
    others: [&'static str; 8],
}

const PROBES: [Probe; 19] = [
    probe(
        "cold",
        "(b) 1,000 cold callers: token requests / failed",
        ["1", "1", "1", "1", "1", "1", "1,000", "1"],
    ),
    probe(
        "restart",
        "(c) restart, 1,000 in flight, 401 and challenge: requests / failed",
        ["1 / 0", "1 / 0", "1 / 0", "1 / 0", "3 / 0", "0 / 1,000", "1,000 / 0", "2 / 0"],
    ),
    probe(
        "restart-again",
        "    again two seconds later",
        ["0 / 1,000", "1 / 0", "1 / 0", "1 / 0", "4 / 0", "0 / 1,000", "1,000 / 0", "2 / 0"],
    ),
    probe(
        "restart-bare-401",
        "    both with a bare 401",
        [
            "1 / 0, 0 / 1,000",
            "1 / 0",
            "0 / 1,000",
            "1 / 0",
            "0 / 1,000",
            "0 / 1,000",
            "1,000 / 0",
            "2 / 0",
        ],
    ),
    probe(
        "restart-bare-403",
        "    both with a bare 403",
        [
            "0 / 1,000",
            "1 / 0",
            "0 / 1,000",
            "1 / 0",
            "0 / 1,000",
            "0 / 1,000",
            "0 / 1,000",
            "0 / 1,000",
        ],
    ),
    probe(
        "restart-spread",
        "    both, all three ways, answers spread over 1.5 s",
        ["1", "2", "29", "29", "31", "-", "1,000", "31"],
    ),
    probe(
        "restart-spread-one-token",
        "    the same, and the server keeps one active token",
        ["failed 0", "348", "949-982", "974", "965", "1,000", "999", "997"],
    ),
    probe(
        "late",
        "(d) 1 / 100 late 401s for an old token: extra requests",
        ["0 / 0", "1 / 1", "1 / 10", "1 / 10", "1 / 11", "no healing", "1 / 100", "1 / 11"],
    ),
    probe(
        "leader-dropped",
        "(e) first caller dropped in mid-exchange: requests, the next has it after",
        [
            "1, 55 ms", "1, 55 ms", "2, 81 ms", "2, 81 ms", "2, 80 ms", "2, 82 ms", "2, 67 ms",
            "2, 80 ms",
        ],
    ),
    probe(
        "leader-dropped-rotation",
        "    the same with a rotating refresh token",
        ["-", "-", "logged out", "logged out", "-", "-", "-", "-"],
    ),
    probe(
        "short-of-time",
        "(k) 100 callers that wait for 40 ms, over 2 s: served / requests",
        ["99 / 1", "99 / 1", "0 / 100", "0 / 100", "0 / 99", "0 / 100", "0 / 100", "0 / 100"],
    ),
    probe(
        "error-500-3",
        "(f) 500 three times, 100 callers: failed / healed after",
        [
            "100 / 7.2 s",
            "100 / 7.2 s",
            "3 / 0.2 s",
            "3 / 0.2 s",
            "3 / 0.2 s",
            "0 / 3.2 s",
            "3 / 0.1 s",
            "3 / 0.2 s",
        ],
    ),
    probe(
        "invalid-client-3",
        "    401 invalid_client three times",
        [
            "100 / 7.2 s",
            "100 / 7.2 s",
            "100 / 60 s",
            "100 / 60 s",
            "3 / 0.2 s",
            "3 / 0.2 s",
            "3 / 0.1 s",
            "3 / 0.2 s",
        ],
    ),
    probe(
        "invalid-grant-1",
        "    400 invalid_grant once",
        [
            "100 / 1.1 s",
            "100 / 1.1 s",
            "100 / never",
            "100 / never",
            "1 / 0.1 s",
            "1 / 0.1 s",
            "1 / 0.1 s",
            "1 / 0.1 s",
        ],
    ),
    probe(
        "error-500-for-ever",
        "    500 for ever, 1,000 callers: all told after / requests in 10 s",
        [
            "0.06 s / 1",
            "0.06 s / 1",
            ">10 s / 194",
            ">10 s / 194",
            ">10 s / 195",
            ">10 s / 5",
            "0.4 s / 1,000",
            ">10 s / 195",
        ],
    ),
    probe(
        "error-500-asked-on",
        "    one caller who asks on and on: longest wait / requests",
        ["-"; 8],
    ),
    probe(
        "rejects-all",
        "(g) all rejected for 5 s at 200/s: requests; works afterwards",
        ["1; yes", "5; yes", "87; yes", "87; yes", "97; yes", "0; yes", "999; yes", "97; yes"],
    ),
    probe(
        "two-scopes",
        "(h) two scopes at once, 100 cold callers: requests",
        ["-", "-", "-", "-", "-", "-", "100", "-"],
    ),
    probe(
        "two-devices",
        "(i) two devices, each grant ends the other's token, 502 calls in 5 s: failed / requests",
        ["242 / 4", "218 / 12", "0 / 85", "0 / 85", "0 / 86", "251 / 2", "2 / 259", "0 / 86"],
    ),
];

const fn probe(name: &'static str, what: &'static str, others: [&'static str; 8]) -> Probe {
    Probe { name, what, others }
}

/// Runs the probes and prints the table; a promise that was not kept is an error.
pub(crate) fn run() -> Result<()> {
    println!(
        "The others as measured on {OTHERS_DATE} by the same form of harness. Ours takes most of a minute.\n"
    );
    let lines = output(&mut cargo(&[
        "run",
        "--release",
        "--quiet",
        "--package",
        "tower-oauth-tests",
        "--bin",
        "client_probe",
    ]))?;
    let mut missing: Vec<_> = PROBES.iter().map(|probe| probe.name).collect();
    let mut broken = Vec::new();
    let mut rows = vec![row("probe", "", "ours", &OTHERS)];
    for line in lines.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(seen), Some(verdict)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("not the line of a probe: {line}").into());
        };
        let Some(probe) = PROBES.iter().find(|probe| probe.name == name) else {
            return Err(format!("a probe that this task does not know: {name}").into());
        };
        missing.retain(|other| *other != name);
        let verdict = match verdict {
            "kept" => "ok",
            "told" => "-",
            _ => {
                broken.push(name);
                "NOT KEPT"
            }
        };
        rows.push(row(probe.what, verdict, seen, &probe.others));
    }
    print(&rows);
    match (broken.as_slice(), missing.as_slice()) {
        ([], []) => Ok(()),
        (broken, []) => Err(format!("not what we promise: {}", broken.join(" ")).into()),
        (_, missing) => Err(format!("not run: {}", missing.join(" ")).into()),
    }
}

fn row(what: &str, verdict: &str, ours: &str, others: &[&str]) -> Vec<String> {
    let cells = [what, verdict, ours].into_iter().chain(others.iter().copied());
    cells.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_probe_has_one_name_and_a_figure_of_each_other() {
        let names: BTreeSet<_> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        assert!(PROBES.iter().flat_map(|probe| probe.others).all(|figure| !figure.is_empty()));
    }
}
