//! What the demo saw, compared with what must be, and how it is shown.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::observed::Found;

/// Requests of the batch.
pub(super) const REQUESTS: u64 = 1000;
/// Requests of the batch that are wrong, so that a part of it fails.
pub(super) const FAULTY: u64 = 3;
/// Of the event, at once.
pub(super) const COPIES: u32 = 3;

/// How one delivery was answered.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub delivery: String,
    pub webhook_id: String,
    pub status: u16,
    pub expected: u16,
}

/// What was done, and how it was answered.
#[derive(Debug, Serialize)]
pub(super) struct Played {
    pub batch: String,
    pub answers: Vec<Answer>,
    /// The ids of the deliveries that have to end, by what they are.
    #[serde(skip)]
    pub ids: Ids,
}

#[derive(Debug)]
pub(super) struct Ids {
    pub event: String,
    pub unknown: String,
    pub v1a: String,
    pub foreign: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub played: Played,
    #[serde(flatten)]
    pub found: Found,
    pub proved: Option<String>,
    /// Whatever is not as it must be.
    pub differences: Vec<String>,
}

impl Report {
    pub fn new(played: Played, found: Found) -> Self {
        let mut wrong = Differences::default();
        for answer in &played.answers {
            wrong.compare(&format!("the answer to {}", answer.delivery), answer.status, answer.expected);
        }
        check_deliveries(&mut wrong, &found, &played.ids);
        check_job(&mut wrong, &found, &played.ids.event, &played.batch);
        let differences = wrong.0;
        let proved = differences.is_empty().then(|| {
            format!(
                "{COPIES} deliveries at once, 2 more in Google's own forms, a forged, a stale, an unknown one and one \
                 of a foreign job: 1 job archived once, byte for byte as Gemini served it; 2 refused; 1 kept for \
                 later; the foreign one changed nothing."
            )
        });
        Self { played, found, proved, differences }
    }
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + Display>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{what}: expected {expected}, found {found}"));
        }
    }
}

fn check_deliveries(wrong: &mut Differences, found: &Found, ids: &Ids) {
    wrong.compare("rows in the Deliveries table", found.deliveries.len(), 5);
    // A token's row is keyed by the token.
    let token = found.deliveries.iter().find(|row| row.scheme == "jwt");
    for (id, end, attempts) in [
        (ids.event.as_str(), "done/archived", 1),
        (&ids.unknown, "done/recorded", 1),
        (&format!("v1a~{}", ids.v1a), "done/repeated", 1),
        (token.map_or("the token", |row| &row.webhook_id), "done/repeated", 1),
        // A job that is not there is looked for twice.
        (&format!("v1a~{}", ids.foreign), "done/foreign", 2),
    ] {
        let row = found.deliveries.iter().find(|row| row.webhook_id == id);
        let told = row.map_or("no row".to_owned(), |row| {
            format!("{}/{}", row.state, row.outcome.as_deref().unwrap_or("-"))
        });
        wrong.compare(&format!("the row of {id}"), told.as_str(), end);
        wrong.compare(&format!("attempts of {id}"), row.map_or(0, |row| row.attempt), attempts);
    }
}

fn check_job(wrong: &mut Differences, found: &Found, event: &str, batch: &str) {
    wrong.compare("rows in the Jobs table", found.jobs.len(), 1);
    wrong.compare("objects in the bucket", found.objects.len(), 1);
    let (Some(job), Some(object)) = (found.jobs.first(), found.objects.first()) else { return };
    wrong.compare("the job", job.job_id.as_str(), batch);
    wrong.compare("what ended the job", job.ended_by.as_deref().unwrap_or("nothing"), event);
    let group = job.user_metadata.as_ref().and_then(|metadata| metadata.get("job_group")?.as_str());
    wrong.compare("the job's metadata", group.unwrap_or("nothing"), "demo");
    let summary = job.summary.unwrap_or_default();
    wrong.compare("requests in the summary", summary.requests, REQUESTS);
    wrong.compare("requests that succeeded", summary.succeeded, REQUESTS - FAULTY);
    wrong.compare("requests that failed", summary.failed, FAULTY);
    wrong.compare("lines of the object", object.lines as u64, REQUESTS);
    wrong.compare("outputs of the job", job.outputs.len(), 1);
    if let Some(output) = job.outputs.first() {
        wrong.compare("the object's key", object.key.as_str(), &output.key);
        wrong.compare("the object's size", object.bytes as u64, output.bytes);
        wrong.compare("the object's SHA-256 in the row", output.sha256.as_str(), &object.sha256);
    }
    wrong.compare("the object's SHA-256", object.sha256.as_str(), &found.source_sha256);
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "A batch of {REQUESTS} requests ended: {}\n", self.played.batch)?;
        writeln!(f, "Deliveries, as they were answered")?;
        for answer in &self.played.answers {
            writeln!(f, "  {}  {:<50} {}", answer.status, answer.delivery, answer.webhook_id)?;
        }
        writeln!(f, "\nDeliveries table")?;
        for row in &self.found.deliveries {
            let end = format!("{}/{}", row.state, row.outcome.as_deref().unwrap_or("-"));
            let kind = row.event_type.as_deref().unwrap_or("-");
            writeln!(f, "  {:<44}  {end:<14} attempt {}  {kind}", row.webhook_id, row.attempt)?;
        }
        writeln!(f, "\nJobs table")?;
        for job in &self.found.jobs {
            writeln!(f, "  {}  {}", job.job_id, job.state)?;
            writeln!(f, "    ended by {}", job.ended_by.as_deref().unwrap_or("nothing"))?;
            if let Some(sum) = &job.summary {
                writeln!(
                    f,
                    "    {} requests: {} succeeded, {} failed; {} tokens in, {} out",
                    sum.requests, sum.succeeded, sum.failed, sum.tokens_in, sum.tokens_out
                )?;
            }
        }
        writeln!(f, "\nBucket")?;
        for object in &self.found.objects {
            writeln!(f, "  s3://{}/{}", object.bucket, object.key)?;
            writeln!(f, "    {} bytes, {} lines, sha256 {}", object.bytes, object.lines, object.sha256)?;
        }
        writeln!(f)?;
        for difference in &self.differences {
            writeln!(f, "Not as it must be: {difference}")?;
        }
        match &self.proved {
            Some(proved) => writeln!(f, "Proved: {proved}"),
            None => Ok(()),
        }
    }
}
