//! What the answers of a receiver say of a rule.

use serde::Serialize;

use super::rules::Wanted;
use crate::cli::sender::Answer;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Kept,
    Broken,
    /// It is kept, but not as it should be.
    Doubtful,
    /// The answers do not say.
    Unclear,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "BROKEN",
            Self::Doubtful => "doubtful",
            Self::Unclear => "unclear",
        }
    }
}

/// What a delivery was, and how it was answered.
pub(super) type Seen = (&'static str, Answer);

/// `accepts` says whether the receiver accepts anything: the refusals of one that does not prove nothing.
pub(super) fn judge(wanted: Wanted, seen: &[Seen], accepts: bool) -> (Verdict, String) {
    let told = |(what, answer): &Seen| format!("{what}: {}", brief(answer));
    let fault = match wanted {
        Wanted::Accepted => seen.iter().find(|(_, answer)| !answer.is_success()),
        Wanted::Refused => seen.iter().find(|(_, answer)| answer.is_success()),
        Wanted::SameAnswer => return judge_duplicate(seen),
    };
    if let Some(fault) = fault {
        return (Verdict::Broken, told(fault));
    }
    let all = || seen.iter().map(told).collect::<Vec<_>>().join("; ");
    if wanted == Wanted::Accepted {
        return (Verdict::Kept, all());
    }
    if !accepts {
        return (Verdict::Unclear, "refused, but a right delivery is refused too".to_owned());
    }
    // Whoever breaks off or answers 5xx has not refused: the sender repeats it, and the program may have failed.
    let crashed = |(_, answer): &&Seen| answer.status.is_none_or(|status| status >= 500);
    match seen.iter().find(crashed) {
        Some(fault) => (Verdict::Doubtful, format!("{}; a refusal is 400 or 401", told(fault))),
        None => (Verdict::Kept, all()),
    }
}

fn judge_duplicate(seen: &[Seen]) -> (Verdict, String) {
    let Some(((_, first), later)) = seen.split_first() else {
        return (Verdict::Unclear, "nothing was sent".to_owned());
    };
    if !first.is_success() {
        return (Verdict::Unclear, format!("the first one: {}", brief(first)));
    }
    match later.iter().find(|(_, answer)| answer.status != first.status) {
        Some((_, answer)) => {
            let verdict = if answer.is_success() { Verdict::Doubtful } else { Verdict::Broken };
            (verdict, format!("answer differs: first {}, then {}", brief(first), brief(answer)))
        }
        None => (
            Verdict::Kept,
            format!("both {}; whether it was processed once cannot be seen from outside", brief(first)),
        ),
    }
}

fn brief(answer: &Answer) -> String {
    match (answer.status, &answer.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => "no answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(statuses: &[u16]) -> Vec<Seen> {
        let answer = |status: &u16| Answer {
            webhook_id: "msg_a".to_owned(),
            status: Some(*status).filter(|status| *status > 0),
            answer: String::new(),
            error: None,
            milliseconds: 1,
        };
        statuses.iter().map(|status| ("it", answer(status))).collect()
    }

    #[test]
    fn each_kind_of_rule_is_judged_by_all_of_its_answers() {
        for (wanted, statuses, accepts, verdict) in [
            (Wanted::Accepted, &[200, 204][..], true, Verdict::Kept),
            (Wanted::Accepted, &[200, 302], true, Verdict::Broken),
            (Wanted::Accepted, &[0], true, Verdict::Broken),
            (Wanted::Refused, &[401, 400], true, Verdict::Kept),
            (Wanted::Refused, &[401, 200], true, Verdict::Broken),
            (Wanted::Refused, &[401, 500], true, Verdict::Doubtful),
            (Wanted::Refused, &[0], true, Verdict::Doubtful),
            (Wanted::Refused, &[401], false, Verdict::Unclear),
            (Wanted::Refused, &[200], false, Verdict::Broken),
            (Wanted::SameAnswer, &[200, 200], true, Verdict::Kept),
            (Wanted::SameAnswer, &[200, 409], true, Verdict::Broken),
            (Wanted::SameAnswer, &[202, 200], true, Verdict::Doubtful),
            (Wanted::SameAnswer, &[500, 200], true, Verdict::Unclear),
        ] {
            assert_eq!(judge(wanted, &seen(statuses), accepts).0, verdict, "{wanted:?} {statuses:?}");
        }
    }
}
