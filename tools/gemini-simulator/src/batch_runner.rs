//! The running of a batch: requests are read line by line and their responses written as they come, so that
//! memory holds one line at a time. Run twice, it writes the same bytes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::{
    batch::{Call, Outcome},
    fake_model,
    job::{Failure, INVALID_ARGUMENT},
};

const MAX_LINE_BYTES: u64 = 64 << 20;

/// How the responses are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A line for each response, under the `key` of its request.
    Lines,
    /// One array, with the `metadata` of each request.
    Array,
}

pub(super) struct Work {
    pub batch_id: String,
    pub call: Call,
    pub model: String,
    pub input: PathBuf,
    pub form: Form,
    /// Only N requests are answered, whatever they are.
    pub partial: Option<u64>,
    /// N answers, the first ones, are counted but not written.
    pub missing: u64,
    /// Where the output is collected, on the same file system as its last place.
    pub folder: PathBuf,
}

/// Does the work unless `stop` is set meanwhile. Only a success has an output, or what is answered in part.
pub(super) fn run(work: &Work, stop: &AtomicBool) -> anyhow::Result<(Outcome, Option<NamedTempFile>)> {
    let mut input = BufReader::with_capacity(1 << 16, File::open(&work.input)?);
    let mut output = BufWriter::with_capacity(1 << 16, NamedTempFile::new_in(&work.folder)?);
    let (mut requests, mut failed, mut readable, mut number) = (0_u64, 0, false, 0_u64);
    let mut line = Vec::new();
    if work.form == Form::Array {
        output.write_all(b"[")?;
    }
    while work.partial != Some(requests) && read_line(&mut input, &mut line)? {
        anyhow::ensure!(!stop.load(Ordering::Relaxed), "stopped");
        number += 1;
        if u64::try_from(line.len())? > MAX_LINE_BYTES {
            return Ok((Outcome::failed(INVALID_ARGUMENT, format!("line {number} is too long")), None));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        requests += 1;
        let request = serde_json::from_slice::<Map<String, Value>>(&line);
        readable |= request.is_ok();
        let item = respond(work, number, request);
        failed += u64::from(item.contains_key("error"));
        if requests <= work.missing {
            continue;
        }
        if work.form == Form::Array && requests > work.missing + 1 {
            output.write_all(b",")?;
        }
        output.write_all(fake_model::with_lone_surrogates(serde_json::to_string(&item)?).as_bytes())?;
        if work.form == Form::Lines {
            output.write_all(b"\n")?;
        }
    }
    if work.form == Form::Array {
        output.write_all(b"]")?;
    }
    if work.partial.is_some() {
        return Ok((Outcome::Succeeded { requests, failed }, Some(output.into_inner()?)));
    }
    if requests == 0 {
        return Ok((Outcome::failed(INVALID_ARGUMENT, "there are no requests"), None));
    }
    if !readable {
        return Ok((Outcome::failed(INVALID_ARGUMENT, "the input file is not JSONL"), None));
    }
    Ok((Outcome::Succeeded { requests, failed }, Some(output.into_inner()?)))
}

fn respond(work: &Work, number: u64, request: serde_json::Result<Map<String, Value>>) -> Map<String, Value> {
    let mut item = Map::new();
    let answer = request
        .map_err(|_| Failure::invalid(format!("line {number} is not a JSON object")))
        .and_then(|mut request| {
            let label = if work.form == Form::Lines { "key" } else { "metadata" };
            if let Some(value) = request.remove(label) {
                item.insert(label.into(), value);
            }
            let response_id = format!("{}-{number}", work.batch_id);
            match work.call {
                Call::GenerateContent => {
                    fake_model::answer(request.get("request"), &work.model, &response_id)
                }
                Call::EmbedContent => fake_model::embed(request.get("request")),
            }
        });
    match answer {
        Ok(response) => item.insert("response".into(), response),
        Err(failure) => {
            item.insert("error".into(), serde_json::json!({"code": failure.code, "message": failure.message}))
        }
    };
    item
}

/// How many requests a file holds.
pub(super) fn count(path: &Path) -> io::Result<u64> {
    let mut input = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut lines, mut blank) = (0, true);
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(lines + u64::from(!blank));
        }
        for byte in bytes {
            if *byte == b'\n' {
                lines += u64::from(!blank);
                blank = true;
            } else if !byte.is_ascii_whitespace() {
                blank = false;
            }
        }
        let read = bytes.len();
        input.consume(read);
    }
}

/// Reads one more byte than is allowed at most, so that what is too long shows.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(input.take(MAX_LINE_BYTES + 1).read_until(b'\n', line)? > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run_text(text: &str, form: Form) -> (Outcome, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::write(&input, text).unwrap();
        let work = Work {
            batch_id: "b".into(),
            call: Call::GenerateContent,
            model: "models/m".into(),
            input,
            form,
            partial: None,
            missing: 0,
            folder: folder.path().to_owned(),
        };
        let (outcome, output) = run(&work, &AtomicBool::new(false)).unwrap();
        (outcome, output.map(|output| std::fs::read_to_string(output.path()).unwrap()))
    }

    #[test]
    fn every_line_gets_its_response_or_its_error() {
        let hi = r#"{"key":"a","request":{"contents":[{"parts":[{"text":"hi"}]}]}}"#;
        let (outcome, output) =
            run_text(&format!("{hi}\n\n{{\"key\":\"b\",\"request\":{{}}}}\nnonsense\n{hi}"), Form::Lines);
        assert_eq!(outcome, Outcome::Succeeded { requests: 4, failed: 2 });
        let output = output.unwrap();
        let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["key"], "a");
        assert_eq!(lines[0]["response"]["candidates"][0]["content"]["parts"][0]["text"], "echo: hi");
        assert_eq!(lines[1], json!({"key": "b", "error": {"code": 3, "message": "contents is required"}}));
        assert_eq!(lines[2], json!({"error": {"code": 3, "message": "line 4 is not a JSON object"}}));
        assert_eq!(lines[3]["response"]["responseId"], "b-5");
    }

    #[test]
    fn inline_responses_are_one_array_with_the_metadata_of_the_requests() {
        let (_, output) =
            run_text("{\"metadata\":{\"key\":\"a\"},\"request\":{}}\n{\"request\":{}}\n", Form::Array);
        let error = json!({"code": 3, "message": "contents is required"});
        assert_eq!(
            serde_json::from_str::<Value>(&output.unwrap()).unwrap(),
            json!([{"metadata": {"key": "a"}, "error": error}, {"error": error}])
        );
    }

    #[test]
    fn a_file_without_requests_fails() {
        for (text, why) in [
            ("", "there are no requests"),
            (" \n\n", "there are no requests"),
            ("a,b\n1,2\n", "the input file is not JSONL"),
            ("[1]\n", "the input file is not JSONL"),
        ] {
            assert_eq!(run_text(text, Form::Lines), (Outcome::failed(3, why), None));
        }
    }

    #[test]
    fn requests_are_counted_without_blank_lines() {
        let file = NamedTempFile::new().unwrap();
        for (text, lines) in [("", 0), ("{}", 1), ("{}\n", 1), ("\n{}\n \n{}", 2)] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(count(file.path()).unwrap(), lines, "{text:?}");
        }
    }
}
