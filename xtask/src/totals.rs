//! Adds up what the test runners say of themselves.

use std::fmt;

/// The sum over all runners.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Totals {
    /// Reads one line of output; all lines but a runner's last one leave the sum as it is.
    pub(crate) fn read(&mut self, line: &str) {
        // Not only at the beginning: a test may have printed something without a line end.
        let Some((_, result)) = line.split_once("test result: ") else { return };
        let Some((_, counts)) = result.split_once(". ") else { return };
        for count in counts.split("; ") {
            match count.split_once(' ').map(|(number, what)| (number.parse::<u64>(), what.trim())) {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                Some((Ok(number), "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_runners_are_added_up() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test core::a_test ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "no line end test result: FAILED. 40 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out",
            "the test result: none",
        ] {
            totals.read(line);
        }
        assert_eq!(totals, Totals { passed: 43, failed: 2, ignored: 1 });
        assert_eq!(totals.to_string(), "43 passed, 2 failed");
    }
}
