//! Every way in which a row may change. Nothing else in the product writes to the tables.
//!
//! ```text
//!            lease                     now > lease_until            now > lease_until, 5 crashes
//! received ────────▶ archiving ──────────── take over ──▶ archiving ──────────── give up ──▶ failed
//!                    attempt 1, holder a    crashes +1    attempt 2, holder b
//!                    │                                    │
//!                    ├─ extend: lease_until later         ├─ every write of attempt 1 fails from here on,
//!                    ├─ wait: waiting until due_at        │  because `MINE` compares the row's attempt with
//!                    ├─ commit, end, finish: done         │  the one that the writer's own lease got
//!                    └─ fail: failed                      └─ extend, wait, commit, end, finish, fail
//! ```
//!
//! - DynamoDB evaluates a condition on the base row, at the moment of the write. An index or a stream may show an
//!   old row, so each condition repeats the times that a sweep has read from the index.
//!   (AWS: "Global secondary indexes support eventual consistency only".)
//! - `attempt` is the fencing token. Each lease adds 1 in the same write, nothing lowers it, so no two leases of a
//!   row share one. See Kleppmann, "How to do distributed locking", 2016.
//! - `holder` is a nonce of the lease call. By it, a repeat of our own call is distinguished from somebody else's call.

use super::{
    condition::{
        Condition::{self, Absent, All, Any, Exists, Is, Number, Same},
        Order::{Above, AtLeast, AtMost, Below, Equal},
        Transition,
        Write::{self, Increment, Maybe, Remove, Replace, Set, Union, Word, Zero},
    },
    schema::attr::*,
};

/// Nobody works on the row and it is due.
pub const TAKEABLE: Condition =
    Any(&[Is(STATE, "received"), All(&[Is(STATE, "waiting"), Number(DUE_AT, AtMost, ":now")])]);

/// The lease has run out: its worker died, or could not write.
pub const STALE: Condition = All(&[Is(STATE, "archiving"), Number(LEASE_UNTIL, Below, ":now")]);

/// We hold the row: its fencing token is the one that our lease got.
pub const MINE: Condition = All(&[Is(STATE, "archiving"), Number(ATTEMPT, Equal, ":mine")]);

/// A row that this code can work. Rows of a newer schema are left for newer code. The attempt must be a number, or
/// DynamoDB could not add to it and would answer with `ValidationException` instead of a failed condition.
const READABLE: Condition = All(&[Number(SCHEMA, AtMost, ":schema"), Number(ATTEMPT, AtLeast, ":zero")]);

const IN_TIME: Condition = Number(GIVE_UP_AT, Above, ":now");
const TOO_LATE: Condition = Number(GIVE_UP_AT, AtMost, ":now");
const MINE_UNCOMMITTED: Condition = All(&[MINE, Absent(OUTCOME)]);

/// For `done`: the last lease of the row is the one under which this call writes.
const OUR_LEASE: Condition = All(&[Number(ATTEMPT, Equal, ":mine"), Same(HOLDER, ":holder")]);
/// For `done`: this call took the lease.
const LEASED_BY_US: Condition = All(&[Is(STATE, "archiving"), Same(HOLDER, ":holder")]);
/// For `done`: this call ended the row. It left its own nonce.
const FAILED_BY_US: Condition = All(&[Is(STATE, "failed"), Same(HOLDER, ":holder")]);
/// For `done`: never. The condition of such a write still holds when it is repeated, and the repeat changes nothing.
const REPEATABLE: Condition = Any(&[]);

/// A delivery nobody has seen. The row is the whole item, so there is nothing to change.
pub const PUT: Transition =
    Transition { name: "put", when: Absent(WEBHOOK_ID), done: Same(RECEIPT, ":receipt"), writes: &[] };

pub const LEASE: Transition = Transition {
    name: "lease",
    when: All(&[TAKEABLE, IN_TIME, READABLE]),
    done: LEASED_BY_US,
    writes: &[
        Word(STATE, "archiving"),
        Set(LEASE_UNTIL, ":lease_until"),
        Set(HOLDER, ":holder"),
        Increment(ATTEMPT),
    ],
};

