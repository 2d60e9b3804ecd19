//! Logs of a function: one line of JSON for each event on standard output, from where Lambda collects them.
//!
//! A line has the event's own fields, `timestamp` (RFC 3339), `level`, `message` and `target`. An event may carry
//! metrics in its field [`METRICS`]; the same line then is one of CloudWatch's embedded metric format, so that a
//! delivery needs no second line. The subscriber is our own because it runs for every delivery: it keeps no spans,
//! compiles no patterns and writes a line by one call.

use std::{
    fmt::{Debug, Display},
    io::Write,
    process::ExitCode,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};
use tracing_subscriber::filter::Targets;

use crate::{
    clock::{Clock, Millis, SystemClock, rfc3339},
    metrics,
};

/// The field that names metrics to count by one each, separated by blanks.
pub const METRICS: &str = "metrics";

/// Writes this process's events to standard output. A second call changes nothing.
pub fn init() {
    let _ = tracing::subscriber::set_global_default(Lines { levels: levels("warn,gemhook=info") });
}

/// Which events are written: those that `RUST_LOG` selects by targets and levels, else those that `usual` selects.
pub fn levels(usual: &str) -> Targets {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
    chosen.or_else(|| usual.parse().ok()).unwrap_or_default()
}

/// Whether an event is written. Other crates never log below `INFO`, whatever `RUST_LOG` says: the SDK's traces contain
/// whole answers, with secrets and bodies.
pub fn is_written(levels: &Targets, about: &Metadata<'_>) -> bool {
    let ours = about.target().split("::").next() == Some("gemhook");
    levels.would_enable(about.target(), about.level()) && (ours || *about.level() <= Level::INFO)
}

struct Lines {
    levels: Targets,
}

impl Subscriber for Lines {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        // A function counts at every level.
        about.is_event() && (is_written(&self.levels, about) || about.fields().field(METRICS).is_some())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let default = self.levels.default_level().unwrap_or(LevelFilter::OFF);
        let most = self.levels.iter().map(|(_, level)| level).fold(default, LevelFilter::max);
        // Events that carry metrics are written at whatever level they have.
        Some(most.max(LevelFilter::INFO))
    }

    fn event(&self, event: &Event<'_>) {
        let line = line(event, SystemClock.now());
        // A closed standard output must not fail a delivery.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn line(event: &Event<'_>, now: Millis) -> String {
    let about = event.metadata();
    let mut fields = Fields { line: String::with_capacity(512), now };
    fields.line.push('{');
    fields.text("timestamp", &rfc3339(now));
    fields.text("level", about.level().as_str());
    event.record(&mut fields);
    fields.text("target", about.target());
    fields.line.push_str("}\n");
    fields.line
}

/// The members of one line, as they are visited.
struct Fields {
    line: String,
    now: Millis,
}

impl Fields {
    fn name(&mut self, name: &str) {
        if !self.line.ends_with('{') {
            self.line.push(',');
        }
        // Names are identifiers of ours: nothing in them is escaped.
        self.line.extend(["\"", name, "\":"]);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.line.push_str(&serde_json::to_string(text).unwrap_or_default());
    }

    fn raw(&mut self, name: &str, value: impl Display) {
        self.name(name);
        self.line.push_str(&value.to_string());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            METRICS => self.line.push_str(&metrics::members(text, self.now)),
            name => self.text(name, text),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }
}

/// The end of a function's process: one message where it could not start or go on.
pub fn exit<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    /// Keeps the lines instead of writing them.
    struct Kept(Lines, Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, about: &Metadata<'_>) -> bool {
            self.0.enabled(about)
        }

        fn event(&self, event: &Event<'_>) {
            self.1.lock().unwrap().push(line(event, 1_700_000_000_123));
        }

        fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
            self.0.new_span(span)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    fn written(levels: &str, say: impl FnOnce()) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Kept(Lines { levels: levels.parse().unwrap() }, Arc::clone(&lines));
        tracing::subscriber::with_default(kept, say);
        let lines = lines.lock().unwrap();
        lines
            .iter()
            .map(|line| {
                assert_eq!(line.matches('\n').count(), 1);
                serde_json::from_str(line).unwrap()
            })
            .collect()
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_is_in_it() {
        let nothing: Option<&str> = None;
        let say = || tracing::warn!(reason = "a\"b\n\u{1b}", status = 401, ours = true, nothing, why = ?[1], "refused");
        assert_eq!(
            written("info", say),
            [json!({
                "timestamp": "2023-11-14T22:13:20.123Z",
                "level": "WARN",
                "reason": "a\"b\n\u{1b}",
                "status": 401,
                "ours": true,
                "why": "[1]",
                "message": "refused",
                "target": "gemhook::log::tests",
            })]
        );
    }

    #[test]
    fn other_crates_write_no_more_than_their_news() {
        let say = || {
            tracing::debug!("ours");
            tracing::debug!(target: "aws_smithy_runtime", "theirs");
            tracing::info!(target: "aws_smithy_runtime", "news");
        };
        let messages: Vec<Value> =
            written("trace", say).into_iter().map(|line| line["message"].clone()).collect();
        assert_eq!(messages, ["ours", "news"]);
    }

    #[test]
    fn metrics_are_counted_at_every_level() {
        let say = || {
            tracing::info!("quiet");
            tracing::info!(metrics = "Accepted", "stored");
        };
        assert_eq!(written("error", say).len(), 1);
    }
}
