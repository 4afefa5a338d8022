//! Each path beside the bare work that it does: ratios of one run, and allocations.
//!
//! Prints one JSON object a row. `--quick` measures fewer rounds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark is no library")]

mod client;
mod flights;
mod server;

use tower_oauth_benches::contest::Figure;

/// One path against its budget.
struct Row {
    path: String,
    /// Our cost, by the definition of the row: all of it, or what is above the floor.
    ours_ns: f64,
    reference_ns: f64,
    budget_ratio: f64,
    allocations: u64,
    budget_allocations: u64,
}

impl Row {
    fn print(&self) {
        let ratio = self.ours_ns / self.reference_ns;
        let ok = ratio <= self.budget_ratio && self.allocations <= self.budget_allocations;
        let row = serde_json::json!({
            "path": self.path,
            "ours_ns": self.ours_ns.round(),
            "reference_ns": self.reference_ns.round(),
            "ratio": (ratio * 1000.0).round() / 1000.0,
            "budget_ratio": self.budget_ratio,
            "allocs": self.allocations,
            "budget_allocs": self.budget_allocations,
            "ok": ok,
        });
        println!("{row}");
    }
}

/// The figure of this name.
fn figure(figures: &[Figure], name: &str) -> Figure {
    figures.iter().find(|figure| figure.name == name).unwrap().clone()
}

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--quick") { 61 } else { 201 };
    for row in server::rows(rounds).into_iter().chain(client::rows(rounds)).chain(flights::rows()) {
        row.print();
    }
}
