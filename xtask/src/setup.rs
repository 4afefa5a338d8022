//! What the tests need besides the toolchain: Node and the packages of the authorization server.
//!
//! What is missing is installed where that is possible; where it is not, the task says what to
//! install and fails. Nothing is ever skipped.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::command::{Result, output, root, run};

const NODE_MAJOR: u32 = 20;

/// Makes the machine ready for the tests.
pub(crate) fn run_all() -> Result<()> {
    node()?;
    idp(&root().join("tests/idp"))
}

fn node() -> Result<()> {
    let Err(trouble) = check_node() else { return Ok(()) };
    if can_install() {
        println!("{trouble}: installing nodejs and npm");
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            "nodejs",
            "npm",
        ]))?;
        if check_node().is_ok() {
            return Ok(());
        }
    }
    Err(format!(
        "{trouble}: the tests run a real authorization server, install Node {NODE_MAJOR} or later with npm"
    )
    .into())
}

fn check_node() -> Result<()> {
    let version = output(Command::new("node").arg("--version"))?;
    match major(&version) {
        Some(found) if found >= NODE_MAJOR => {}
        _ => return Err(format!("node is {}", version.trim()).into()),
    }
    output(Command::new("npm").arg("--version")).map(drop)
}

/// `v20.11.1` is 20.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn can_install() -> bool {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    root && output(Command::new("apt-get").arg("--version")).is_ok()
}

fn idp(home: &Path) -> Result<()> {
    // npm writes this file last, so that an installation that was cut short does not count.
    let installed = modified(&home.join("node_modules/.package-lock.json"));
    let wanted = modified(&home.join("package-lock.json"))
        .ok_or("tests/idp/package-lock.json is missing")?;
    if installed.is_some_and(|installed| installed >= wanted) {
        return Ok(());
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(home))
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_what_counts() {
        for (version, expected) in [
            ("v20.11.1\n", Some(20)),
            ("v6.0.0", Some(6)),
            ("v24", Some(24)),
            ("20.11.1", None),
            ("", None),
        ] {
            assert_eq!(major(version), expected, "{version}");
        }
    }
}
