//! The conditions of the design's transition table as literal text, written by hand, and what each write changes.
//!
//! Everything else about transitions is derived from the same data; this is what the data must say.

use gemhook::ledger::{
    condition::{Binds, Item, Transition},
    transitions::*,
};

/// Every value that a transition may be used with.
fn binds() -> Binds {
    let numbers = [
        ":now",
        ":mine",
        ":schema",
        ":zero",
        ":max_crashes",
        ":lease_until",
        ":due_at",
        ":give_up_at",
        ":expires_at",
        ":error_since",
        ":event_time",
        ":watch_until",
        ":look_at",
        ":looks",
    ];
    let texts = [
        ":holder",
        ":last_error",
        ":outcome",
        ":job_id",
        ":open",
        ":error_kind",
        ":checkpoint",
        ":receipt",
        ":read_state",
        ":read_attempt",
        ":read_lease_until",
        ":webhook_id",
        ":kind",
        ":state",
        ":replaces",
        ":delivery",
        ":user_metadata",
        ":model",
        ":display_name",
        ":outputs",
        ":skipped",
        ":summary",
        ":text",
        ":text_cut",
        ":error",
        ":shortened",
        ":calls",
    ];
    let binds = numbers.iter().fold(Binds::default(), |binds, name| binds.number(name, 1));
    texts.iter().fold(binds, |binds, name| binds.text(name, "t"))
}

fn condition(transition: &Transition, binds: &Binds) -> String {
    transition.expression(binds).condition.replace('#', "")
}

#[test]
fn the_conditions_are_those_of_the_design() {
    let takeable = "(state = :is_received OR (state = :is_waiting AND due_at <= :now))";
    let stale = "(state = :is_archiving AND lease_until < :now)";
    let mine = "(state = :is_archiving AND attempt = :mine)";
    let readable = "(schema <= :schema AND attempt >= :zero)";
    let in_time = "give_up_at > :now";
    let uncommitted = format!("({mine} AND attribute_not_exists(outcome))");
    for (transition, literal) in [
        (&PUT, "attribute_not_exists(webhook_id)".to_owned()),
        (&LEASE, format!("({takeable} AND {in_time} AND {readable})")),
        (&TAKE_OVER, format!("({stale} AND crashes < :max_crashes AND {in_time} AND {readable})")),
        (
            &GIVE_UP,
            format!(
                "((({takeable} AND give_up_at <= :now) OR ({stale} AND (crashes >= :max_crashes OR give_up_at <= :now))) \
                 AND {readable})"
            ),
        ),
        (
            &FAIL_UNREADABLE,
            "(attribute_exists(webhook_id) AND state = :read_state AND attempt = :read_attempt \
             AND lease_until = :read_lease_until)"
                .to_owned(),
        ),
        (&EXTEND, mine.to_owned()),
        (&WAIT, mine.to_owned()),
        (&FAIL, mine.to_owned()),
        (&COMMIT, uncommitted.clone()),
        (&COMMIT_TO_ANNOUNCE, uncommitted.clone()),
        (&END, uncommitted),
        (&FINISH, format!("({mine} AND attribute_exists(outcome))")),
        (&REDRIVE_FAILED, "state = :is_failed".to_owned()),
        (
            &REDRIVE_DONE,
            "(state = :is_done AND (outcome = :is_recorded OR outcome = :is_gone OR outcome = :is_foreign))"
                .to_owned(),
        ),
        (&VOID_LEASE, "state = :is_archiving".to_owned()),
        (&END_JOB, "attribute_not_exists(ended_by)".to_owned()),
        (&REPLACE_GONE_JOB, "(ended_by = :replaces AND outcome = :is_gone)".to_owned()),
        (
            &OPEN_JOB,
            "(attribute_not_exists(ended_by) AND (attribute_not_exists(event_time) OR event_time < :event_time))"
                .to_owned(),
        ),
        (&WATCH_JOB, "attribute_not_exists(ended_by)".to_owned()),
        (&LOOK_AT_JOB, "(attribute_not_exists(ended_by) AND attribute_exists(watch_until))".to_owned()),
        (&UNWATCH_JOB, "(attribute_not_exists(ended_by) AND attribute_exists(watch_until))".to_owned()),
        (&ERASE_ENDED_JOB, "attribute_exists(ended_by)".to_owned()),
        (&ERASE_OPEN_JOB, "attribute_not_exists(ended_by)".to_owned()),
    ] {
        assert_eq!(condition(transition, &binds()), literal, "{}", transition.name);
    }
    // An attribute that was not there when the row was read must still not be there.
    assert_eq!(
        condition(&FAIL_UNREADABLE, &Binds::default()),
        "(attribute_exists(webhook_id) AND attribute_not_exists(state) AND attribute_not_exists(attempt) \
         AND attribute_not_exists(lease_until))"
    );
}

