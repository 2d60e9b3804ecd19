//! The embedded event bus: `PutEvents` of EventBridge and nothing else. What it takes is kept in a file, a line of
//! JSON each, and shown to whoever watches. It can be set to misbehave.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;

const TARGET: &str = "AWSEvents.PutEvents";
/// Of one entry: what EventBridge takes.
const MAX_ENTRY_BYTES: usize = 256 * 1024;
const MAX_ENTRIES: usize = 10;

/// An event that the bus has taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    pub id: String,
    pub bus: String,
    pub source: String,
    pub detail_type: String,
    pub detail: Value,
}

/// The file in the data folder that keeps what was announced.
const FILE: &str = "events.jsonl";
/// As much of the end of that file as is read for the newest announcements.
const MAX_TAIL_BYTES: u64 = 4 << 20;

/// The newest announcements that the bus of a data folder has kept, newest first.
pub fn newest_announced(folder: &Path, most: usize) -> io::Result<Vec<Announced>> {
    let mut file = match File::open(folder.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    // The first line may be cut, and the last one may be on its way: neither is JSON then.
    let lines = tail.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    Ok(lines.take(most).collect())
}

/// How the bus misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusFault {
    #[default]
    None,
    /// The next N entries are refused by an answer that is a success.
    RefuseEntries(u32),
    /// Every call fails.
    Down,
}

pub struct Bus {
    file: Mutex<File>,
    fault: Mutex<BusFault>,
    events: broadcast::Sender<Announced>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    event_bus_name: Option<String>,
}

impl Bus {
    pub fn open(folder: &Path) -> anyhow::Result<Arc<Self>> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let (events, _) = broadcast::channel(1024);
        Ok(Arc::new(Self { file: Mutex::new(file), fault: Mutex::default(), events }))
    }

    pub fn router(self: &Arc<Self>) -> Router {
        let limit = DefaultBodyLimit::max(MAX_ENTRIES * MAX_ENTRY_BYTES);
        Router::new().route("/", post(receive)).layer(limit).with_state(Arc::clone(self))
    }

    /// Every event from now on.
    pub fn watch(&self) -> broadcast::Receiver<Announced> {
        self.events.subscribe()
    }

    pub fn misbehave(&self, fault: BusFault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn refuses(&self) -> bool {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match *fault {
            BusFault::RefuseEntries(left) if left > 0 => {
                *fault = BusFault::RefuseEntries(left - 1);
                true
            }
            _ => false,
        }
    }

    fn is_down(&self) -> bool {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) == BusFault::Down
    }

    /// Takes an entry or says why not, by EventBridge's code and in words.
    fn take(&self, entry: Entry) -> Result<String, (&'static str, String)> {
        if self.refuses() {
            return Err(("InternalFailure", "the bus was set to refuse this".to_owned()));
        }
        let Entry { source: Some(source), detail_type: Some(detail_type), detail: Some(detail), .. } = entry
        else {
            return Err(("InvalidArgument", "Source, DetailType and Detail are required".to_owned()));
        };
        if source.len() + detail_type.len() + detail.len() > MAX_ENTRY_BYTES {
            return Err(("InvalidArgument", format!("an entry may have {MAX_ENTRY_BYTES} bytes")));
        }
        let detail: Value = serde_json::from_str(&detail)
            .ok()
            .filter(Value::is_object)
            .ok_or(("MalformedDetail", "Detail is no JSON object".to_owned()))?;
        let id = uuid::Uuid::new_v4().to_string();
        let bus = entry.event_bus_name.unwrap_or_else(|| "default".to_owned());
        let announced = Announced { id: id.clone(), bus, source, detail_type, detail };
        self.keep(&announced).map_err(|error| ("InternalFailure", error.to_string()))?;
        // Nobody may be watching.
        let _ = self.events.send(announced);
        Ok(id)
    }

    fn keep(&self, announced: &Announced) -> io::Result<()> {
        let mut line = serde_json::to_vec(announced)?;
        line.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

async fn receive(State(bus): State<Arc<Bus>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    if target != Some(TARGET) {
        return fault(StatusCode::BAD_REQUEST, "UnknownOperationException", "only PutEvents is served here");
    }
    if bus.is_down() {
        return fault(StatusCode::SERVICE_UNAVAILABLE, "InternalException", "the bus was set to be down");
    }
    let entries = match serde_json::from_slice::<PutEvents>(&body) {
        Ok(PutEvents { entries }) if (1..=MAX_ENTRIES).contains(&entries.len()) => entries,
        Ok(_) => return fault(StatusCode::BAD_REQUEST, "ValidationException", "1 to 10 entries"),
        Err(error) => {
            return fault(StatusCode::BAD_REQUEST, "SerializationException", &error.to_string());
        }
    };
    let mut failed = 0;
    let answers: Vec<Value> = entries
        .into_iter()
        .map(|entry| match bus.take(entry) {
            Ok(id) => json!({ "EventId": id }),
            Err((code, message)) => {
                failed += 1;
                json!({ "ErrorCode": code, "ErrorMessage": message })
            }
        })
        .collect();
    answer(StatusCode::OK, &json!({ "FailedEntryCount": failed, "Entries": answers }))
}

fn fault(status: StatusCode, kind: &str, message: &str) -> Response {
    answer(status, &json!({ "__type": kind, "message": message }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/x-amz-json-1.1")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_announcements_come_first_and_a_line_on_its_way_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest_announced(folder.path(), 9).unwrap(), []);
        let line = |id: &str| {
            let (source, detail_type) = ("gemhook".to_owned(), "ended".to_owned());
            let event =
                Announced { id: id.to_owned(), bus: "b".to_owned(), source, detail_type, detail: json!({}) };
            serde_json::to_string(&event).unwrap()
        };
        let cut = line("4").split_at(20).0.to_owned();
        let kept = format!("{}\n{}\n{}\n{cut}", line("1"), line("2"), line("3"));
        std::fs::write(folder.path().join(FILE), kept).unwrap();
        let newest = newest_announced(folder.path(), 2).unwrap();
        assert_eq!(newest.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["3", "2"]);
    }
}
