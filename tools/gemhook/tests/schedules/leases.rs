//! Who holds each row, seen at the stores and not in the row: nobody takes a row over before its time, nobody writes to
//! a row that another one holds, and who ends leaves none behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use serde_json::Value;

use crate::network::Fault;

type Rows = BTreeMap<String, Value>;

#[derive(Default)]
pub struct Leases(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// The caller whose lease is the last one of a row, while the row is leased.
    holders: BTreeMap<String, String>,
    /// What befell each caller's calls, other than nothing.
    faults: BTreeMap<String, Vec<Fault>>,
    /// Callers that died, or whose lease another one took over.
    stopped: BTreeSet<String>,
    extended: usize,
    broken: Vec<String>,
}

pub fn number(row: &Value, name: &str) -> i64 {
    row[name]["N"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn state(row: &Value) -> &str {
    row["state"]["S"].as_str().unwrap_or_default()
}

impl Leases {
    pub fn befell(&self, caller: &str, fault: Fault) {
        if fault != Fault::None {
            self.0.lock().unwrap().faults.entry(caller.to_owned()).or_default().push(fault);
        }
    }

    /// A write of this caller has been carried out.
    pub fn written(&self, caller: &str, now: i64, before: &Rows, after: &Rows) {
        let mut seen = self.0.lock().unwrap();
        for (key, row) in after {
            let Some(old) = before.get(key).filter(|old| *old != row) else { continue };
            let until = number(old, "lease_until");
            let is_leased = state(old) == "archiving";
            if number(row, "attempt") > number(old, "attempt") {
                if is_leased && until >= now {
                    seen.broken.push(format!("{caller} took {key} over before its lease was over"));
                }
                let before = seen.holders.insert(key.clone(), caller.to_owned());
                seen.stopped.extend(before);
                continue;
            }
            let holds = seen.holders.get(key).is_some_and(|holder| holder == caller);
            // What nobody holds may be redriven, and given up by whoever comes to it.
            let is_free = !is_leased || (state(row) == "failed" && until < now);
            if !holds && !is_free {
                let holder = seen.holders.get(key).cloned().unwrap_or_default();
                seen.broken.push(format!("{caller} wrote to {key}, which {holder} holds: {old} -> {row}"));
            }
            seen.extended += usize::from(is_leased && number(row, "lease_until") > until);
            if state(row) != "archiving" {
                seen.holders.remove(key);
            }
        }
    }

    /// A caller has come to its end. Where the stores did not refuse it anything, it has ended its leases. One answer
    /// that was lost is no excuse.
    pub fn ended(&self, caller: &str) {
        let mut seen = self.0.lock().unwrap();
        let excused = match seen.faults.get(caller).map(Vec::as_slice) {
            None | Some([Fault::AnswerLost]) => false,
            Some(_) => true,
        };
        let left: Vec<String> =
            seen.holders.iter().filter(|held| held.1 == caller).map(|held| held.0.clone()).collect();
        if !excused {
            seen.broken.extend(
                left.into_iter().map(|key| format!("{caller} has ended and left its lease of {key}")),
            );
        }
    }

    pub fn died(&self, caller: &str) {
        self.0.lock().unwrap().stopped.insert(caller.to_owned());
    }

    /// Whether something kept this caller from tidying up.
    pub fn was_disturbed(&self, caller: &str) -> bool {
        let seen = self.0.lock().unwrap();
        seen.stopped.contains(caller) || seen.faults.contains_key(caller)
    }

    /// How often a lease was extended.
    pub fn extended(&self) -> usize {
        self.0.lock().unwrap().extended
    }

    pub fn broken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().broken)
    }
}
