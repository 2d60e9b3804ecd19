//! Interactions: the answer as it is, its final text beside it, and its media.
//!
//! The answer is stored before anything else, for every interaction that has ended, however it ended: what this code
//! does not know how to read is in it.

use super::{
    Archive, Report, Task,
    bucket::ObjectTarget,
    event_report::EventReport,
    source::{Source, read_text},
};
use crate::{
    error::ProcessingError,
    gemini::{Document, Interaction, InteractionState, Media, Name, run_blocking},
    job::{EndedJob, JobKind, OpenJob, Skipped, Sums, Text},
    ledger::Outcome,
};

/// Of the final text, as much as a row carries for a person to see.
const MAX_TEXT_BYTES: usize = 4 * 1024;

pub(super) async fn archive_job(
    archive: &Archive,
    task: Task<'_>,
    reported: &EventReport,
    hinted: Name,
) -> Result<Report, ProcessingError> {
    let mut interaction = archive.gemini.interaction(&hinted).await?;
    archive.check_ours(task.row, reported, interaction.user_metadata.as_ref()).await?;
    let name = interaction.name.take().unwrap_or(hinted);
    // An answer that names no state is not understood. It may be another one soon, unless it breaks off.
    let is_unknown = interaction.state_word.is_empty() && (interaction.flaw.is_some() || !task.is_fresh());
    match interaction.state {
        InteractionState::Open if is_unknown => {}
        InteractionState::Open if task.is_fresh() => {
            let state = &interaction.state_word;
            return Err(ProcessingError::transient(format!(
                "the event tells of more, but the job is {state}"
            )));
        }
        InteractionState::Open | InteractionState::RequiresAction => {
            return reported.open(OpenJob {
                name: name.to_string(),
                kind: JobKind::Interaction,
                state: interaction.state_word,
                user_metadata: interaction.user_metadata,
                calls: interaction.calls,
            });
        }
        InteractionState::Completed | InteractionState::EndedWithout => {}
    }
    keep(archive, task, reported, &name, &interaction).await
}

/// From the answer that an earlier attempt has stored.
pub(super) async fn keep_stored(
    archive: &Archive,
    task: Task<'_>,
    reported: &EventReport,
    name: &Name,
    document: Document,
) -> Result<Report, ProcessingError> {
    let interaction = run_blocking(move || Interaction::read(document)).await?;
    keep(archive, task, reported, name, &interaction).await
}

/// The answer first: all else but what it only refers to could be had from it again.
async fn keep(
    archive: &Archive,
    task: Task<'_>,
    reported: &EventReport,
    name: &Name,
    interaction: &Interaction,
) -> Result<Report, ProcessingError> {
    let mut job = ended(task, reported, name, interaction);
    let document = &interaction.document;
    let key = answer_key(name);
    let target = ObjectTarget { key: &key, job: name.as_str(), lines: false };
    let source = || Source::document(document, task.deadline);
    archive.archive_source(task, target, source).await?.keep(&mut job);
    if !interaction.text.is_empty() {
        let key = format!("interactions/{}/text.md", name.id());
        let source = || Source::text(document, &interaction.text, task.deadline);
        job.outputs
            .push(archive.archive_source(task, ObjectTarget { key: &key, ..target }, source).await?.output);
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
        archive
            .archive_media(task, ObjectTarget { key: &key, ..target }, media, document)
            .await?
            .keep(&mut job);
    }
    if interaction.more_media > 0 {
        let why = format!("{} more outputs than a row can tell of", interaction.more_media);
        job.skipped.push(Skipped { source: key.clone(), why });
    }
    if let Some(flaw) = &interaction.flaw {
        job.cannot_read(&key, flaw);
    } else if interaction.state_word.is_empty() {
        job.cannot_read(&key, "it names no state");
    }
    let outcome = match interaction.state {
        InteractionState::Completed => Outcome::Archived,
        _ => Outcome::Ended,
    };
    Ok(Report::ended(job, outcome))
}

fn ended(task: Task<'_>, reported: &EventReport, name: &Name, interaction: &Interaction) -> EndedJob {
    let state = if interaction.state_word.is_empty() { "unknown" } else { &interaction.state_word };
    let ended = reported.ended(task.row, name, JobKind::Interaction, state);
    let (tokens_in, tokens_out) = (interaction.usage.tokens_in(), interaction.usage.tokens_out());
    let mut job = EndedJob {
        user_metadata: interaction.user_metadata.clone().or(ended.user_metadata),
        model: interaction.model.clone(),
        summary: Some(Sums::Interaction { tokens_in, tokens_out }),
        error: interaction.errors.clone().or(ended.error),
        ..ended
    };
    job.skipped.extend(interaction.cut.clone().map(|why| Skipped { source: name.to_string(), why }));
    job
}

async fn beginning(interaction: &Interaction) -> Result<Text, ProcessingError> {
    let (document, text) = (interaction.document.clone(), interaction.text.clone());
    run_blocking(move || {
        let mut bytes = Vec::new();
        let read = read_text(&document, &text, &mut |piece| {
            bytes.extend_from_slice(&piece);
            // More than enough: the rest need not be read.
            if bytes.len() > MAX_TEXT_BYTES { Err(ProcessingError::DeadlineExceeded) } else { Ok(()) }
        });
        let cut = bytes.len() > MAX_TEXT_BYTES;
        if !cut {
            read?;
        }
        bytes.truncate(MAX_TEXT_BYTES);
        if cut {
            // At a whole character.
            let whole = bytes.utf8_chunks().last().map_or(0, |last| last.invalid().len());
            bytes.truncate(bytes.len() - whole);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
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

pub(super) fn answer_key(name: &Name) -> String {
    format!("interactions/{}/interaction.json", name.id())
}
