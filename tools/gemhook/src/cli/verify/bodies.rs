//! What else a body may have been before something parsed it, decoded it or wrote it anew. Each guess is judged by the
//! verifier like any other body.

use std::collections::HashSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// How JSON is laid out by those who write it.
#[derive(Clone, Copy)]
enum Layout {
    Compact,
    /// As Python's `json.dumps` does by default.
    Spaced,
    Indented(&'static str),
}

const LAYOUTS: [(Layout, &str); 5] = [
    (Layout::Compact, "as compact JSON"),
    (Layout::Spaced, "as JSON with a blank after each comma and colon, Python's default"),
    (Layout::Indented("  "), "as JSON indented by 2"),
    (Layout::Indented("    "), "as JSON indented by 4"),
    (Layout::Indented("\t"), "as JSON indented by tabs"),
];

/// How texts in JSON are written.
#[derive(Clone, Copy)]
enum Strings {
    AsTheyAre,
    /// With no escape that need not be, as JavaScript does.
    Plain,
    /// All that is not ASCII escaped, as Python does.
    Ascii,
}

const STRINGS: [(Strings, &str); 3] = [
    (Strings::AsTheyAre, ""),
    (Strings::Plain, ", texts unescaped"),
    (Strings::Ascii, ", texts escaped to ASCII"),
];

/// Other spellings of a body, each with how it differs from the one given.
pub(super) fn others(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = endings(body);
    found.extend(decodings(body));
    found.extend(layouts(body));
    let mut seen = HashSet::from([body.to_vec()]);
    found.retain(|(_, body)| seen.insert(body.clone()));
    found
}

fn endings(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let trimmed = body.trim_ascii_end();
    let mut found = vec![
        ("without the blanks or newlines at its end".to_owned(), trimmed.to_vec()),
        ("with a newline at its end".to_owned(), [trimmed, b"\n"].concat()),
        ("with CR LF at its end".to_owned(), [trimmed, b"\r\n"].concat()),
        ("with a byte order mark before it".to_owned(), [BOM, body].concat()),
    ];
    if let Some(rest) = body.strip_prefix(BOM) {
        found.push(("without the byte order mark before it".to_owned(), rest.to_vec()));
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let lf = text.replace("\r\n", "\n");
        found.push(("with line ends of LF instead of CR LF".to_owned(), lf.clone().into_bytes()));
        found.push((
            "with line ends of CR LF instead of LF".to_owned(),
            lf.replace('\n', "\r\n").into_bytes(),
        ));
    }
    found
}

fn decodings(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found =
        vec![("in base64, which something has decoded".to_owned(), BASE64_STANDARD.encode(body).into())];
    if let Ok(decoded) = BASE64_STANDARD.decode(body.trim_ascii()) {
        found.push(("decoded from base64: look at isBase64Encoded".to_owned(), decoded));
    }
    if let Ok(inner) = serde_json::from_slice::<String>(body) {
        found.push(("out of the JSON text that it was put into as a whole".to_owned(), inner.into_bytes()));
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let narrow: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
        let how = "in the bytes that were read as latin-1 and written as UTF-8";
        found.extend(narrow.map(|bytes| (how.to_owned(), bytes)));
    }
    let wide: String = body.iter().map(|byte| char::from(*byte)).collect();
    found.push(("in UTF-8, where this is latin-1".to_owned(), wide.into_bytes()));
    found
}

fn layouts(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = std::str::from_utf8(body.strip_prefix(BOM).unwrap_or(body)).unwrap_or_default();
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let sorted = value.to_string();
    let mut found = Vec::new();
    for (order, text) in [("", text), (", its keys sorted", sorted.as_str())] {
        for (strings, spelled) in STRINGS {
            for (layout, laid) in LAYOUTS {
                let written = reformat(text, layout, strings);
                found.push((
                    format!("{laid}{order}{spelled}, and a newline"),
                    format!("{written}\n").into_bytes(),
                ));
                found.push((format!("{laid}{order}{spelled}"), written.into_bytes()));
            }
        }
    }
    found
}

/// Lays valid JSON out anew. Order and numbers stay as they are written.
fn reformat(text: &str, layout: Layout, strings: Strings) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let line = |out: &mut String, depth: usize| {
        if let Layout::Indented(step) = layout {
            out.push('\n');
            out.push_str(&step.repeat(depth));
        }
    };
    let mut rest = text.trim_start();
    while let Some(char) = rest.chars().next() {
        let (token, after) = rest.split_at(token_length(rest));
        let next = after.trim_start();
        match char {
            '"' => out.push_str(&spelled(token, strings)),
            '{' | '[' => {
                out.push(char);
                if !next.starts_with(['}', ']']) {
                    depth = depth.saturating_add(1);
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                if !out.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(char);
            }
            ',' => {
                out.push_str(if matches!(layout, Layout::Spaced) { ", " } else { "," });
                line(&mut out, depth);
            }
            ':' => out.push_str(if matches!(layout, Layout::Compact) { ":" } else { ": " }),
            _ => out.push_str(token),
        }
        rest = next;
    }
    out
}

/// The bytes of the first token: a text with its quotes, a sign, or a word.
fn token_length(text: &str) -> usize {
    if !text.starts_with('"') {
        let ends = |char: char| char.is_ascii_whitespace() || "{}[],:\"".contains(char);
        let word = text.find(ends).unwrap_or(text.len());
        return word.max(1);
    }
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn spelled(token: &str, strings: Strings) -> String {
    let read = serde_json::from_str::<String>(token);
    let plain = read.and_then(|text| serde_json::to_string(&text)).unwrap_or_else(|_| token.to_owned());
    match strings {
        Strings::AsTheyAre => token.to_owned(),
        Strings::Plain => plain,
        Strings::Ascii => {
            let mut units = [0; 2];
            let escape = |char: char| match char.is_ascii() {
                true => char.to_string(),
                false => char.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            };
            plain.chars().map(escape).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_as_others_do() {
        let text = r#"{"b": [1.50, -2e3 , true],"a":{ },"é\/":"\u00e9\"}","c":[]}"#;
        let laid = |layout, strings| reformat(text, layout, strings);
        assert_eq!(
            laid(Layout::Compact, Strings::Plain),
            r#"{"b":[1.50,-2e3,true],"a":{},"é/":"é\"}","c":[]}"#
        );
        // Of `json.dumps(json.loads(...))`, but for the number's spelling.
        assert_eq!(
            laid(Layout::Spaced, Strings::Ascii),
            r#"{"b": [1.50, -2e3, true], "a": {}, "\u00e9/": "\u00e9\"}", "c": []}"#
        );
        // Of `JSON.stringify(JSON.parse(...), null, 2)`, but for the number's spelling.
        let indented = "{\n  \"b\": [\n    1.50,\n    -2e3,\n    true\n  ],\n  \"a\": {},\n  \"é/\": \"é\\\"}\",\n  \"c\": []\n}";
        assert_eq!(laid(Layout::Indented("  "), Strings::Plain), indented);
    }

    #[test]
    fn no_guess_is_the_body_itself_and_none_comes_twice() {
        for body in [&b"{\"a\": 1}\n"[..], b"", b"[]", b"\xff", b"\"{}\"", "é".as_bytes()] {
            let found = others(body);
            let different: HashSet<&Vec<u8>> = found.iter().map(|(_, body)| body).collect();
            assert_eq!(different.len(), found.len());
            assert!(!different.contains(&body.to_vec()));
        }
    }
}
