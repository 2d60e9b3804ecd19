//! The documents say what is there: their commands are ones that `gemhook` takes, their settings ones that are read.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::command_line::GEMHOOK;

fn documents() -> BTreeMap<String, String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|file| file.unwrap().path());
    let all = docs.chain([root.join("README.md"), root.join("template.yaml"), root.join("events/README.md")]);
    all.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// What stands between backticks, and each line of the blocks of commands, both without their continuations.
fn code_lines(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut code_lines = Vec::new();
    for (at, block) in text.split("```").enumerate() {
        if at % 2 == 1 {
            code_lines.extend(block.lines().map(str::to_owned));
        } else {
            let spans = block.split('`').enumerate().filter(|(at, _)| at % 2 == 1);
            code_lines.extend(spans.map(|(_, span)| span.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    code_lines
}

/// The calls of the program in a line, each up to what ends a command in the shell.
fn calls_in(line: &str) -> Vec<String> {
    let starts = line.match_indices("gemhook ").filter(|(at, _)| {
        let before = &line[..*at];
        before.is_empty()
            || before.ends_with("<(")
            || before.ends_with("$(")
            || before.ends_with("&& ")
            || before.ends_with("| ")
    });
    let ends = [" | ", " > ", " && ", ")", " #"];
    starts
        .map(|(at, _)| {
            let call = &line[at..];
            let end = ends.iter().filter_map(|end| call.find(end)).min().unwrap_or(call.len());
            call[..end].to_owned()
        })
        .collect()
}

/// Whether the program takes these arguments. With `--help` behind them it does nothing else.
fn is_taken(call: &str) -> Result<(), String> {
    let call =
        call.replace(" TYPE", " batch.succeeded").replace(" URL", " https://example.com/").replace('…', "x");
    let script = format!("gemhook() {{ \"$GEMHOOK\" \"$@\" --help; }}; secret=whsec_x; {call}");
    let output = Command::new("bash").args(["-c", &script]).env("GEMHOOK", GEMHOOK).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_command_in_the_documents_is_one_that_the_program_takes() {
    assert!(
        is_taken("gemhook deliveries lisst").is_err() && is_taken("gemhook jobs list --nothing").is_err()
    );
    let (mut calls, mut refused) = (0, Vec::new());
    for (name, text) in documents() {
        for call in code_lines(&text).iter().flat_map(|line| calls_in(line)) {
            calls += 1;
            refused.extend(is_taken(&call).err().map(|why| format!("{name}: {call}\n{why}")));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(calls > 30, "only {calls} commands were found");
}
