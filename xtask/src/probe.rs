//! `cargo xtask probe`: how the server door behaves, beside how others do.

use crate::command::{Result, cargo, output};

/// When the others were measured, and how.
const OTHERS_DATE: &str = "2026-11-21";

/// jwt-authorizer 0.15.0, tower-oauth2-resource-server 0.12.5, axum-jose 0.2.2 (TTL of 300 s set by hand), axum-jwt-auth 0.7.0, aliri_tower 0.6.1
/// (600 s set by hand), axum-keycloak-auth 0.8.3, jwks_client_rs 0.6.13, oauth-resource-server 0.4.1, huskarl-resource-server 0.11.12.
const OTHERS: [&str; 9] = ["JA", "TORS", "JOSE", "JAUTH", "ALI", "KC", "JC", "ORS", "HUS"];

/// A probe: its name in the program that runs it, what it is, and what the others did.
struct Probe {
    name: &'static str,
    what: &'static str,
    others: [&'static str; 9],
}

const PROBES: [Probe; 20] = [
    probe(
        "new-kid",
        "new kid 0.5 s after the load: valid tokens refused for",
        ["599.7 s", "59.7 s", "0", "never, 500", "599.5 s", "never", "0", "59.7 s", "0"],
    ),
    probe(
        "same-kid",
        "new key under the same kid: valid tokens refused for",
        ["never", "59.7 s", "299.7 s", "never", "599.7 s", "never", "never", "never", "never"],
    ),
    probe(
        "forged-2000",
        "2,000 forged kids at once: fetches",
        ["0", "0", "2,000", "0", "0", "0", "2,000", "0", "1"],
    ),
    probe("forged-minutes", "40 forged kids a second: fetches in minutes 1, 2, 3", ["-"; 9]),
    probe(
        "error-500",
        "the set answers 500 (an hour of it)",
        ["ok", "ok", "refused", "ok", "ok", "ok", "ok", "ok", "ok"],
    ),
    probe(
        "error-garbage",
        "the set answers garbage",
        ["ok", "ok", "refused", "ok", "ok", "ok", "ok", "ok", "ok"],
    ),
    probe(
        "error-500-empty-set",
        "500 with a body of no keys",
        ["ok", "wiped", "wiped", "wiped", "ok", "ok", "ok", "ok", "ok"],
    ),
    probe(
        "error-200-empty-set",
        "200 with no keys",
        ["ok", "wiped", "wiped", "wiped", "wiped", "n/a", "wiped", "ok", "wiped"],
    ),
    probe(
        "cold-unknown-kty",
        "cold start, a key of an unknown type in the set",
        ["500", "401", "401", "no start", "ok", "ok", "401", "ok", "ok"],
    ),
    probe(
        "cold-other-curve",
        "cold start, a key of another curve in the set",
        ["500", "401", "401", "no start", "ok", "ok", "ok", "ok", "ok"],
    ),
    probe(
        "cold-no-kid",
        "cold start, a key without kid in the set",
        ["ok", "401", "ok", "ok", "ok", "ok", "401", "ok", "ok"],
    ),
    probe(
        "concurrent-cold",
        "200 at once, cold, set 200 ms away: fetches / let in",
        [
            "1 / 200",
            "1 / 0",
            "200 / 200",
            "1 / 200",
            "1 / 200",
            "1 / 200",
            "1 / 200",
            "1 / 200",
            "1 / 200",
        ],
    ),
    probe(
        "concurrent-rotated",
        "200 at once right after a rotation",
        ["0 / 0", "0 / 0", "200 / 200", "0 / 0", "0 / 0", "0 / 0", "1 / 200", "0 / 0", "1 / 200"],
    ),
    probe(
        "concurrent-rotated-62",
        "the same, 62 s after the load",
        ["0 / 0", "0 / 0", "200 / 200", "0 / 0", "0 / 0", "0 / 0", "1 / 200", "1 / 200", "1 / 200"],
    ),
    probe(
        "down-at-start",
        "issuer down at the start, back after 3 s: first let in",
        [
            "+7.5 s", "+57.1 s", "+0.3 s", "no start", "no start", "+0.5 s", "+0.3 s", "+2.3 s",
            "no start",
        ],
    ),
    probe(
        "hanging",
        "the set hangs 3 s on an unknown kid: a known one waits",
        ["2.8 s", "0", "3.0 s", "0", "0", "0", "2.8 s", "0", "0"],
    ),
    probe(
        "starved",
        "a forged kid a second, then a rotation: refused for",
        [">75 s", "-", "-", "-", "-", "-", "0", "58.7 s", "58.7 s"],
    ),
    probe(
        "use-enc",
        "token under a key for encryption: by use / by key_ops",
        [
            "200 / 200",
            "200 / 200",
            "200 / 200",
            "200 / 200",
            "401 / 200",
            "200 / 200",
            "200 / 200",
            "401 / 401",
            "401 / 401",
        ],
    ),
    probe(
        "alg-of-key",
        "RS256 token under a key for RS512",
        ["401", "401", "200", "200", "401", "200", "401", "401", "401"],
    ),
    probe(
        "wrong-iss",
        "token of another issuer",
        ["401", "401", "401", "401", "401", "200", "200", "401", "401"],
    ),
];

const fn probe(name: &'static str, what: &'static str, others: [&'static str; 9]) -> Probe {
    Probe { name, what, others }
}

/// Runs the probes and prints the table; a promise that was not kept is an error.
pub(crate) fn run() -> Result<()> {
    let mut command =
        cargo(&["run", "--quiet", "--package", "tower-oauth-tests", "--bin", "probe"]);
    println!(
        "Ours on a manual clock; the others as measured on {OTHERS_DATE} in real time, defaults unless said.\n"
    );
    let lines = output(&mut command)?;
    let mut missing: Vec<_> = PROBES.iter().map(|probe| probe.name).collect();
    let mut rows = vec![row("probe", "ours", &OTHERS)];
    for line in lines.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(seen), Some("kept")) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("not what we promise: {line}").into());
        };
        let Some(probe) = PROBES.iter().find(|probe| probe.name == name) else {
            return Err(format!("a probe that this task does not know: {name}").into());
        };
        missing.retain(|other| *other != name);
        rows.push(row(probe.what, seen, &probe.others));
    }
    print(&rows);
    if missing.is_empty() { Ok(()) } else { Err(format!("not run: {}", missing.join(" ")).into()) }
}

fn row(what: &str, ours: &str, others: &[&str]) -> Vec<String> {
    let cells = [what, ours].into_iter().chain(others.iter().copied());
    cells.map(str::to_owned).collect()
}

pub(crate) fn print(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
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
