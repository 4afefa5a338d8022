//! The canary: a secret that the tests use as client secret and inside access tokens, and that must
//! not occur in anything that the whole test run prints, with every log at TRACE.

use std::collections::BTreeMap;

use crate::command::Result;

/// The secret. `tower-oauth-tests` takes it from the same file.
pub(crate) const CANARY: &str = include_str!("../../tests/canary.txt").trim_ascii();

/// Reads a log line by line, for the canary in every form in which a careless log would show it, and
/// for the proof that there was something to find it in.
#[derive(Debug)]
pub(crate) struct Search {
    /// A name for the form, and what it looks like.
    forms: Vec<(&'static str, String)>,
    lines: u64,
    hits: Vec<String>,
    /// By level, of any crate.
    traced: BTreeMap<&'static str, u64>,
    /// Of our own crates, at any level.
    ours: u64,
}

impl Search {
    pub(crate) fn new() -> Self {
        Self {
            forms: forms(CANARY.as_bytes()),
            lines: 0,
            hits: Vec::new(),
            traced: BTreeMap::new(),
            ours: 0,
        }
    }

    /// Reads the next line, and says whether a log wrote it.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        self.lines += 1;
        for (form, text) in &self.forms {
            if line.contains(text.as_str()) {
                self.hits.push(format!("line {} ({form})", self.lines));
            }
        }
        let Some(level) = level(line) else { return false };
        *self.traced.entry(level).or_default() += 1;
        if is_ours(line) {
            self.ours += 1;
        }
        true
    }

    /// The secret did not occur.
    pub(crate) fn nothing_leaked(&self) -> Result<()> {
        if self.hits.is_empty() {
            return Ok(());
        }
        Err(format!("the canary secret occurs in the log: {}", self.hits.join(", ")).into())
    }

    /// Something was logged, ours and at TRACE: without it, that nothing leaked says nothing.
    pub(crate) fn proves_something(&self) -> Result<()> {
        if self.ours > 0 && self.traced.contains_key("TRACE") {
            return Ok(());
        }
        Err(format!(
            "nothing was logged ({} lines at TRACE, {} lines of tower_oauth): the search proves nothing",
            self.traced.get("TRACE").unwrap_or(&0),
            self.ours
        )
        .into())
    }

    /// One line for the person who started the task.
    pub(crate) fn summary(&self) -> String {
        let traced: u64 = self.traced.values().sum();
        format!(
            "canary: {} lines searched, {traced} of them logged, {} by tower_oauth; {} hits",
            self.lines,
            self.ours,
            self.hits.len()
        )
    }
}

/// The level of a line that a log wrote: one of the first words, after the time if there is one.
fn level(line: &str) -> Option<&'static str> {
    let mut words = line.split_whitespace().take(2);
    words.find_map(|word| {
        ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].into_iter().find(|level| word == *level)
    })
}

/// Written by one of the libraries, not by the tests about themselves.
fn is_ours(line: &str) -> bool {
    [
        "tower_oauth::",
        "tower_oauth_core",
        "tower_oauth_client",
        "tower_oauth_server",
        "tower_oauth_endpoint",
    ]
    .into_iter()
    .any(|target| line.contains(target))
}

fn forms(secret: &[u8]) -> Vec<(&'static str, String)> {
    let plain = String::from_utf8_lossy(secret).into_owned();
    let numbers = format!("{secret:?}").trim_matches(['[', ']']).to_owned();
    let hex = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![("plain", plain), ("bytes", numbers), ("hex", hex)];
    for before in 0..3 {
        let standard = base64_inside(secret, before);
        let url_safe = standard.replace('+', "-").replace('/', "_");
        if url_safe != standard {
            forms.push(("base64url", url_safe));
        }
        forms.push(("base64", standard));
    }
    forms
}

/// How the secret looks in the Base64 of a longer text in which `before` bytes (modulo 3) stand
/// before it: only the characters that depend on nothing but the secret. So it is found in Basic
/// credentials and in the payload of a JWT.
fn base64_inside(secret: &[u8], before: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    // A group of six bits that begins inside `before` is not the secret's alone.
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut skip = (6 - before * 8 % 6) % 6;
    for byte in secret {
        bits = (bits << 8 | u32::from(*byte)) & 0xffff;
        count += 8;
        if skip > 0 {
            count -= u32::try_from(skip).unwrap_or_default();
            skip = 0;
        }
        while count >= 6 {
            count -= 6;
            let index = usize::try_from(bits >> count & 0x3f).unwrap_or_default();
            text.extend(ALPHABET.get(index).copied().map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Search {
        let mut search = Search::new();
        for line in lines {
            search.read(line);
        }
        search
    }

    #[test]
    fn the_secret_is_long_enough_not_to_occur_by_chance() {
        assert!(CANARY.len() >= 16 && CANARY.is_ascii());
    }

    #[test]
    fn base64_is_found_wherever_the_secret_stands() {
        // From the standard: foobar is Zm9vYmFy, and the texts below were made by another encoder.
        assert_eq!(base64_inside(b"foobar", 0), "Zm9vYmFy");
        for (before, whole) in [(1, "eGZvb2Jhcnk="), (2, "eHhmb29iYXJ5"), (0, "eHh4Zm9vYmFyeQ==")] {
            let inside = base64_inside(b"foobar", before);
            assert!(inside.len() >= 6, "{inside}");
            assert!(whole.contains(&inside), "{before}: {inside} in {whole}");
        }
    }

    #[test]
    fn each_form_is_found() {
        for (form, text) in forms(CANARY.as_bytes()) {
            let search = read(&["harmless", &format!("before{text}after")]);
            let error = search.nothing_leaked().expect_err(form).to_string();
            assert!(error.contains("line 2"), "{form}: {error}");
            assert!(!error.contains(CANARY), "{form}");
        }
        let debug = format!("{:?}", CANARY.as_bytes());
        assert!(read(&[debug.as_str()]).nothing_leaked().is_err());
    }

    #[test]
    fn a_search_in_nothing_is_no_proof() {
        let ours = "2026-01-01T00:00:00Z DEBUG tower_oauth_client::source: renewed";
        let trace = "2026-01-01T00:00:00Z TRACE h2::frame: sent";
        let tests = "TRACE tower_oauth_tests::idp: started";
        let cargo = "     Running tests/e2e.rs (target/debug/deps/tower_oauth_client-1f)";
        for (lines, proof) in [
            (vec![ours, trace], true),
            (vec!["TRACE tower_oauth::jwks: fetched"], true),
            (vec![ours], false),
            (vec![trace, tests], false),
            (vec![cargo, "test it ... ok"], false),
            (vec![], false),
        ] {
            let search = read(&lines);
            assert_eq!(search.proves_something().is_ok(), proof, "{lines:?}");
            assert!(search.nothing_leaked().is_ok(), "{lines:?}");
        }
    }
}
