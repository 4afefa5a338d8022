//! Why each dependency is there: the list in CONTRIBUTING.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::command::{Result, root};
use crate::workspace::Package;

const FILE: &str = "CONTRIBUTING.md";
const HEADING: &str = "## Dependencies";

/// The reason of each dependency of a library, by its name.
pub(crate) fn read() -> Result<BTreeMap<String, String>> {
    Ok(parse(&fs::read_to_string(root().join(FILE))?))
}

/// Each dependency of the libraries has its line, and each line its dependency.
pub(crate) fn check(reasons: &BTreeMap<String, String>, libraries: &[Package]) -> Result<()> {
    let used: BTreeSet<_> = libraries.iter().flat_map(|library| &library.foreign).collect();
    let told: BTreeSet<_> = reasons.keys().collect();
    if used == told {
        return Ok(());
    }
    let missing: Vec<_> = used.difference(&told).collect();
    let stale: Vec<_> = told.difference(&used).collect();
    Err(format!("{FILE}, {HEADING:?}: no reason for {missing:?}, no use for {stale:?}").into())
}

/// Lines such as "- `http`, `http-body`: why".
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines().skip_while(|line| *line != HEADING).skip(1);
    let mut reasons = BTreeMap::new();
    for line in lines.by_ref().take_while(|line| !line.starts_with("## ")) {
        let Some((names, reason)) = line.strip_prefix("- `").and_then(|l| l.split_once("`: "))
        else {
            continue;
        };
        for name in names.split("`, `") {
            reasons.insert(name.to_owned(), reason.to_owned());
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_under_its_heading_is_read() {
        let text = "# All\n- `no`: before\n## Dependencies\nSome words.\n- `a`, `b-c`: why: because\n- other\n## Next\n- `d`: after\n";
        let reasons = parse(text);
        assert_eq!(reasons.len(), 2);
        assert_eq!(reasons["a"], "why: because");
        assert_eq!(reasons["b-c"], "why: because");
    }

    #[test]
    fn a_missing_and_a_stale_reason_are_both_told() {
        let library = |foreign: &[&str]| Package {
            name: "us".to_owned(),
            library: true,
            features: Vec::new(),
            foreign: foreign.iter().map(|name| (*name).to_owned()).collect(),
        };
        let reasons = parse("## Dependencies\n- `a`: why\n");
        assert!(check(&reasons, &[library(&["a"]), library(&[])]).is_ok());
        let error = check(&reasons, &[library(&["b"])]).expect_err("both").to_string();
        assert!(error.contains("no reason for [\"b\"], no use for [\"a\"]"), "{error}");
    }
}
