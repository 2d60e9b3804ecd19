//! Whether jobs have ended: the pages of the list of batches, and one look at a job of any kind.
//!
//! Reconcile asks these two questions. The Gemini API lists batches only, so videos and interactions are looked at one
//! by one, and only those that an application watches. Nothing but the state and the times is read here.

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Gemini, Name, SpooledBody,
    batch::{BatchState, word},
    interaction::InteractionState,
    run_blocking,
};
use crate::{
    clock::{Millis, from_rfc3339},
    error::ProcessingError,
    job::JobKind,
};

/// How many batches a page has at most.
const PAGE: &str = "100";

/// The longest page of a list that is read, in bytes. A page has no inline results.
const MAX_PAGE_BYTES: u64 = 32 * 1024 * 1024;

/// A batch as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Name,
    pub has_ended: bool,
    /// When it ended. Where the API does not say, when it was updated last, or created.
    pub time: Option<Millis>,
    pub created: Option<Millis>,
}

/// What one look at a job has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Open,
    Ended,
    /// The API knows no such job, or not yet.
    Unknown,
}

/// The members that are read of a batch, an operation or an interaction. Each kind has some of them.
#[derive(Deserialize)]
struct Job {
    name: Option<String>,
    #[serde(default)]
    done: bool,
    metadata: Option<Metadata>,
    status: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    state: Option<String>,
    end_time: Option<String>,
    update_time: Option<String>,
    create_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    operations: Vec<Job>,
    next_page_token: Option<String>,
}

impl Gemini {
    /// One page of all batches (`batches.list`), and the token of the next page.
    pub async fn list_batches(
        &self,
        token: Option<&str>,
    ) -> Result<(Vec<Listed>, Option<String>), ProcessingError> {
        let mut query = vec![("pageSize", PAGE)];
        query.extend(token.map(|token| ("pageToken", token)));
        let page: Page = self.read("list batches", "batches", &query, MAX_PAGE_BYTES).await?;
        let listed = page.operations.into_iter().filter_map(|job| {
            let name = job.name.as_deref().and_then(Name::parse)?;
            let has_ended = job.has_ended();
            let fields = job.metadata.unwrap_or_default();
            let created = fields.create_time.as_deref().and_then(from_rfc3339);
            let times = [fields.end_time, fields.update_time].into_iter().flatten();
            let time = times.filter_map(|text| from_rfc3339(&text)).next().or(created);
            Some(Listed { name, has_ended, time, created })
        });
        Ok((listed.collect(), page.next_page_token.filter(|token| !token.is_empty())))
    }

    /// Whether a job of any kind has ended. A 404 is not an error here: [`JobState::Unknown`].
    pub async fn job_state(&self, job: &Name) -> Result<JobState, ProcessingError> {
        match self.read::<Job>("look at the job", &job.path(), &[], self.longest_answer).await {
            Ok(job) if job.has_ended() => Ok(JobState::Ended),
            Ok(_) => Ok(JobState::Open),
            Err(ProcessingError::NotFound(_)) => Ok(JobState::Unknown),
            Err(error) => Err(error),
        }
    }

    /// A GET whose answer is read as JSON. `doing` is for the error, `longest` the limit of the answer in bytes.
    pub(super) async fn read<T: DeserializeOwned + Send + 'static>(
        &self,
        doing: &'static str,
        path: &str,
        query: &[(&str, &str)],
        longest: u64,
    ) -> Result<T, ProcessingError> {
        let answer = self.get(doing, path, query).await?;
        let mut spooled = SpooledBody::take(answer, longest).await?;
        run_blocking(move || {
            serde_json::from_reader(spooled.read()?)
                .map_err(|error| ProcessingError::transient(format!("{doing}: unreadable answer: {error}")))
        })
        .await
    }
}

impl Job {
    fn has_ended(&self) -> bool {
        let state = self.metadata.as_ref().and_then(|metadata| metadata.state.as_deref());
        let has_ended = |status| {
            matches!(
                InteractionState::of(status),
                InteractionState::Completed | InteractionState::EndedWithout
            )
        };
        self.done
            || state.is_some_and(|state| BatchState::of(word(state)) != BatchState::Open)
            || self.status.as_deref().is_some_and(has_ended)
    }
}

impl JobKind {
    /// Of a job that is named as the Jobs table names it.
    pub fn of(job: &Name) -> Option<Self> {
        let name = job.as_str();
        match name.split('/').next()? {
            "batches" => Some(Self::Batch),
            "interactions" => Some(Self::Interaction),
            _ if name.contains("/operations/") => Some(Self::Video),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_is_known_whatever_the_kind() {
        for (job, ended) in [
            (json!({"name": "batches/b", "metadata": {"state": "BATCH_STATE_RUNNING"}}), false),
            (json!({"name": "batches/b", "metadata": {"state": "JOB_STATE_EXPIRED"}}), true),
            (json!({"name": "models/m/operations/o"}), false),
            (json!({"name": "models/m/operations/o", "done": true, "error": {}}), true),
            (json!({"id": "v1_a", "status": "requires_action"}), false),
            (json!({"id": "v1_a", "status": "budget_exceeded", "steps": [{"type": "thought"}]}), true),
            (json!({"id": "v1_a", "status": "a new word"}), false),
        ] {
            let read: Job = serde_json::from_value(job.clone()).unwrap();
            assert_eq!(read.has_ended(), ended, "{job}");
        }
    }

    #[test]
    fn a_name_tells_its_kind() {
        for (name, kind) in [
            ("batches/b", Some(JobKind::Batch)),
            ("interactions/v1_a", Some(JobKind::Interaction)),
            ("models/veo/operations/o", Some(JobKind::Video)),
            ("files/f", None),
        ] {
            assert_eq!(JobKind::of(&Name::parse(name).unwrap()), kind);
        }
    }
}
