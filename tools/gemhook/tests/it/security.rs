//! The threats in `docs/security.md`: all of them are there, and so is every test that is said to hold one. The same of
//! the promises in `docs/reliability.md`.

use std::{collections::HashSet, fs, path::Path};

const TABLE: &str = include_str!("../../../../docs/security.md");
const PROMISES: &str = include_str!("../../../../docs/reliability.md");

fn all_tests() -> HashSet<String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut tests = HashSet::new();
    for folder in ["src", "tests", "tools"] {
        functions(&root.join(folder), &mut tests);
    }
    tests
}

fn functions(folder: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            functions(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&entry).unwrap();
            let tests = text.split("test]\n").chain(text.split("test(flavor = \"multi_thread\")]\n")).skip(1);
            // Between the attribute and the name there may be another attribute.
            let names = tests.filter_map(|after| after.split_once("fn ")?.1.split_once('('));
            found.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn each_threat_is_held_by_tests_that_are_there_or_says_why_not() {
    let tests = all_tests();
    let (mut numbers, mut named) = (Vec::new(), 0);
    for line in TABLE.lines().skip_while(|line| !line.starts_with("## Threats")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[_, number, _, _, held, _] = cells.as_slice() else { continue };
        let Ok(number) = number.parse::<usize>() else { continue };
        numbers.push(number);
        assert!(!held.is_empty(), "threat {number} is held by nothing");
        let spans = held.split('`').skip(1).step_by(2);
        for name in spans.filter(|span| span.contains('_') && !span.contains(['.', ' '])) {
            assert!(tests.contains(name), "threat {number}: there is no test {name}");
            named += 1;
        }
    }
    assert_eq!(numbers, (1..=32).collect::<Vec<_>>());
    assert!(named > 50, "only {named} tests are named");
}

#[test]
fn each_test_that_is_said_to_hold_a_promise_is_there() {
    let tests = all_tests();
    let spans = PROMISES.split('`').skip(1).step_by(2);
    let names: Vec<&str> = spans
        .filter(|span| {
            span.contains('_') && !span.contains(['.', ' ', '/', '=', '(']) && **span != span.to_uppercase()
        })
        .collect();
    for name in &names {
        assert!(tests.contains(*name), "there is no test {name}");
    }
    assert!(names.len() > 25, "only {} tests are named", names.len());
}
