//! The two tables: what a row of them is, and what becomes of it under a transition of the ledger.
//!
//! The rows here are small values that are hashed quickly. Each is turned into a DynamoDB item for the ledger's own
//! `allows`, `is_done` and `apply`. The answers are remembered, so millions of states cost thousands of items.

use std::{cell::RefCell, collections::HashMap, hash::Hash, thread::LocalKey};

use aws_sdk_dynamodb::types::AttributeValue;
use gemhook::ledger::{
    DeliveryState, Outcome,
    condition::{Binds, Item, Transition, number, text},
    schema::{SCHEMA, attr},
};

/// A moment of the model's clock, in ticks.
pub type Time = u8;

/// A row of the Deliveries table, with everything that a condition of the ledger asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub state: DeliveryState,
    pub outcome: Option<Outcome>,
    /// Whether the row has `job_id`. Both rows name one job.
    pub names_job: bool,
    pub attempt: u8,
    pub crashes: u8,
    pub holder: Option<u8>,
    pub lease_until: Option<Time>,
    pub due_at: Option<Time>,
    pub give_up_at: Time,
    pub redrive: Option<u8>,
    pub open: bool,
}

impl Row {
    /// As the receiver puts it. No condition asks when a received row is due.
    pub fn new(give_up_at: Time) -> Self {
        Self {
            state: DeliveryState::Received,
            outcome: None,
            names_job: false,
            attempt: 0,
            crashes: 0,
            holder: None,
            lease_until: None,
            due_at: Some(0),
            give_up_at,
            redrive: None,
            open: true,
        }
    }

    pub fn has_ended(self) -> bool {
        matches!(self.state, DeliveryState::Done | DeliveryState::Failed)
    }

    /// Whether the lease of this nonce is on the row.
    pub fn is_held_by(self, holder: u8) -> bool {
        self.state == DeliveryState::Archiving && self.holder == Some(holder)
    }
}

/// A row of the Jobs table. A row that is not there is an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Job {
    pub ended_by: Option<u8>,
    pub outcome: Option<Outcome>,
    pub replaces: Option<u8>,
    pub event_time: Option<Time>,
}

/// The values that a call binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Call {
    pub now: Time,
    pub lease_until: Time,
    pub give_up_at: Time,
    pub due_at: Time,
    pub max_crashes: u8,
    pub holder: u8,
    /// The fencing token.
    pub mine: u8,
    pub outcome: Option<Outcome>,
    /// The delivery that writes to the job's row.
    pub by: u8,
    pub replaces: Option<u8>,
    pub redrive: u8,
    pub event_time: Time,
}

/// What DynamoDB answers to a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<S> {
    Made(S),
    /// The condition does not hold. `done`: the row shows that an earlier try of the same call has made the change.
    Refused {
        done: bool,
    },
}

/// Asks one transition of one row.
pub fn ask<S: Stored>(transition: &'static Transition, row: S, call: Call) -> Answer<S> {
    let key = (std::ptr::from_ref(transition) as usize, row, call);
    if let Some(answer) = S::answers().with_borrow(|answers| answers.get(&key).copied()) {
        return answer;
    }
    let (item, binds) = (row.item(), call.binds());
    let answer = if transition.allows(&item, &binds) {
        Answer::Made(S::of(&transition.apply(&item, &binds)))
    } else {
        Answer::Refused { done: transition.is_done(&item, &binds) }
    };
    S::answers().with_borrow_mut(|answers| answers.insert(key, answer));
    answer
}

type Answers<S> = RefCell<HashMap<(usize, S, Call), Answer<S>>>;

thread_local! {
    static OF_DELIVERIES: Answers<Option<Row>> = RefCell::default();
    static OF_JOBS: Answers<Job> = RefCell::default();
}

pub trait Stored: Copy + Eq + Hash + 'static {
    fn item(&self) -> Item;
    fn of(item: &Item) -> Self;
    fn answers() -> &'static LocalKey<Answers<Self>>;
}

/// What stands in a delivery's row and is asked about by no condition that the model uses.
const UNASKED_OF_DELIVERIES: [&str; 5] =
    [attr::LAST_ERROR, attr::ERROR_KIND, attr::ERROR_SINCE, attr::CHECKPOINT, attr::EXPIRES_AT];

const UNASKED_OF_JOBS: [&str; 6] =
    [attr::ENDED_AT, attr::KIND, attr::STATE, attr::SCHEMA, attr::DELIVERIES, attr::WATCH_UNTIL];