pub const TAKE_OVER: Transition = Transition {
    name: "take over",
    when: All(&[STALE, Number(CRASHES, Below, ":max_crashes"), IN_TIME, READABLE]),
    done: LEASED_BY_US,
    writes: &[
        Word(STATE, "archiving"),
        Set(LEASE_UNTIL, ":lease_until"),
        Set(HOLDER, ":holder"),
        Increment(ATTEMPT),
        Increment(CRASHES),
    ],
};

/// A call that holds no lease ends the row. It leaves its nonce, by which its repeat is recognised.
const FAIL_WITHOUT_LEASE: &[Write] = &[
    Word(STATE, "failed"),
    Set(LAST_ERROR, ":last_error"),
    Set(HOLDER, ":holder"),
    Remove(OPEN),
    Remove(DUE_AT),
    Remove(LEASE_UNTIL),
    Remove(CHECKPOINT),
];

/// The budget of a row is used up. It is checked by whoever wants a lease, so that a row that kills its workers
/// ends too.
pub const GIVE_UP: Transition = Transition {
    name: "give up",
    when: All(&[
        Any(&[
            All(&[TAKEABLE, TOO_LATE]),
            All(&[STALE, Any(&[Number(CRASHES, AtLeast, ":max_crashes"), TOO_LATE])]),
        ]),
        READABLE,
    ]),
    done: FAILED_BY_US,
    writes: FAIL_WITHOUT_LEASE,
};

/// A row with a missing or mistyped attribute ends by its key alone, as long as it is the row that was read.
pub const FAIL_UNREADABLE: Transition = Transition {
    name: "fail unreadable",
    when: All(&[
        Exists(WEBHOOK_ID),
        Same(STATE, ":read_state"),
        Same(ATTEMPT, ":read_attempt"),
        Same(LEASE_UNTIL, ":read_lease_until"),
    ]),
    done: FAILED_BY_US,
    writes: FAIL_WITHOUT_LEASE,
};

pub const EXTEND: Transition =
    Transition { name: "extend", when: MINE, done: REPEATABLE, writes: &[Set(LEASE_UNTIL, ":lease_until")] };

pub const WAIT: Transition = Transition {
    name: "wait",
    when: MINE,
    done: All(&[Is(STATE, "waiting"), OUR_LEASE]),
    writes: &[
        Word(STATE, "waiting"),
        Set(DUE_AT, ":due_at"),
        Set(LAST_ERROR, ":last_error"),
        Set(ERROR_KIND, ":error_kind"),
        Set(ERROR_SINCE, ":error_since"),
        Replace(CHECKPOINT, ":checkpoint"),
    ],
};

