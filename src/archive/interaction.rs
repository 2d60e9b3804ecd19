//! Interactions: the answer as it came, its final text, and its media, each an object.
//!
//! | object | what it holds |
//! | --- | --- |
//! | `interactions/<id>/interaction.json` | the API's answer, byte for byte |
//! | `interactions/<id>/text.md` | the final text, where there is one |
//! | `videos/<id>/0.mp4` and so on | the videos |
//! | `interactions/<id>/media/0.png` and so on | images, sounds and documents |
//!
//! The answer is stored first, for every interaction that has ended, however it ended. It holds what this code does not
//! know how to read, and everything but the files that it only refers to can be restored from it.
//!
//! The outcome is `archived` for a completed interaction, else `ended`. An interaction that waits for the client
//! (`requires_action`) is recorded as open, with the calls that it waits for.

use super::{
    Archive, Report, Task,
    bucket::ObjectTarget,
    event_report::EventReport,
    source::{Source, read_text},
};
use crate::{
    error::ProcessingError,
    gemini::{Interaction, InteractionState, Media, Name, run_blocking},
    job::{EndedJob, JobKind, OpenJob, Skipped, Sums, Text},
    ledger::Outcome,
};

/// How much of the final text the job's row has, for a person who looks at it.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// Reads the interaction that the event names and stores its outputs. While the event is less than an hour old, an open
/// interaction is a transient error, because the API may show the end a moment after it has sent the event.
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
            return Err(ProcessingError::transient(format!("the event says more, but the job is {state}")));
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

/// Stores the answer, the text and the media, in this order, and says what to commit.
pub(super) async fn keep(
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
        let why = format!("{} more outputs than a row has room for", interaction.more_media);
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

/// The job's row without outputs. What the API says counts before what the event says.
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

/// The first 4 KiB of the final text, cut at a whole character.
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

/// The next key of a folder. Each folder counts from 0.
fn place(count: &mut usize, key: impl FnOnce(usize) -> String) -> String {
    let key = key(*count);
    *count += 1;
    key
}

/// `image`, `video` and so on: of the MIME type, where the answer states one, else of the content's own type.
fn media_type(media: &Media) -> &str {
    let stated = media.mime_type.as_deref().and_then(|stated| stated.split('/').next());
    stated.unwrap_or(&media.kind)
}

/// A file name extension, for a person who downloads the object. It is one of these, whatever MIME type is stated, so
/// that no text of an answer gets into a key.
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

/// The object of the answer.
pub(super) fn answer_key(name: &Name) -> String {
    format!("interactions/{}/interaction.json", name.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::MediaAt;

    #[test]
    fn an_object_has_the_extension_of_its_type_or_none_that_an_answer_could_choose() {
        for (stated, extension_of_it) in [
            (Some("image/png"), "png"),
            (Some("image/jpeg"), "jpg"),
            (Some("image/webp"), "webp"),
            (Some("audio/wav"), "wav"),
            (Some("audio/x-wav"), "wav"),
            (Some("audio/mpeg"), "mp3"),
            (Some("audio/mp3"), "mp3"),
            (Some("application/pdf"), "pdf"),
            (Some("text/plain"), "txt"),
            (Some("image/../../x"), "bin"),
            (None, "bin"),
        ] {
            let media = Media {
                kind: "image".to_owned(),
                mime_type: stated.map(str::to_owned),
                at: MediaAt::Uri(String::new()),
            };
            assert_eq!(extension(&media), extension_of_it, "{stated:?}");
        }
    }
}
