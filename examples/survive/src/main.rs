//! The main job: a fleet that survives restarts, rotations and floods. Start it by `cargo demo`.
//!
//! | read | for |
//! | --- | --- |
//! | `ours.rs` | clients behind the client door: what you would write |
//! | `resource.rs` | a server behind the server door: what you would write |
//! | `control.rs` | what is done everywhere, for comparison |
//! | `phases.rs` | what happens to the issuer, and `stage.rs` who takes part |
//! | `refusals.rs` | what happens between devices and the resource, and `mood.rs` how it is disposed |
//! | `load.rs`, `flood.rs`, `wire.rs` | who sends what |
//! | `report.rs`, `chart.rs`, `progress.rs` | what came out |
//! | `foreign.rs` | the same load at an issuer and a service of yours |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a demo talks to a person")]

mod args;
mod chart;
mod control;
mod flood;
mod foreign;
mod load;
mod mood;
mod ours;
mod phases;
mod progress;
mod refusals;
mod report;
mod resource;
mod stage;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;

use tower_oauth::BoxError;

use crate::args::Args;
use crate::load::{Load, Protocol};
use crate::progress::Progress;
use crate::stage::Stage;

const PICTURE: &str = "survive.svg";

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1), |name| std::env::var(name).ok()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(why) => return misused(&why),
    };
    // Better to know now than after a minute.
    if let Some(path) = &args.json
        && let Err(error) = std::fs::File::create(path)
    {
        return misused(&format!("{} cannot be written: {error}", path.display()));
    }
    match run(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("survive: {}", wire::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn misused(why: &str) -> ExitCode {
    eprintln!("survive: {why}\nTry --help.");
    ExitCode::from(2)
}

/// Plays, tells, and says whether all requests of our group went well and nobody was asked too often.
async fn run(args: Args) -> Result<bool, BoxError> {
    let load = match &args.foreign {
        // gRPC is not assumed at somebody's service.
        Some(foreign) => Load::new(foreign.rate, &[Protocol::Http]),
        None => Load::new(400, &[Protocol::Http, Protocol::Grpc]),
    };
    let progress = Progress::new(Arc::clone(&load));
    let telling = tokio::spawn(progress.clone().tell());
    let phases = match &args.foreign {
        Some(foreign) => foreign::play(foreign, Arc::clone(&load), &progress).await,
        None => Stage::set(Arc::clone(&load), progress).await?.play().await,
    };
    telling.abort();
    println!("\n");
    let phases = phases?;

    let samples = load.samples();
    let rows = report::rows(&phases, &samples);
    print!("{}", report::to_table(&rows));
    for failure in load.told() {
        println!("failed: {failure}");
    }
    let broken = report::broken(&rows);
    for promise in &broken {
        println!("not kept: {promise}");
    }
    std::fs::write(PICTURE, chart::draw(&phases, &samples))?;
    println!("\nFailures over time: {PICTURE}");
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", report::to_json(&rows)))?;
    }
    Ok(rows.iter().all(|row| row.failed == 0) && broken.is_empty())
}
