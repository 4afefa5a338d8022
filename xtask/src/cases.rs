//! `cargo xtask cases`: the cases that must be covered, against the names of the tests.
//!
//! A test covers a case by its name: `j03_alg_of_same_family`, `case_18_and_28_what_a_refresh_brings`,
//! `k12_case_12_freshness`, `elsewhere_b_r03_late_refusals`. The names are those that the runners list, so that a test that is not
//! built does not count.

use std::collections::BTreeSet;

use crate::command::{Result, cargo, output};

/// The cases that must be covered: what each section is about, how its cases are called, and how many they are.
const SECTIONS: [(&str, &str, u8); 9] = [
    ("JOSE tokens", "J", 33),
    ("carriage over HTTP and gRPC", "H", 10),
    ("key sets and metadata", "K", 15),
    ("senders and introspection", "D", 10),
    ("token endpoint", "T", 14),
    ("retry, replay, redirects", "R", 17),
    ("leaks", "L", 6),
    ("validator, key set, introspection", "case ", 70),
    ("where other clients fail, A to I", ELSEWHERE, 9),
];

/// These cases have letters.
const ELSEWHERE: &str = "elsewhere ";

/// Prints what is covered and what is missing; that anything is missing, is an error.
pub(crate) fn run() -> Result<()> {
    let list = ["test", "--quiet", "--workspace", "--all-features", "--tests", "--", "--list"];
    let covered = covered(&output(&mut cargo(&list))?);
    let mut all_missing = Vec::new();
    for (about, prefix, count) in SECTIONS {
        let (found, missing): (Vec<_>, Vec<_>) =
            (1..=count).partition(|number| covered.contains(&id(prefix, *number)));
        let name = prefix.trim_end();
        println!("{name:<10}{:>3} of {count:>2}  {about}: {}", found.len(), ranges(&found));
        all_missing.extend(missing.into_iter().map(|number| id(prefix, number)));
    }
    if all_missing.is_empty() {
        println!("missing: none");
        return Ok(());
    }
    let all_missing = all_missing.join(", ");
    println!("missing: {all_missing}");
    Err(format!("no test is named after {all_missing}").into())
}

fn id(prefix: &str, number: u8) -> String {
    match prefix {
        ELSEWHERE => {
            format!("{prefix}{}", char::from(b'A'.saturating_add(number.saturating_sub(1))))
        }
        _ => format!("{prefix}{number:02}"),
    }
}

/// Numbers in their order, as one writes them: `1-3 5 7-9`.
fn ranges(numbers: &[u8]) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let ranges = ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    ranges.collect::<Vec<_>>().join(" ")
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
    let mut words = name.split('_');
    while let Some(word) = words.next() {
        let mut characters = word.chars();
        let letter = characters.next().filter(char::is_ascii_alphabetic);
        let number = characters.as_str();
        match (word, letter) {
            ("case" | "cases", _) => numbers = true,
            ("elsewhere", _) => match words.next() {
                Some(letter) if letter.len() == 1 && letter.is_ascii() => {
                    cases.push(format!("{ELSEWHERE}{}", letter.to_ascii_uppercase()));
                    numbers = false;
                }
                _ => break,
            },
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
            ("elsewhere_b_r03_late_refusals", vec!["elsewhere B", "R03"]),
            ("elsewhere_a_a_token_died", vec!["elsewhere A"]),
            ("elsewhere_is_no_case", vec![]),
            ("elsewhere", vec![]),
            ("rs256_signs", vec![]),
            ("in_case_5_fails", vec![]),
            ("a_j03_late", vec![]),
            ("2_things", vec![]),
        ] {
            assert_eq!(cases(name), expected, "{name}");
        }
    }

    #[test]
    fn numbers_in_a_row_are_a_range() {
        for (numbers, expected) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![1, 2, 3], "1-3"),
            (vec![1, 3, 4, 9, 10, 11], "1 3-4 9-11"),
            (vec![254, 255], "254-255"),
        ] {
            assert_eq!(ranges(&numbers), expected);
        }
    }

    #[test]
    fn a_section_asks_for_what_a_name_gives() {
        let named = ["j03_x", "case_7_x", "case_70_x", "d10_x"].into_iter().flat_map(cases);
        let named: Vec<_> = named.collect();
        assert_eq!(named, [id("J", 3), id("case ", 7), id("case ", 70), id("D", 10)]);
        for (_, prefix, count) in SECTIONS {
            for number in 1..=count {
                let name = id(prefix, number).to_lowercase().replace(' ', "_");
                assert_eq!(cases(&name), [id(prefix, number)], "{name}");
            }
        }
    }

    #[test]
    fn only_tests_of_a_list_count() {
        let list = "jose::header::j01_none: test\nr01::on_hyper: test\nj02_bench: benchmark\n\n2 tests, 1 benchmark\n";
        let expected: BTreeSet<_> = ["J01".to_owned(), "R01".to_owned()].into();
        assert_eq!(covered(list), expected);
    }
}
