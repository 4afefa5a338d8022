//! The tasks of this repository: `cargo xtask --help`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task speaks to the person who started it"
)]

mod canary;
mod cases;
mod client_probe;
mod command;
mod crates;
mod graph;
mod lint;
mod probe;
mod reasons;
mod setup;
mod test;
mod totals;
mod workspace;

use std::env;
use std::process::ExitCode;

use command::Result;

const HELP: &str = "\
The tasks of this repository.

cargo xtask test [SELECTION]   sets everything up, runs every test, searches the log for the canary
                               (SELECTION for `cargo test`, such as `-p tower-oauth-core`: only a part)
cargo xtask lint               fmt, clippy, docs, and each feature of each library built alone
cargo xtask crates             the number of crates that we bring, why, and the budgets
cargo xtask cases              the required cases (J01, K04, ...) that no test is named after
cargo xtask probe              how the server door behaves in the probes that others were put to, beside them
cargo xtask hostile            what each shape of hostile token costs, built for release; 50 µs are allowed
cargo xtask probe --client     the same of the client door; in real time, most of a minute and a release build
cargo xtask --help             this
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let done = |result: Result<()>| result.map(|()| ExitCode::SUCCESS);
    let result = match (task, rest) {
        ("test", selection) => test::run(selection),
        ("lint", []) => done(lint::run_all()),
        ("crates", []) => done(crates::run()),
        ("cases", []) => done(cases::run()),
        ("probe", []) => done(probe::run()),
        ("hostile", []) => done(command::run(&mut command::cargo(&[
            "bench",
            "--package",
            "tower-oauth-benches",
            "--bench",
            "hostile",
        ]))),
        ("probe", [door]) if door == "--client" => done(client_probe::run()),
        ("--help" | "-h" | "help", _) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}