/// The class of the error (`error_kind`) stays with the row, for the person who looks at it.
pub const FAIL: Transition = Transition {
    name: "fail",
    when: MINE,
    done: All(&[Is(STATE, "failed"), OUR_LEASE]),
    writes: &[
        Word(STATE, "failed"),
        Set(LAST_ERROR, ":last_error"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
        Remove(CHECKPOINT),
    ],
};

/// For `done`: our lease has committed this very end of this very job.
const COMMITTED_BY_US: Condition = All(&[OUR_LEASE, Same(OUTCOME, ":outcome"), Same(JOB_ID, ":job_id")]);

/// The job's end is announced afterwards: the row stays ours, with its budget afresh.
pub const COMMIT_TO_ANNOUNCE: Transition = Transition {
    name: "commit to announce",
    when: MINE_UNCOMMITTED,
    done: COMMITTED_BY_US,
    writes: &[
        Set(OUTCOME, ":outcome"),
        Set(JOB_ID, ":job_id"),
        Zero(CRASHES),
        Set(GIVE_UP_AT, ":give_up_at"),
        Maybe(LAST_ERROR, ":last_error"),
        Remove(ERROR_KIND),
        Remove(ERROR_SINCE),
        Remove(CHECKPOINT),
    ],
};

/// Without an event bus a commit is the end of the row.
pub const COMMIT: Transition = Transition {
    name: "commit",
    when: MINE_UNCOMMITTED,
    done: COMMITTED_BY_US,
    writes: &[
        Set(OUTCOME, ":outcome"),
        Set(JOB_ID, ":job_id"),
        Word(STATE, "done"),
        Set(EXPIRES_AT, ":expires_at"),
        Maybe(LAST_ERROR, ":last_error"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
        Remove(ERROR_KIND),
        Remove(ERROR_SINCE),
        Remove(CHECKPOINT),
    ],
};

/// An end for which nothing was committed: `recorded`, `repeated` or `foreign`, or `gone` once more.
pub const END: Transition = Transition {
    name: "end",
    when: MINE_UNCOMMITTED,
    done: All(&[Is(STATE, "done"), OUR_LEASE, Same(OUTCOME, ":outcome")]),
    writes: &[
        Word(STATE, "done"),
        Set(OUTCOME, ":outcome"),
        Set(EXPIRES_AT, ":expires_at"),
        Maybe(JOB_ID, ":job_id"),
        Maybe(LAST_ERROR, ":last_error"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
        Remove(ERROR_KIND),
        Remove(ERROR_SINCE),
        Remove(CHECKPOINT),
    ],
};

pub const FINISH: Transition = Transition {
    name: "finish",
    when: All(&[MINE, Exists(OUTCOME)]),
    done: All(&[Is(STATE, "done"), OUR_LEASE]),
    writes: &[
        Word(STATE, "done"),
        Set(EXPIRES_AT, ":expires_at"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
        Remove(ERROR_KIND),
        Remove(ERROR_SINCE),
        Remove(CHECKPOINT),
    ],
};

/// For `done`: the last redrive of the row is this call. A worker may have leased the row since.
const REDRIVEN_BY_US: Condition = Same(REDRIVE, ":redrive");

/// The outcome stays: where only the announcement failed, a redrive announces what was committed.
pub const REDRIVE_FAILED: Transition = Transition {
    name: "redrive failed",
    when: Is(STATE, "failed"),
    done: REDRIVEN_BY_US,
    writes: &[
        Word(STATE, "received"),
        Zero(CRASHES),
        Set(GIVE_UP_AT, ":give_up_at"),
        Set(OPEN, ":open"),
        Set(DUE_AT, ":due_at"),
        Set(REDRIVE, ":redrive"),
        Remove(ERROR_KIND),
        Remove(ERROR_SINCE),
    ],
};

/// Ends that hold no output: the row forgets how it ended and runs again.
pub const REDRIVE_DONE: Transition = Transition {
    name: "redrive done",
    when: All(&[
        Is(STATE, "done"),
        Any(&[Is(OUTCOME, "recorded"), Is(OUTCOME, "gone"), Is(OUTCOME, "foreign")]),
    ]),
    done: REDRIVEN_BY_US,
    writes: &[
        Word(STATE, "received"),
        Zero(CRASHES),
        Set(GIVE_UP_AT, ":give_up_at"),
        Set(OPEN, ":open"),
        Set(DUE_AT, ":due_at"),
        Set(REDRIVE, ":redrive"),
        Remove(OUTCOME),
        Remove(JOB_ID),
        Remove(EXPIRES_AT),
    ],
};

/// Only where one process has the data to itself: a lease that is found when it starts has no holder.
pub const VOID_LEASE: Transition = Transition {
    name: "void lease",
    when: Is(STATE, "archiving"),
    done: REPEATABLE,
    writes: &[Zero(LEASE_UNTIL)],
};

/// Jobs: an end is written once and absorbs everything that comes later.
pub const END_JOB: Transition = Transition {
    name: "end job",
    when: Absent(ENDED_BY),
    done: REPEATABLE,
    writes: &[
        Set(ENDED_BY, ":webhook_id"),
        Set(ENDED_AT, ":now"),
        Set(OUTCOME, ":outcome"),
        Set(KIND, ":kind"),
        Set(STATE, ":state"),
        Set(SCHEMA, ":schema"),
        Union(DELIVERIES, ":delivery"),
        Maybe(EVENT_TIME, ":event_time"),
        Maybe(USER_METADATA, ":user_metadata"),
        Maybe(MODEL, ":model"),
        Maybe(DISPLAY_NAME, ":display_name"),
        Maybe(OUTPUTS, ":outputs"),
        Maybe(SKIPPED, ":skipped"),
        Maybe(SUMMARY, ":summary"),
        Maybe(TEXT, ":text"),
        Maybe(TEXT_CUT, ":text_cut"),
        Maybe(ERROR, ":error"),
        Replace(SHORTENED, ":shortened"),
        Remove(CALLS),
        Remove(WATCH_UNTIL),
        Remove(LOOKS),
        Remove(LOOK_AT),
    ],
};

/// Jobs: an end with an output replaces a `gone` end. Afterwards the outcome is another one, so it happens once.
/// Nothing of the `gone` end stays.
pub const REPLACE_GONE_JOB: Transition = Transition {
    name: "replace gone job",
    when: All(&[Same(ENDED_BY, ":replaces"), Is(OUTCOME, "gone")]),
    done: REPEATABLE,
    writes: &[
        Set(ENDED_BY, ":webhook_id"),
        Set(ENDED_AT, ":now"),
        Set(OUTCOME, ":outcome"),
        Set(REPLACES, ":replaces"),
        Set(KIND, ":kind"),
        Set(STATE, ":state"),
        Set(SCHEMA, ":schema"),
        Union(DELIVERIES, ":delivery"),
        Replace(EVENT_TIME, ":event_time"),
        Replace(USER_METADATA, ":user_metadata"),
        Replace(MODEL, ":model"),
        Replace(DISPLAY_NAME, ":display_name"),
        Replace(OUTPUTS, ":outputs"),
        Replace(SKIPPED, ":skipped"),
        Replace(SUMMARY, ":summary"),
        Replace(TEXT, ":text"),
        Replace(TEXT_CUT, ":text_cut"),
        Replace(ERROR, ":error"),
        Replace(SHORTENED, ":shortened"),
    ],
};

/// Jobs: news of an open job, never over an end and never over later news.
pub const OPEN_JOB: Transition = Transition {
    name: "open job",
    when: All(&[Absent(ENDED_BY), Any(&[Absent(EVENT_TIME), Number(EVENT_TIME, Below, ":event_time")])]),
    done: REPEATABLE,
    writes: &[
        Set(EVENT_TIME, ":event_time"),
        Set(KIND, ":kind"),
        Set(STATE, ":state"),
        Set(SCHEMA, ":schema"),
        Set(WATCH_UNTIL, ":watch_until"),
        Union(DELIVERIES, ":delivery"),
        Maybe(USER_METADATA, ":user_metadata"),
        Maybe(CALLS, ":calls"),
        Replace(SHORTENED, ":shortened"),
    ],
};

/// Jobs: an update and never a put, which would erase an end.
pub const WATCH_JOB: Transition = Transition {
    name: "watch job",
    when: Absent(ENDED_BY),
    done: REPEATABLE,
    writes: &[Set(WATCH_UNTIL, ":watch_until")],
};

const WATCHED_AND_OPEN: Condition = All(&[Absent(ENDED_BY), Exists(WATCH_UNTIL)]);

/// Jobs: the count of looks is set and not added to, so that a repeated write does not count twice.
pub const LOOK_AT_JOB: Transition = Transition {
    name: "look at job",
    when: WATCHED_AND_OPEN,
    done: REPEATABLE,
    writes: &[Set(LOOK_AT, ":look_at"), Set(LOOKS, ":looks")],
};

pub const UNWATCH_JOB: Transition = Transition {
    name: "unwatch job",
    when: WATCHED_AND_OPEN,
    done: All(&[Absent(ENDED_BY), Absent(WATCH_UNTIL)]),
    writes: &[Remove(WATCH_UNTIL), Remove(LOOKS), Remove(LOOK_AT)],
};

/// Jobs: a person erases what is known of a job, but not that it has ended. The row is a new item.
pub const ERASE_ENDED_JOB: Transition =
    Transition { name: "erase ended job", when: Exists(ENDED_BY), done: REPEATABLE, writes: &[] };

/// Jobs: the row goes.
pub const ERASE_OPEN_JOB: Transition =
    Transition { name: "erase open job", when: Absent(ENDED_BY), done: REPEATABLE, writes: &[] };
