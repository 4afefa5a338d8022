//! `cargo xtask crates`: how many crates we bring, and what each is for.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::Result;
use crate::graph::{Graph, bare};
use crate::{reasons, workspace};

/// A package, how it is built, and how many crates that may be, itself included.
const COUNTED: [(&str, &[&str], Option<usize>); 4] = [
    ("tower-oauth-client", &[], Some(60)),
    ("tower-oauth-client", &["--no-default-features"], Some(30)),
    ("tower-oauth-server", &[], None),
    ("tower-oauth-server", &["--no-default-features"], None),
];

/// Prints the tables, then the counts; a count over its budget and a dependency without a reason
/// are errors.
pub(crate) fn run() -> Result<()> {
    let packages = workspace::packages()?;
    let ours: BTreeSet<_> = packages.iter().map(|package| package.name.clone()).collect();
    let libraries: Vec<_> = packages.into_iter().filter(|package| package.library).collect();
    let reasons = reasons::read()?;

    let mut counts = String::new();
    let mut over = Vec::new();
    for (package, flags, budget) in COUNTED {
        let graph = Graph::of(package, flags)?;
        let build = [&[package], flags].concat().join(" ");
        if flags.is_empty() {
            table(&build, &graph, &ours, &reasons);
        }
        let count = graph.count();
        let allowed = budget.map_or_else(String::new, |budget| format!(" of at most {budget}"));
        counts.push_str(&format!("{build}: {count} crates{allowed}\n"));
        if budget.is_some_and(|budget| count > budget) {
            over.push(build);
        }
    }
    print!("{counts}");
    reasons::check(&reasons, &libraries)?;
    if over.is_empty() {
        Ok(())
    } else {
        Err(format!("too many crates: {}", over.join(", ")).into())
    }
}

/// What each dependency is for, and the crates that come with it.
fn table(build: &str, graph: &Graph, ours: &BTreeSet<String>, reasons: &BTreeMap<String, String>) {
    let mut rows: BTreeMap<BTreeSet<String>, Vec<&str>> =
        graph.asked_for(ours).into_iter().map(|name| (BTreeSet::from([name]), vec![])).collect();
    for (name, bringers) in graph.brought_by(ours) {
        rows.entry(bringers).or_default().push(name);
    }
    println!("{build}: dependency | what it brings | what it is for");
    for (bringers, brought) in rows {
        let names: Vec<_> = bringers.iter().map(|name| bare(name)).collect();
        let brought = if brought.is_empty() { "-".to_owned() } else { brought.join(", ") };
        let reason = match names.as_slice() {
            [name] => reasons.get(*name).map_or("?", String::as_str),
            _ => "shared",
        };
        println!("  {} | {brought} | {reason}", names.join(" + "));
    }
    println!();
}
