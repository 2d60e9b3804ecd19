//! Interactions: the answer as it is, its final text beside it, and its media.
//!
//! One that failed or was cut short is kept where it has put something out until then.

use serde_json::json;

use super::{
    Archive, Report, Task,
    bucket::At,
    source::{Source, read_text},
};
use crate::{
    gemini::{Interaction, InteractionState, Media, Name, off_the_loop},
    job::{EndedJob, JobKind, Left, OpenJob, Sums, Text},
    ledger::Outcome,
    trouble::Trouble,
};

/// Of the final text, as much as a row carries for a person to see.
const LONGEST_TEXT: usize = 4 * 1024;

pub(super) async fn bring(archive: &Archive, task: Task<'_>, hinted: Name) -> Result<Report, Trouble> {
    let mut interaction = archive.gemini.interaction(&hinted).await?;
    archive.check_ours(task.row, interaction.user_metadata.as_ref()).await?;
    let name = interaction.name.take().unwrap_or(hinted);
    match interaction.state {
        InteractionState::Open if task.is_fresh() => Err(Trouble::passing(format!(
            "the event tells of more, but the job is {}",
            interaction.state_word
        ))),
        InteractionState::Open | InteractionState::RequiresAction => task.open(OpenJob {
            name: name.to_string(),
            kind: JobKind::Interaction,
            state: interaction.state_word,
            user_metadata: interaction.user_metadata,
            calls: interaction.calls,
        }),
        InteractionState::Completed => keep(archive, task, &name, &interaction, Outcome::Archived).await,
        InteractionState::EndedWithout if interaction.has_output() => {
            keep(archive, task, &name, &interaction, Outcome::Ended).await
        }
        InteractionState::EndedWithout => Ok(Report::ended(ended(&name, &interaction, task), Outcome::Ended)),
    }
}

/// From the answer that an earlier attempt has stored.
pub(super) async fn recover(
    archive: &Archive,
    task: Task<'_>,
    name: Name,
    why: &str,
) -> Result<Report, Trouble> {
    let key = key(&name);
    let at = At { key: &key, job: name.as_str(), lines: false };
    let Some(document) = archive.bucket.document(at, task.deadline).await? else {
        let mut job = task.ended(&name, JobKind::Interaction, "unknown");
        job.error = Some(json!({ "message": why }));
        return Ok(Report::ended(job, Outcome::Gone));
    };
    let interaction = off_the_loop(move || Interaction::read(document)).await?;
    let outcome = match interaction.state {
        InteractionState::Completed => Outcome::Archived,
        _ => Outcome::Ended,
    };
    keep(archive, Task { last_look: true, ..task }, &name, &interaction, outcome).await
}

/// The answer first: all else but what it only refers to could be had from it again.
async fn keep(
    archive: &Archive,
    task: Task<'_>,
    name: &Name,
    interaction: &Interaction,
    outcome: Outcome,
) -> Result<Report, Trouble> {
    let mut job = ended(name, interaction, task);
    let document = &interaction.document;
    let key = key(name);
    let at = At { key: &key, job: name.as_str(), lines: false };
    let source = || Source::document(document, task.deadline);
    job.outputs.push(archive.bring_source(task, at, source).await?.output);
    if !interaction.text.is_empty() {
        let key = format!("interactions/{}/text.md", name.id());
        let source = || Source::text(document, &interaction.text, task.deadline);
        job.outputs.push(archive.bring_source(task, At { key: &key, ..at }, source).await?.output);
        job.text = Some(beginning(interaction).await?);
    }
    let (mut videos, mut others) = (0, 0);
    for media in &interaction.media {
        let key = match media_type(media) {
            "video" => place(&mut videos, |number| format!("videos/{}/{number}.mp4", name.id())),
            _ => place(&mut others, |number| {
                format!("interactions/{}/media/{number}.{}", name.id(), extension(media))
            }),
        };
        archive.bring_media(task, At { key: &key, ..at }, media, document).await?.keep(&mut job);
    }
    if interaction.more_media > 0 {
        let why = format!("{} more outputs than a row can tell of", interaction.more_media);
        job.left.push(Left { source: at.key.to_owned(), why });
    }
    Ok(Report::ended(job, outcome))
}

fn ended(name: &Name, interaction: &Interaction, task: Task<'_>) -> EndedJob {
    let told = task.ended(name, JobKind::Interaction, &interaction.state_word);
    let (tokens_in, tokens_out) = (interaction.tokens_in, interaction.tokens_out);
    EndedJob {
        user_metadata: interaction.user_metadata.clone().or(told.user_metadata),
        model: interaction.model.clone(),
        summary: Some(Sums::Interaction { tokens_in, tokens_out }),
        error: interaction.errors.clone().or(told.error),
        ..told
    }
}

async fn beginning(interaction: &Interaction) -> Result<Text, Trouble> {
    let (document, text) = (interaction.document.clone(), interaction.text.clone());
    off_the_loop(move || {
        let mut bytes = Vec::new();
        let read = read_text(&document, &text, &mut |piece| {
            bytes.extend_from_slice(&piece);
            // More than enough: the rest need not be read.
            if bytes.len() > LONGEST_TEXT { Err(Trouble::OutOfTime) } else { Ok(()) }
        });
        let cut = bytes.len() > LONGEST_TEXT;
        if !cut {
            read?;
        }
        bytes.truncate(LONGEST_TEXT);
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let whole = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(whole);
                String::from_utf8(bytes).unwrap_or_default()
            }
        };
        Ok(Text { text, cut })
    })
    .await
}

/// Keys are numbered for each folder.
fn place(count: &mut usize, key: impl FnOnce(usize) -> String) -> String {
    let key = key(*count);
    *count += 1;
    key
}

fn media_type(media: &Media) -> &str {
    let stated = media.mime_type.as_deref().and_then(|stated| stated.split('/').next());
    stated.unwrap_or(&media.kind)
}

/// A file name's end, for a person who downloads it. Whatever is stated, it is one of these.
fn extension(media: &Media) -> &'static str {
    match media.mime_type.as_deref().unwrap_or_default() {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        "audio/wav" | "audio/x-wav" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        _ => "bin",
    }
}

fn key(name: &Name) -> String {
    format!("interactions/{}/interaction.json", name.id())
}
