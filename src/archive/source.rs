//! Where an object's bytes come from: a file of the API, or the inline results of an answer made into lines.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::tally::Measure;
use crate::{
    gemini::{Batch, Download, InlineAt},
    trouble::Trouble,
};

/// Inline results are handed over in pieces of about this size.
const PIECE: usize = 64 * 1024;

pub struct Source {
    /// The length that the other side states, held against what came.
    pub length: Option<u64>,
    pub content_type: String,
    /// In the API's own words.
    pub origin: String,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, Trouble>> + Send>>,
    rest: BytesMut,
    deadline: Instant,
}

impl Source {
    pub fn file(download: Download, origin: &str, content_type: &str, deadline: Instant) -> Self {
        Self {
            length: download.length,
            content_type: content_type.to_owned(),
            origin: origin.to_owned(),
            pieces: Box::pin(download.bytes()),
            rest: BytesMut::new(),
            deadline,
        }
    }

    /// The same lines that a responses file would hold, one for each inline result.
    pub fn inline(mut batch: Batch, at: InlineAt, deadline: Instant) -> Self {
        let (sender, receiver) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            let walked = batch.walk_inline(at, |item| {
                write_line(&mut piece, item);
                if piece.len() < PIECE {
                    return Ok(());
                }
                let full = Bytes::from(std::mem::replace(&mut piece, Vec::with_capacity(PIECE)));
                sender.blocking_send(Ok(full)).map_err(|_| Trouble::OutOfTime)
            });
            // A reader that has gone away wants neither the rest nor the reason.
            let _ = sender.blocking_send(walked.map(|()| Bytes::from(piece)));
        });
        let pieces = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Self {
            length: None,
            content_type: "application/jsonl".to_owned(),
            origin: "inlinedResponses".to_owned(),
            pieces: Box::pin(pieces),
            rest: BytesMut::new(),
            deadline,
        }
    }

    /// The next bytes, as many as asked for; fewer are the last.
    pub async fn part(&mut self, size: usize, measure: &mut Measure) -> Result<Bytes, Trouble> {
        let mut part = std::mem::take(&mut self.rest);
        while part.len() < size {
            let Some(piece) = self.next().await? else { break };
            measure.take(&piece);
            part.extend_from_slice(&piece);
        }
        self.rest = part.split_off(part.len().min(size));
        Ok(part.freeze())
    }

    /// A source that reaches the deadline fails instead of hanging.
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        match timeout_at(self.deadline, self.pieces.next()).await {
            Ok(piece) => piece.transpose(),
            Err(_) => Err(Trouble::OutOfTime),
        }
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
}

/// One result as one line. Its values are kept letter by letter, except for line breaks between tokens.
fn write_line(into: &mut Vec<u8>, item: &RawValue) {
    let line = serde_json::from_str(item.get()).ok().and_then(|item: Item| {
        let key = item.key.or_else(|| item.metadata.and_then(|metadata| metadata.key));
        let line = Line { key, response: item.response, error: item.error };
        serde_json::to_string(&line).ok().filter(|_| line.response.is_some() || line.error.is_some())
    });
    let text = line.as_deref().unwrap_or(item.get());
    into.extend(text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_results_become_the_lines_of_a_file() {
        for (item, line) in [
            (
                "{\"metadata\": {\"key\": \"r1\"},\n \"response\": {\"a\":\n 1.50}}",
                "{\"key\":\"r1\",\"response\":{\"a\": 1.50}}\n",
            ),
            (r#"{"error":{"code":3}}"#, "{\"error\":{\"code\":3}}\n"),
            (r#"{"key":7,"response":null,"error":{}}"#, "{\"key\":7,\"error\":{}}\n"),
            ("{\"odd\":\r\n true}", "{\"odd\": true}\n"),
            ("null", "null\n"),
        ] {
            let mut out = Vec::new();
            write_line(&mut out, &RawValue::from_string(item.to_owned()).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }
}
