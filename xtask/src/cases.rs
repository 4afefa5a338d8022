//! `cargo xtask cases`: the cases that must be covered, against the names of the tests.
//!
//! A test covers a case by its name: `j03_alg_of_same_family`, `case_18_and_28_what_a_refresh_brings`,
//! `k12_case_12_freshness`. The names are those that the runners list, so that a test that is not
//! built does not count.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::command::{Result, cargo, output};

/// The cases that must be covered, by letter.
const REQUIRED: [(char, RangeInclusive<u8>); 6] =
    [('J', 1..=10), ('J', 20..=31), ('H', 1..=8), ('K', 1..=8), ('T', 1..=8), ('R', 1..=10)];

/// Prints what is missing; that anything is, is an error.
pub(crate) fn run() -> Result<()> {
    let list = ["test", "--quiet", "--workspace", "--all-features", "--tests", "--", "--list"];
    let covered = covered(&output(&mut cargo(&list))?);
    let required: BTreeSet<_> = REQUIRED
        .into_iter()
        .flat_map(|(letter, numbers)| numbers.map(move |number| format!("{letter}{number:02}")))
        .collect();
    let missing: Vec<_> = required.difference(&covered).map(String::as_str).collect();
    let jwks: Vec<_> = covered.iter().filter_map(|case| case.strip_prefix("case ")).collect();
    println!(
        "required cases with a test: {} of {}",
        required.len() - missing.len(),
        required.len()
    );
    println!("JWKS cases with a test: {} ({})", jwks.len(), jwks.join(" "));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no test for {}", missing.join(" ")).into())
    }
}

/// The cases that a runner's list of `module::name: test` covers: `J03`, `case 12`.
fn covered(list: &str) -> BTreeSet<String> {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.flat_map(|name| name.split("::")).flat_map(cases).collect()
}

/// The cases that a name begins with.
fn cases(name: &str) -> Vec<String> {
    let mut cases = Vec::new();
    // After `case` come bare numbers.
    let mut numbers = false;
    for word in name.split('_') {
        let mut characters = word.chars();
        let letter = characters.next().filter(char::is_ascii_alphabetic);
        let number = characters.as_str();
        match (word, letter) {
            ("case" | "cases", _) => numbers = true,
            ("and", _) if !cases.is_empty() => {}
            (_, Some(letter)) if number.len() == 2 && is_number(number) => {
                cases.push(format!("{}{number}", letter.to_ascii_uppercase()));
                numbers = false;
            }
            (_, None) if numbers && is_number(word) => cases.push(format!("case {word:0>2}")),
            _ => break,
        }
    }
    cases
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_cases_at_its_beginning() {
        for (name, expected) in [
            ("j03_alg_of_same_family", vec!["J03"]),
            ("j01_j02_none_and_hmac", vec!["J01", "J02"]),
            ("k12_case_12_freshness", vec!["K12", "case 12"]),
            ("case_18_and_28_what_a_refresh_brings", vec!["case 18", "case 28"]),
            ("case_7_once", vec!["case 07"]),
            ("case_54_one_leeway_rule", vec!["case 54"]),
            ("t05", vec!["T05"]),
            ("rs256_signs", vec![]),
            ("in_case_5_fails", vec![]),
            ("a_j03_late", vec![]),
            ("2_things", vec![]),
        ] {
            assert_eq!(cases(name), expected, "{name}");
        }
    }

    #[test]
    fn only_tests_of_a_list_count() {
        let list = "jose::header::j01_none: test\nr01::on_hyper: test\nj02_bench: benchmark\n\n2 tests, 1 benchmark\n";
        let expected: BTreeSet<_> = ["J01".to_owned(), "R01".to_owned()].into();
        assert_eq!(covered(list), expected);
    }
}
