//! What must hold, asked of the tables, the bucket and the bus: after each step, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{jobs::Job, stores::Stores, world::World};

#[derive(Default)]
pub struct Observer {
    rows: BTreeMap<String, Value>,
    jobs: BTreeMap<String, Value>,
    announced: usize,
    pub broken: Vec<String>,
}

/// What of a job's row may not change once it has ended.
const FINAL: [&str; 5] = ["ended_by", "ended_at", "state", "outputs", "replaces"];

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name]["S"].as_str().unwrap_or_default()
}

impl Observer {
    /// After a step: what has changed, and whether it may.
    pub fn look(&mut self, stores: &Stores, expected: &BTreeMap<String, Job>) {
        let (rows, jobs) = (stores.rows(crate::stores::DELIVERIES), stores.rows(crate::stores::JOBS));
        for (name, before) in &self.jobs {
            let now = jobs.get(name).cloned().unwrap_or_default();
            let ended = !text(before, "ended_by").is_empty();
            let same = FINAL.iter().all(|part| before[*part] == now[*part]);
            // Only the end of a job that was gone may be replaced, and only by one that has outputs.
            let replaces = text(&now, "replaces") == text(before, "ended_by")
                && before["outputs"]["L"].as_array().is_none_or(Vec::is_empty)
                && before["replaces"].is_null()
                && now["outputs"]["L"].as_array().is_some_and(|outputs| !outputs.is_empty());
            if ended && !same && !replaces {
                self.broken.push(format!("the end of {name} has changed: {before} -> {now}"));
            }
        }
        for (key, before) in &self.rows {
            let now = rows.get(key).cloned().unwrap_or_default();
            let ended = matches!(text(before, "state"), "done" | "failed");
            let redriven = text(&now, "redrive") != text(before, "redrive");
            if ended && *before != now && !redriven {
                self.broken.push(format!("{key} has ended and changed: {before} -> {now}"));
            }
        }
        for (name, job) in &jobs {
            for output in job["outputs"]["L"].as_array().into_iter().flatten() {
                let key = output["M"]["key"]["S"].as_str().unwrap_or_default();
                if !stores.bucket().objects.contains_key(key) {
                    self.broken.push(format!("{name} is committed without its object {key}"));
                }
            }
        }
        let announced = stores.announced().clone();
        for announcement in &announced[self.announced..] {
            let job = announcement["job"].as_str().unwrap_or_default();
            if jobs.get(job).is_none_or(|job| text(job, "ended_by") != announcement["webhook_id"]) {
                self.broken.push(format!("{job} is announced before its commit"));
            }
        }
        let ids = announced.iter().filter_map(|announcement| announcement["webhook_id"].as_str());
        let announced_ids: BTreeSet<&str> = ids.collect();
        for (key, row) in &rows {
            let ends_job = matches!(text(row, "outcome"), "archived" | "ended" | "gone");
            if text(row, "state") == "done" && ends_job && !announced_ids.contains(key.as_str()) {
                self.broken.push(format!("{key} is done, and its job's end was not announced"));
            }
        }
        for (key, object) in &stores.bucket().objects {
            let wanted = expected.values().find_map(|job| job.objects().remove(key));
            if wanted.as_ref() != Some(&object.content) {
                self.broken.push(format!("{key} is no object of a job, or has other bytes"));
            }
        }
        for key in stores.bucket().overwritten.drain(..) {
            self.broken.push(format!("{key} was overwritten"));
        }
        (self.rows, self.jobs, self.announced) = (rows, jobs, announced.len());
    }
}

/// At the end: every accepted row is done, and every job has its end, once, with its objects and its announcement.
pub fn settled(world: &World, expected: &BTreeMap<String, Job>, accepted: &BTreeSet<String>) -> Vec<String> {
    let (rows, jobs, mut broken) = (world.rows(), world.jobs(), Vec::new());
    for id in accepted.iter().filter(|id| !rows.contains_key(*id)) {
        broken.push(format!("{id} was accepted and is lost"));
    }
    for (key, row) in rows.iter().filter(|(_, row)| text(row, "state") != "done") {
        broken.push(format!("{key} has not ended as done: {row}"));
    }
    let hints: BTreeSet<String> = rows.values().map(|row| text(row, "job_id").to_owned()).collect();
    for (name, job) in expected {
        let ends: Vec<&str> = rows
            .values()
            .filter(|row| text(row, "job_id") == name)
            .map(|row| text(row, "outcome"))
            .filter(|outcome| matches!(*outcome, "archived" | "ended" | "gone"))
            .collect();
        if !hints.contains(name) {
            let is_reported = accepted.iter().any(|id| {
                rows.get(id).is_some_and(|row| {
                    name.ends_with(text(row, "job_hint")) && !text(row, "job_hint").is_empty()
                })
            });
            if is_reported {
                broken.push(format!("{name} was accepted and has no end"));
            }
            continue;
        }
        if ends != [job.outcome()] {
            broken.push(format!("{name} should have ended once as {}, and did as {ends:?}", job.outcome()));
        }
        if jobs.get(name).is_none_or(|job| text(job, "ended_by").is_empty()) {
            broken.push(format!("{name} has no end in the Jobs table"));
        }
        for (key, bytes) in job.objects() {
            let found = world.network.stores.bucket().objects.get(&key).map(|object| object.content.clone());
            if found.as_ref() != Some(&bytes) {
                broken.push(format!("{key} is not in the bucket as it should be"));
            }
        }
        if !world.network.stores.announced().iter().any(|announcement| announcement["job"] == name.as_str()) {
            broken.push(format!("{name} was never announced"));
        }
    }
    broken
}
