//! `gemhook trigger --repeat`: many events at once, and what was answered.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Plan;
use crate::cli::{
    render::{plain, print_json, print_line},
    sender::{Answer, Sender},
};

/// Sends `repeat` events, `concurrency` at once. With `--id` all are copies of one delivery. Otherwise each is a delivery
/// of its own, and of its own job.
pub(super) async fn run(
    plan: &Plan<'_>,
    sender: &Sender,
    repeat: u32,
    concurrency: u32,
    json: bool,
) -> Result<ExitCode> {
    let same = if plan.args.id.is_some() { Some(plan.event().await?) } else { None };
    let answers = stream::iter(0..repeat).map(async |_| {
        let event = match &same {
            Some(event) => event.clone(),
            None => plan.event().await?,
        };
        let answer = sender.send(&event).await;
        if !json {
            print_line(&plain(&format!("{}  {answer}", answer.webhook_id)))?;
        }
        Ok::<_, anyhow::Error>(answer)
    });
    let answers: Vec<Answer> =
        answers.buffer_unordered(usize::try_from(concurrency).unwrap_or(1)).try_collect().await?;
    if json {
        print_json(&answers)?;
    } else {
        print_line(&plain(&format!(
            "sent {} to {}: {}",
            counted(answers.len()),
            sender.to,
            summary(&answers)
        )))?;
    }
    Ok(if answers.iter().all(Answer::is_success) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn counted(events: usize) -> String {
    if events == 1 { "1 event".to_owned() } else { format!("{events} events") }
}

/// `98 answered 200, 2 not answered; half within 3 ms, the slowest 40 ms`.
fn summary(answers: &[Answer]) -> String {
    let mut statuses: BTreeMap<Option<u16>, usize> = BTreeMap::new();
    let mut times: Vec<u64> = Vec::new();
    for answer in answers {
        *statuses.entry(answer.status).or_default() += 1;
        times.push(answer.milliseconds);
    }
    times.sort_unstable();
    let told = statuses.iter().rev().map(|(status, count)| match status {
        Some(status) => format!("{count} answered {status}"),
        None => format!("{count} not answered"),
    });
    let of = |at: usize| times.get(at).copied().unwrap_or(0);
    let (half, slowest) = (of(times.len() / 2), of(times.len().saturating_sub(1)));
    format!("{}; half within {half} ms, the slowest {slowest} ms", told.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_status_and_their_times_summed_up() {
        let answer = |status, milliseconds| Answer {
            webhook_id: "msg_a".to_owned(),
            status,
            answer: String::new(),
            error: None,
            milliseconds,
        };
        let answers = [answer(Some(200), 9), answer(None, 30), answer(Some(200), 3), answer(Some(401), 5)];
        let wanted = "1 answered 401, 2 answered 200, 1 not answered; half within 9 ms, the slowest 30 ms";
        assert_eq!(summary(&answers), wanted);
    }
}
