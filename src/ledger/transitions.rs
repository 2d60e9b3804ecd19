//! Every way in which a row may change. Nothing else in the product writes to the tables.
//!
//! The condition is always evaluated on the base row, and every take-over has the time in it: what an index or
//! a stream says of a row may be old.

use super::{
    condition::{
        Condition::{self, Absent, All, Any, Exists, Is, Number},
        Order::{Above, AtLeast, AtMost, Below, Equal},
        Transition,
        Write::{self, Increment, Maybe, Remove, Set, Union, Word, Zero},
    },
    schema::attr::*,
};

/// Nobody works on the row and it is due.
pub const TAKEABLE: Condition =
    Any(&[Is(STATE, "received"), All(&[Is(STATE, "waiting"), Number(DUE_AT, AtMost, ":now")])]);

/// Somebody took the row and did not come back.
pub const STALE: Condition = All(&[Is(STATE, "archiving"), Number(LEASE_UNTIL, Below, ":now")]);

/// We hold the row: the fencing token is the one that our lease got.
pub const MINE: Condition = All(&[Is(STATE, "archiving"), Number(ATTEMPT, Equal, ":mine")]);

const IN_TIME: Condition = Number(GIVE_UP_AT, Above, ":now");
const TOO_LATE: Condition = Number(GIVE_UP_AT, AtMost, ":now");
const MINE_UNCOMMITTED: Condition = All(&[MINE, Absent(OUTCOME)]);

/// A delivery nobody has seen. The row is the whole item, so there is nothing to change.
pub const PUT: Transition = Transition { name: "put", when: Absent(WEBHOOK_ID), writes: &[] };

pub const LEASE: Transition = Transition {
    name: "lease",
    when: All(&[TAKEABLE, IN_TIME]),
    writes: &[
        Word(STATE, "archiving"),
        Set(LEASE_UNTIL, ":lease_until"),
        Set(HOLDER, ":holder"),
        Increment(ATTEMPT),
    ],
};

pub const TAKE_OVER: Transition = Transition {
    name: "take over",
    when: All(&[STALE, Number(CRASHES, Below, ":max_crashes"), IN_TIME]),
    writes: &[
        Word(STATE, "archiving"),
        Set(LEASE_UNTIL, ":lease_until"),
        Set(HOLDER, ":holder"),
        Increment(ATTEMPT),
        Increment(CRASHES),
    ],
};

const END_IN_FAILURE: &[Write] = &[
    Word(STATE, "failed"),
    Set(LAST_ERROR, ":last_error"),
    Remove(OPEN),
    Remove(DUE_AT),
    Remove(LEASE_UNTIL),
];

pub const GIVE_UP: Transition = Transition {
    name: "give up",
    when: Any(&[
        All(&[TAKEABLE, TOO_LATE]),
        All(&[STALE, Any(&[Number(CRASHES, AtLeast, ":max_crashes"), TOO_LATE])]),
    ]),
    writes: END_IN_FAILURE,
};

pub const EXTEND: Transition =
    Transition { name: "extend", when: MINE, writes: &[Set(LEASE_UNTIL, ":lease_until")] };

pub const WAIT: Transition = Transition {
    name: "wait",
    when: MINE,
    writes: &[Word(STATE, "waiting"), Set(DUE_AT, ":due_at"), Set(LAST_ERROR, ":last_error")],
};

pub const FAIL: Transition = Transition { name: "fail", when: MINE, writes: END_IN_FAILURE };

/// The job's end is announced afterwards: the row stays ours, with its budget afresh.
pub const COMMIT_TO_ANNOUNCE: Transition = Transition {
    name: "commit",
    when: MINE_UNCOMMITTED,
    writes: &[
        Set(OUTCOME, ":outcome"),
        Set(JOB_ID, ":job_id"),
        Zero(CRASHES),
        Set(GIVE_UP_AT, ":give_up_at"),
        Maybe(LAST_ERROR, ":last_error"),
    ],
};

