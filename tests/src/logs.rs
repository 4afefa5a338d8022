//! Every event of every crate, for the search for a secret in it.

use tracing_subscriber::EnvFilter;

/// Part of each client secret in these tests: `cargo xtask test` searches the whole output for it.
pub const CANARY: &str = include_str!("../canary.txt");

/// Prints what `RUST_LOG` asks for (nothing, if it is not set) into the output of the test.
pub fn print() {
    // A second test of the same process finds it installed already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_test_writer()
        .with_ansi(false)
        .try_init();
}
