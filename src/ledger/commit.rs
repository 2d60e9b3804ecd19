//! The commit: the delivery's outcome and the job's row, in one transaction or not at all.
//!
//! So a delivery is never `done` without its job's row, and two deliveries of one job never both write its end.
//!
//! A cancelled transaction (`TransactionCanceledException`, with a reason for each part) is read in this order:
//!
//! 1. The condition of the delivery's part failed. If its row shows our lease with this outcome, the commit is ours
//!    and its answer was lost. Otherwise the lease is lost, and nothing is written.
//! 2. Only the condition of the job's part failed: its row has ended. An end with an output absorbs whatever comes
//!    later, so the delivery ends as `repeated`. A `gone` end is replaced by an end with an output.
//! 3. `TransactionConflict` or throttling says nothing about either row: the same request is sent again.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Delivery, LedgerError,
    condition::{Binds, Transition, text},
    schema::{SCHEMA, attr},
    state::Outcome,
    store::{Both, Planned, Store, Table},
    transitions,
    values::Values,
};
use crate::{
    clock::Millis,
    job::{EndedJob, OpenJob},
};

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// Written, now or by an earlier try of ours whose answer was lost.
    Done,
    /// The job's row had been written before: this delivery has ended as something less.
    Already(Outcome),
    /// The lease is not ours any more: nothing was written.
    Lost,
}

/// The result of the transaction itself.
pub(super) enum Written {
    /// Both rows are written.
    Done,
    /// The lease is not ours any more.
    Lost,
    /// The delivery is still to be ended, as this and with this note.
    StillToEnd(Outcome, Option<&'static str>),
}

/// A commit of one lease.
pub(super) struct Commit<'a> {
    pub store: &'a Store,
    pub row: &'a Delivery,
    /// The delivery's part of the transaction.
    pub transition: &'static Transition,
    pub delivery: Binds,
    pub now: Millis,
}

impl Commit<'_> {
    /// Ends the job, or replaces the `gone` end of it.
    pub async fn end_job(self, outcome: Outcome, job: &EndedJob) -> Result<Written, LedgerError> {
        let ended = ended_job(self.row, outcome, job, self.now);
        let old = match self.with("end job", &job.name, &transitions::END_JOB, &ended).await? {
            Both::Made => return Ok(Written::Done),
            Both::FirstConditionFailed => return Ok(Written::Lost),
            Both::SecondConditionFailed(old) => old,
        };
        if text(&old, attr::OUTCOME) != Some(Outcome::Gone.name()) {
            return Ok(Written::StillToEnd(Outcome::Repeated, None));
        }
        if outcome == Outcome::Gone {
            // Redriven and looked for again, it is what it was. Another delivery of the job repeats it.
            let again = text(&old, attr::ENDED_BY) == Some(&self.row.key);
            return Ok(Written::StillToEnd(if again { Outcome::Gone } else { Outcome::Repeated }, None));
        }
        if job.outputs.is_empty() {
            let note = "the job's row says gone; what the API says now has no output to replace that";
            return Ok(Written::StillToEnd(Outcome::Repeated, Some(note)));
        }
        let replacing = ended.value(":replaces", old.get(attr::ENDED_BY).cloned());
        let replace = &transitions::REPLACE_GONE_JOB;
        Ok(match self.with("replace gone", &job.name, replace, &replacing).await? {
            Both::Made => Written::Done,
            Both::FirstConditionFailed => Written::Lost,
            Both::SecondConditionFailed(_) => Written::StillToEnd(Outcome::Repeated, None),
        })
    }

    /// Records that the job is still open. A later state of the same job is left as it is.
    pub async fn record_open(self, job: &OpenJob, watch_until: Millis) -> Result<Written, LedgerError> {
        let open = open_job(self.row, job, watch_until);
        Ok(match self.with("record open", &job.name, &transitions::OPEN_JOB, &open).await? {
            Both::Made => Written::Done,
            Both::FirstConditionFailed => Written::Lost,
            Both::SecondConditionFailed(_) => Written::StillToEnd(Outcome::Recorded, None),
        })
    }

    /// The delivery's part together with one of the job's.
    ///
    /// The token names the kind of commit, the row, its attempt, its holder (which no other row has, also not one
    /// that is put again under the same key) and the time of the call, which is among the parameters.
    async fn with(
        &self,
        kind: &str,
        job: &str,
        transition: &Transition,
        binds: &Binds,
    ) -> Result<Both, LedgerError> {
        let row = self.row;
        let (attempt, now) = (row.attempt.to_string(), self.now.to_string());
        let holder = row.holder.as_deref().unwrap_or_default();
        let token = self.store.token(&[&row.key, &attempt, kind, holder, &now]);
        let delivery = Planned {
            table: Table::Deliveries,
            key: &row.key,
            transition: self.transition,
            binds: &self.delivery,
        };
        let job = Planned { table: Table::Jobs, key: job, transition, binds };
        self.store.change_both(&token, delivery, job).await
    }
}

/// What is written of an ended job. A row has room for 400 KB (DynamoDB's item limit), so the order counts: what comes
/// first is kept first. Metadata come before outputs, because rules route by metadata and outputs are in the bucket.
fn ended_job(row: &Delivery, outcome: Outcome, job: &EndedJob, now: Millis) -> Binds {
    let binds = reported_by(row)
        .text(":webhook_id", &row.key)
        .number(":now", now)
        .text(":outcome", outcome.name())
        .text(":kind", job.kind.name())
        .number(":event_time", job.event_time.unwrap_or(row.received_at))
        .value(":text_cut", job.text.as_ref().filter(|text| text.cut).map(|_| AttributeValue::Bool(true)));
    Values::new(binds)
        .add_word(attr::STATE, ":state", &job.state)
        .add(attr::USER_METADATA, ":user_metadata", job.user_metadata.as_ref())
        .add(attr::ERROR, ":error", job.error.as_ref())
        .add(attr::SUMMARY, ":summary", job.summary.as_ref())
        .add(attr::MODEL, ":model", job.model.as_ref())
        .add(attr::DISPLAY_NAME, ":display_name", job.display_name.as_ref())
        .add(attr::TEXT, ":text", job.text.as_ref().map(|text| &text.text))
        .add_list(attr::OUTPUTS, ":outputs", &job.outputs)
        .add_list(attr::SKIPPED, ":skipped", &job.skipped)
        .binds()
}

fn open_job(row: &Delivery, job: &OpenJob, watch_until: Millis) -> Binds {
    let binds = reported_by(row)
        .number(":event_time", row.event_time.unwrap_or(row.received_at))
        .number(":watch_until", watch_until)
        .text(":kind", job.kind.name());
    Values::new(binds)
        .add_word(attr::STATE, ":state", &job.state)
        .add(attr::USER_METADATA, ":user_metadata", job.user_metadata.as_ref())
        .add_list(attr::CALLS, ":calls", &job.calls)
        .binds()
}

fn reported_by(row: &Delivery) -> Binds {
    let deliveries = AttributeValue::Ss(vec![row.key.clone()]);
    Binds::default().number(":schema", SCHEMA).value(":delivery", Some(deliveries))
}