impl Stored for Option<Row> {
    fn item(&self) -> Item {
        let Some(row) = self else { return Item::new() };
        item([
            (attr::WEBHOOK_ID, Some(s("msg"))),
            (attr::SCHEMA, Some(n(SCHEMA))),
            (attr::STATE, Some(s(row.state.name()))),
            (attr::OUTCOME, row.outcome.map(|outcome| s(outcome.name()))),
            (attr::JOB_ID, row.names_job.then(|| s("job"))),
            (attr::ATTEMPT, Some(n(row.attempt))),
            (attr::CRASHES, Some(n(row.crashes))),
            (attr::HOLDER, row.holder.map(s)),
            (attr::LEASE_UNTIL, row.lease_until.map(n)),
            (attr::DUE_AT, row.due_at.map(n)),
            (attr::GIVE_UP_AT, Some(n(row.give_up_at))),
            (attr::REDRIVE, row.redrive.map(s)),
            (attr::OPEN, row.open.then(|| s("0"))),
        ])
    }

    fn of(item: &Item) -> Self {
        let row = Row {
            state: text(item, attr::STATE).and_then(DeliveryState::of)?,
            outcome: text(item, attr::OUTCOME).and_then(Outcome::of),
            names_job: item.contains_key(attr::JOB_ID),
            attempt: small(item, attr::ATTEMPT)?,
            crashes: small(item, attr::CRASHES)?,
            holder: id(item, attr::HOLDER),
            lease_until: small(item, attr::LEASE_UNTIL),
            due_at: small(item, attr::DUE_AT),
            give_up_at: small(item, attr::GIVE_UP_AT)?,
            redrive: id(item, attr::REDRIVE),
            open: item.contains_key(attr::OPEN),
        };
        assert_complete(item, &Some(row).item(), &UNASKED_OF_DELIVERIES);
        Some(row)
    }

    fn answers() -> &'static LocalKey<Answers<Self>> {
        &OF_DELIVERIES
    }
}

impl Stored for Job {
    fn item(&self) -> Item {
        item([
            (attr::ENDED_BY, self.ended_by.map(s)),
            (attr::OUTCOME, self.outcome.map(|outcome| s(outcome.name()))),
            (attr::REPLACES, self.replaces.map(s)),
            (attr::EVENT_TIME, self.event_time.map(n)),
        ])
    }

    fn of(item: &Item) -> Self {
        let job = Self {
            ended_by: id(item, attr::ENDED_BY),
            outcome: text(item, attr::OUTCOME).and_then(Outcome::of),
            replaces: id(item, attr::REPLACES),
            event_time: small(item, attr::EVENT_TIME),
        };
        assert_complete(item, &job.item(), &UNASKED_OF_JOBS);
        job
    }

    fn answers() -> &'static LocalKey<Answers<Self>> {
        &OF_JOBS
    }
}

impl Call {
    fn binds(&self) -> Binds {
        Binds::default()
            .number(":now", self.now.into())
            .number(":lease_until", self.lease_until.into())
            .number(":give_up_at", self.give_up_at.into())
            .number(":due_at", self.due_at.into())
            .number(":max_crashes", self.max_crashes.into())
            .number(":mine", self.mine.into())
            .number(":event_time", self.event_time.into())
            .number(":schema", SCHEMA)
            .number(":zero", 0)
            .number(":expires_at", 0)
            .number(":error_since", 0)
            .number(":watch_until", 0)
            .text(":holder", self.holder.to_string())
            .text(":redrive", self.redrive.to_string())
            .text(":webhook_id", self.by.to_string())
            .text(":job_id", "job")
            .text(":open", "0")
            .text(":last_error", "an error")
            .text(":error_kind", "transient")
            .text(":kind", "batch")
            .text(":state", "a state")
            .value(":told_by", Some(AttributeValue::Ss(vec![self.by.to_string()])))
            .value(":replaces", self.replaces.map(s))
            .value(":outcome", self.outcome.map(|outcome| s(outcome.name())))
    }
}

fn n(value: impl Into<i64>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

fn s(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn item<const N: usize>(attributes: [(&str, Option<AttributeValue>); N]) -> Item {
    attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn small(item: &Item, name: &str) -> Option<u8> {
    number(item, name).and_then(|value| u8::try_from(value).ok())
}

fn id(item: &Item, name: &str) -> Option<u8> {
    text(item, name).and_then(|id| id.parse().ok())
}

/// Nothing that a transition wrote is lost on the way into the model.
fn assert_complete(written: &Item, modelled: &Item, unasked: &[&str]) {
    for (name, value) in written {
        let is_modelled = modelled.get(name) == Some(value);
        assert!(
            is_modelled || unasked.contains(&name.as_str()),
            "the model does not know {name} = {value:?}"
        );
    }
}