#[test]
fn the_writes_are_those_of_the_design() {
    let closed = "REMOVE open, due_at, lease_until";
    let calm = "error_kind, error_since, checkpoint";
    for (transition, literal) in [
        (&LEASE, "SET state = :is_archiving, lease_until = :lease_until, holder = :holder ADD attempt :one".into()),
        (
            &TAKE_OVER,
            "SET state = :is_archiving, lease_until = :lease_until, holder = :holder ADD attempt :one, crashes :one"
                .into(),
        ),
        (
            &GIVE_UP,
            format!("SET state = :is_failed, last_error = :last_error, holder = :holder {closed}, checkpoint"),
        ),
        (
            &FAIL_UNREADABLE,
            format!("SET state = :is_failed, last_error = :last_error, holder = :holder {closed}, checkpoint"),
        ),
        (&EXTEND, "SET lease_until = :lease_until".into()),
        (
            &WAIT,
            "SET state = :is_waiting, due_at = :due_at, last_error = :last_error, error_kind = :error_kind, \
             error_since = :error_since, checkpoint = :checkpoint"
                .into(),
        ),
        (&FAIL, format!("SET state = :is_failed, last_error = :last_error {closed}, checkpoint")),
        (
            &COMMIT_TO_ANNOUNCE,
            format!(
                "SET outcome = :outcome, job_id = :job_id, crashes = :zero, give_up_at = :give_up_at, \
                 last_error = :last_error REMOVE {calm}"
            ),
        ),
        (
            &COMMIT,
            format!(
                "SET outcome = :outcome, job_id = :job_id, state = :is_done, expires_at = :expires_at, \
                 last_error = :last_error {closed}, {calm}"
            ),
        ),
        (
            &END,
            format!(
                "SET state = :is_done, outcome = :outcome, expires_at = :expires_at, job_id = :job_id, \
                 last_error = :last_error {closed}, {calm}"
            ),
        ),
        (&FINISH, format!("SET state = :is_done, expires_at = :expires_at {closed}, {calm}")),
        (
            &REDRIVE_FAILED,
            "SET state = :is_received, crashes = :zero, give_up_at = :give_up_at, open = :open, due_at = :due_at, \
             redrive = :redrive REMOVE error_kind, error_since"
                .into(),
        ),
        (
            &REDRIVE_DONE,
            "SET state = :is_received, crashes = :zero, give_up_at = :give_up_at, open = :open, due_at = :due_at, \
             redrive = :redrive REMOVE outcome, job_id, expires_at"
                .into(),
        ),
        (&VOID_LEASE, "SET lease_until = :zero".into()),
        (&WATCH_JOB, "SET watch_until = :watch_until".into()),
        (&LOOK_AT_JOB, "SET look_at = :look_at, looks = :looks".into()),
        (&UNWATCH_JOB, "REMOVE watch_until, looks, look_at".into()),
    ] {
        let update: String = transition.expression(&binds()).update.replace('#', "");
        let literal: String = literal;
        assert_eq!(update, literal, "{}", transition.name);
    }
    // A wait without a checkpoint removes the one that is there.
    let without = Binds::default().text(":error_kind", "t").text(":last_error", "t");
    let without = without.number(":due_at", 1).number(":error_since", 1);
    let update = WAIT.expression(&without).update;
    assert!(update.ends_with("#error_since = :error_since REMOVE #checkpoint"), "{update}");
    let row = WAIT.apply(&Item::new(), &binds());
    assert!(row.contains_key("checkpoint") && !WAIT.apply(&row, &without).contains_key("checkpoint"));
}
