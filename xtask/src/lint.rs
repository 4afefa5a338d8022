//! `cargo xtask lint`: what CI asks of the code before it runs it.

use crate::command::{Result, cargo, run};
use crate::workspace;

const DENY: [&str; 3] = ["--", "-D", "warnings"];

/// fmt, clippy, docs, each feature alone.
pub(crate) fn run_all() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--all-features"]).args(DENY))?;
    run(cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    each_feature_alone()
}

/// Clippy and not `cargo check`, because its `-D warnings` reaches our packages only: as a compiler
/// flag it would have all the others built a second time.
fn each_feature_alone() -> Result<()> {
    for package in workspace::libraries()? {
        let bare = ["clippy", "--quiet", "--package", &package.name, "--no-default-features"];
        run(cargo(&bare).args(DENY))?;
        for feature in &package.features {
            run(cargo(&bare).args(["--features", feature]).args(DENY))?;
        }
        if package.features.len() > 1 {
            run(cargo(&bare).arg("--all-features").args(DENY))?;
        }
    }
    Ok(())
}