/// Without an event bus a commit is the end of the row.
pub const COMMIT: Transition = Transition {
    name: "commit",
    when: MINE_UNCOMMITTED,
    writes: &[
        Set(OUTCOME, ":outcome"),
        Set(JOB_ID, ":job_id"),
        Word(STATE, "done"),
        Set(EXPIRES_AT, ":expires_at"),
        Maybe(LAST_ERROR, ":last_error"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
    ],
};

/// An end for which nothing was committed: `recorded`, `repeated` or `foreign`.
pub const END: Transition = Transition {
    name: "end",
    when: MINE_UNCOMMITTED,
    writes: &[
        Word(STATE, "done"),
        Set(OUTCOME, ":outcome"),
        Set(EXPIRES_AT, ":expires_at"),
        Maybe(LAST_ERROR, ":last_error"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
    ],
};

pub const FINISH: Transition = Transition {
    name: "finish",
    when: All(&[MINE, Exists(OUTCOME)]),
    writes: &[
        Word(STATE, "done"),
        Set(EXPIRES_AT, ":expires_at"),
        Remove(OPEN),
        Remove(DUE_AT),
        Remove(LEASE_UNTIL),
    ],
};

pub const REDRIVE_FAILED: Transition = Transition {
    name: "redrive",
    when: Is(STATE, "failed"),
    writes: &[
        Word(STATE, "received"),
        Zero(CRASHES),
        Set(GIVE_UP_AT, ":give_up_at"),
        Set(OPEN, ":open"),
        Set(DUE_AT, ":due_at"),
    ],
};

pub const REDRIVE_RECORDED: Transition = Transition {
    name: "redrive",
    when: All(&[Is(STATE, "done"), Is(OUTCOME, "recorded")]),
    writes: &[
        Word(STATE, "received"),
        Zero(CRASHES),
        Set(GIVE_UP_AT, ":give_up_at"),
        Set(OPEN, ":open"),
        Set(DUE_AT, ":due_at"),
        Remove(OUTCOME),
        Remove(EXPIRES_AT),
    ],
};

/// Only where one process has the data to itself: a lease that is found when it starts has no holder.
pub const VOID_LEASE: Transition =
    Transition { name: "void lease", when: Is(STATE, "archiving"), writes: &[Zero(LEASE_UNTIL)] };

/// Jobs: an end is written once and absorbs everything that comes later.
pub const END_JOB: Transition = Transition {
    name: "end job",
    when: Absent(ENDED_BY),
    writes: &[
        Set(ENDED_BY, ":webhook_id"),
        Set(ENDED_AT, ":now"),
        Set(KIND, ":kind"),
        Set(STATE, ":state"),
        Set(SCHEMA, ":schema"),
        Union(DELIVERIES, ":told_by"),
        Maybe(EVENT_TIME, ":event_time"),
        Maybe(USER_METADATA, ":user_metadata"),
        Maybe(MODEL, ":model"),
        Maybe(DISPLAY_NAME, ":display_name"),
        Maybe(OUTPUTS, ":outputs"),
        Maybe(LEFT, ":left"),
        Maybe(SUMMARY, ":summary"),
        Maybe(TEXT, ":text"),
        Maybe(TEXT_CUT, ":text_cut"),
        Maybe(ERROR, ":error"),
        Remove(CALLS),
        Remove(WATCH_UNTIL),
        Remove(LOOKS),
        Remove(LOOK_AT),
    ],
};

/// Jobs: news of an open job, never over an end and never over later news.
pub const OPEN_JOB: Transition = Transition {
    name: "open job",
    when: All(&[Absent(ENDED_BY), Any(&[Absent(EVENT_TIME), Number(EVENT_TIME, Below, ":event_time")])]),
    writes: &[
        Set(EVENT_TIME, ":event_time"),
        Set(KIND, ":kind"),
        Set(STATE, ":state"),
        Set(SCHEMA, ":schema"),
        Set(WATCH_UNTIL, ":watch_until"),
        Union(DELIVERIES, ":told_by"),
        Maybe(USER_METADATA, ":user_metadata"),
        Maybe(CALLS, ":calls"),
    ],
};

/// Jobs: an update and never a put, which would erase an end.
pub const WATCH_JOB: Transition =
    Transition { name: "watch job", when: Absent(ENDED_BY), writes: &[Set(WATCH_UNTIL, ":watch_until")] };

const WATCHED_AND_OPEN: Condition = All(&[Absent(ENDED_BY), Exists(WATCH_UNTIL)]);

pub const LOOK_AT_JOB: Transition = Transition {
    name: "look at job",
    when: WATCHED_AND_OPEN,
    writes: &[Set(LOOK_AT, ":look_at"), Increment(LOOKS)],
};

pub const UNWATCH_JOB: Transition = Transition {
    name: "unwatch job",
    when: WATCHED_AND_OPEN,
    writes: &[Remove(WATCH_UNTIL), Remove(LOOKS), Remove(LOOK_AT)],
};

/// Jobs: a person erases what is known of a job, but not that it has ended. The row is a new item.
pub const ERASE_ENDED_JOB: Transition =
    Transition { name: "erase ended job", when: Exists(ENDED_BY), writes: &[] };

/// Jobs: the row goes.
pub const ERASE_OPEN_JOB: Transition =
    Transition { name: "erase open job", when: Absent(ENDED_BY), writes: &[] };
