//! The lock file against the advisories that concern what this crate does. A snapshot of 2026-11: the whole database
//! is asked by `cargo deny check advisories` on a machine that reaches it.

use std::collections::BTreeMap;

const LOCK: &str = include_str!("../../Cargo.lock");

/// Advisory, crate, and the first version without the fault. `None`: no version will do.
const ADVISORIES: [(&str, &str, Option<[u64; 3]>); 8] = [
    ("CVE-2026-25537", "jsonwebtoken", Some([10, 3, 0])),
    ("RUSTSEC-2026-0098 and -0099", "rustls-webpki", Some([0, 103, 12])),
    ("GHSA-394x-vwmw-crm3", "aws-lc-sys", Some([0, 39, 0])),
    ("RUSTSEC-2022-0093", "ed25519-dalek", Some([2, 0, 0])),
    ("RUSTSEC-2024-0344", "curve25519-dalek", Some([4, 1, 3])),
    ("RUSTSEC-2023-0071", "rsa", None),
    ("one cryptographic library", "openssl-sys", None),
    ("one cryptographic library", "openssl", None),
];

/// Where several versions of a crate are locked, all of them.
fn locked() -> BTreeMap<&'static str, Vec<[u64; 3]>> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in LOCK.split("[[package]]").skip(1) {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
            line.unwrap().trim_end_matches('"')
        };
        let numbers = value("version").split(['.', '-', '+']).take(3).map(|number| number.parse().unwrap());
        let version: Vec<u64> = numbers.collect();
        versions.entry(value("name")).or_default().push(version.try_into().unwrap());
    }
    versions
}

#[test]
fn no_locked_crate_has_a_fault_that_we_know_of() {
    let locked = locked();
    // Without the tools there are fewer.
    let expected = if locked.contains_key("gemhook-cli") { 300 } else { 200 };
    assert!(locked.len() > expected && locked.contains_key("jsonwebtoken"), "{} crates", locked.len());
    for (advisory, name, mended) in ADVISORIES {
        for version in locked.get(name).into_iter().flatten() {
            assert!(mended.is_some_and(|mended| *version >= mended), "{name} {version:?}: {advisory}");
        }
    }
}

#[test]
fn everything_locked_comes_from_the_one_registry() {
    let sources = LOCK.lines().filter(|line| line.starts_with("source = "));
    let foreign: Vec<&str> = sources
        .filter(|line| !line.contains("registry+https://github.com/rust-lang/crates.io-index"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
