//! Which crate needs which, as `cargo tree` tells it.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Result, cargo, output};

/// The crates that one of ours is linked with; `name version` each.
#[derive(Debug)]
pub(crate) struct Graph {
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// The graph of a package with these flags, for this machine, without what only builds and
    /// tests need.
    pub(crate) fn of(package: &str, flags: &[&str]) -> Result<Self> {
        let tree =
            ["tree", "--quiet", "--edges", "normal", "--prefix", "depth", "--package", package];
        Ok(Self::parse(&output(cargo(&tree).args(flags))?)?)
    }

    /// Reads lines such as `2hyper v1.6.0`: the number tells how deep the crate stands in the tree. A
    /// crate that stands there twice has its children only the first time.
    fn parse(tree: &str) -> std::result::Result<Self, String> {
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut path: Vec<String> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let strange = || format!("cargo tree says {line:?}");
            let digits = line.find(|c: char| !c.is_ascii_digit()).ok_or_else(strange)?;
            let (depth, package) = line.split_at(digits);
            let depth: usize = depth.parse().map_err(|_| strange())?;
            let mut words = package.split(' ');
            let (name, version) = words.next().zip(words.next()).ok_or_else(strange)?;
            let name = format!("{name} {}", version.trim_start_matches('v'));
            path.truncate(depth);
            if let Some(parent) = path.last() {
                needs.entry(parent.clone()).or_default().insert(name.clone());
            }
            needs.entry(name.clone()).or_default();
            path.push(name);
        }
        if needs.is_empty() {
            Err("cargo tree says nothing".to_owned())
        } else {
            Ok(Self { needs })
        }
    }

    /// How many crates there are, the package itself included.
    pub(crate) fn count(&self) -> usize {
        self.needs.len()
    }

    /// The crates of others that crates of ours ask for.
    pub(crate) fn asked_for(&self, ours: &BTreeSet<String>) -> BTreeSet<String> {
        let by_us = self.needs.iter().filter(|(name, _)| ours.contains(bare(name)));
        by_us
            .flat_map(|(_, needs)| needs)
            .filter(|name| !ours.contains(bare(name)))
            .cloned()
            .collect()
    }

    /// Which of the crates that we ask for bring each of the others. Where one of them needs the
    /// other (hyper-rustls needs rustls), only the latter counts.
    pub(crate) fn brought_by(&self, ours: &BTreeSet<String>) -> BTreeMap<&str, BTreeSet<String>> {
        let roots = self.asked_for(ours);
        let below: BTreeMap<_, _> = roots.iter().map(|root| (root, self.below(root))).collect();
        let others = self.needs.keys().map(String::as_str);
        let others = others.filter(|name| !roots.contains(*name) && !ours.contains(bare(name)));
        let bringers = |name: &str| {
            let all: BTreeSet<_> = roots.iter().filter(|r| reaches(&below, r, name)).collect();
            let nearer = |root: &&&String| !all.iter().any(|other| reaches(&below, root, other));
            all.iter().filter(nearer).map(|root| (*root).clone()).collect()
        };
        others.map(|name| (name, bringers(name))).collect()
    }

    /// All that a crate needs, and what that needs, without the crate itself.
    fn below<'a>(&'a self, root: &'a str) -> BTreeSet<&'a str> {
        let mut below = BTreeSet::new();
        let mut next = vec![root];
        while let Some(name) = next.pop() {
            let needs = self.needs.get(name).into_iter().flatten().map(String::as_str);
            next.extend(needs.filter(|need| below.insert(*need)));
        }
        below
    }
}

fn reaches(below: &BTreeMap<&String, BTreeSet<&str>>, from: &String, to: &str) -> bool {
    below.get(from).is_some_and(|below| below.contains(to))
}

/// The name without the version.
pub(crate) fn bare(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_crate_is_brought_by_the_nearest_one_that_we_asked_for() {
        let tree = "0us v0.1.0 (/home)\n1our-edge v0.1.0 (/home)\n2tls v2.0.0\n3asn1 v1.0.0\n3bytes v1.0.0\n\
                    2tls-tokio v1.0.0\n3tls v2.0.0 (*)\n3leaf v2.0.0\n1bytes v1.0.0\n\
                    1tree v3.0.0 (proc-macro)\n2leaf v1.0.0\n2leaf v2.0.0\n";
        let graph = Graph::parse(tree).unwrap();
        let ours = set(&["us", "our-edge"]);
        assert_eq!(graph.count(), 9);
        assert_eq!(
            graph.asked_for(&ours),
            set(&["bytes 1.0.0", "tls 2.0.0", "tls-tokio 1.0.0", "tree 3.0.0"])
        );
        let expected = [
            ("asn1 1.0.0", set(&["tls 2.0.0"])),
            ("leaf 1.0.0", set(&["tree 3.0.0"])),
            ("leaf 2.0.0", set(&["tls-tokio 1.0.0", "tree 3.0.0"])),
        ];
        assert_eq!(graph.brought_by(&ours), expected.into());
    }

    #[test]
    fn what_is_no_tree_is_an_error() {
        for tree in ["", "us v0.1.0", "0us"] {
            assert!(Graph::parse(tree).is_err(), "{tree:?}");
        }
    }
}
