//! A scanner that takes the bytes of one JSON value (RFC 8259) in pieces and gives its reader the values that it wants.
//!
//! What a [`Reader`] does not want is skipped by counting brackets, however deep it is nested. A [`Scanner`] can be
//! stored at any byte and continued in another process. It never stops at bad input; [`Scanner::finish`] reports it.

use memchr::memchr2;
use serde::{Deserialize, Serialize};

use super::unescaped;

/// The name of a list's item in a path.
pub const ITEM: &str = "[]";

/// Paths are no longer than this; what is deeper is skipped whatever the reader wants.
const MAX_DEPTH: usize = 10;

/// Where a value is in its document, in bytes: from its first byte to the one after its last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    /// In bytes.
    pub fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Object,
    List,
    Text,
    /// A number, `true`, `false`, `null`, and whatever else stands there without quotation marks, such as `NaN`.
    Word,
}

/// A value that has just ended.
pub struct Scanned<'a> {
    pub kind: Kind,
    pub span: Span,
    /// The member's name as it is spelled. Empty for an item of a list.
    pub name: &'a str,
    raw: &'a [u8],
    /// Whether there is more of it than `raw` holds.
    cut: bool,
}

impl Scanned<'_> {
    /// A text that is no longer than the scanner's limit.
    pub fn text(&self) -> Option<String> {
        (self.kind == Kind::Text && !self.cut).then(|| unescaped(self.raw))
    }

    /// A whole number, or one in a text, as the API writes its longer ones.
    pub fn count(&self) -> Option<u64> {
        if self.cut || !matches!(self.kind, Kind::Text | Kind::Word) {
            return None;
        }
        let text = std::str::from_utf8(self.raw).ok()?.trim();
        text.parse().ok().or_else(|| {
            let number: f64 = text.parse().ok()?;
            // Below this limit a float is exact.
            (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
        })
    }

    pub fn is_true(&self) -> bool {
        self.kind == Kind::Word && self.raw == b"true"
    }

    pub fn is_null(&self) -> bool {
        self.kind == Kind::Word && self.raw == b"null"
    }
}

/// What is wanted of a value.
///
/// A path is the names of the members from the outside in, written in camelCase even where the document has
/// snake_case, because the API uses both; an item of a list is [`ITEM`].
pub trait Reader {
    /// Whether anything inside the object or the list at this path is wanted. The outermost always is.
    fn wants(&mut self, path: &[&str]) -> bool;

    /// A value has ended, after all that is inside it. Of a member that is there twice, each comes.
    fn value(&mut self, path: &[&str], value: &Scanned<'_>);
}

/// It holds one short text, and a frame for each open object or list that the reader wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanner {
    /// How many bytes of a text or a name are kept.
    limit: usize,
    at: u64,
    lexing: Lexing,
    frames: Vec<Frame>,
    /// How deep inside the innermost frame, which nobody wants. 0 where it is wanted.
    skipping: u64,
    from: u64,
    raw: Vec<u8>,
    cut: bool,
    /// Of the whole, once it has ended.
    outermost: Option<Kind>,
    /// The first byte at which the document was no JSON.
    odd: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Lexing {
    Between,
    Word,
    Text { is_name: bool, escaped: bool },
}

/// What must come next inside an object or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expects {
    Name,
    Colon,
    Value,
    Comma,
}

/// An object or a list that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Frame {
    is_list: bool,
    from: u64,
    /// Of the present member, as it is spelled.
    name: String,
    /// The same in camelCase, or [`ITEM`].
    step: String,
    expects: Expects,
}

impl Scanner {
    /// `limit` is how many bytes of a text or a name are kept.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            at: 0,
            lexing: Lexing::Between,
            frames: Vec::new(),
            skipping: 0,
            from: 0,
            raw: Vec::new(),
            cut: false,
            outermost: None,
            odd: None,
        }
    }

    /// The next bytes, in pieces of any length.
    pub fn take(&mut self, piece: &[u8], reader: &mut impl Reader) {
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let taken = match self.lexing {
                Lexing::Between if self.skipping > 0 => self.skip(rest, reader),
                Lexing::Between => self.between(byte, reader),
                Lexing::Word if ends_word(byte) => {
                    self.end_word(reader);
                    0
                }
                Lexing::Word => self.keep(rest, 1),
                Lexing::Text { is_name, escaped: true } => {
                    self.lexing = Lexing::Text { is_name, escaped: false };
                    self.keep(rest, 1)
                }
                Lexing::Text { is_name, escaped: false } => self.in_text(rest, is_name, reader),
            };
            self.at += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Call it after the last byte. The error says what is wrong with the document. The reader has received everything
    /// that could be read.
    pub fn finish(&mut self, reader: &mut impl Reader) -> Result<(), String> {
        if self.lexing == Lexing::Word {
            self.end_word(reader);
        }
        match self.odd {
            Some(at) => Err(format!("it is no JSON at byte {at}")),
            None if self.outermost.is_some() => Ok(()),
            None if self.at == 0 => Err("it is empty".to_owned()),
            None => Err(format!("it breaks off after {} bytes", self.at)),
        }
    }

    /// What the whole is, once it has ended.
    pub fn outermost(&self) -> Option<Kind> {
        self.outermost
    }

    /// A byte that belongs to no text and no word.
    fn between(&mut self, byte: u8, reader: &mut impl Reader) -> usize {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => {
                let is_name = self.expects() == Some(Expects::Name);
                if !is_name {
                    self.begin_value();
                }
                self.begin(Lexing::Text { is_name, escaped: false });
            }
            b'{' | b'[' => self.open(byte == b'[', reader),
            b'}' | b']' => self.close(byte == b']', reader),
            b',' => match self.frames.last_mut() {
                Some(frame) if frame.expects == Expects::Comma => {
                    frame.expects = if frame.is_list { Expects::Value } else { Expects::Name };
                }
                _ => self.is_odd(),
            },
            b':' => match self.frames.last_mut() {
                Some(frame) if frame.expects == Expects::Colon => frame.expects = Expects::Value,
                _ => self.is_odd(),
            },
            // The mark that some writers put before a document.
            0xEF | 0xBB | 0xBF if self.at < 3 => {}
            _ => {
                self.begin_value();
                self.begin(Lexing::Word);
                return 0;
            }
        }
        1
    }

    /// Inside what nobody wants, only brackets and texts matter.
    fn skip(&mut self, rest: &[u8], reader: &mut impl Reader) -> usize {
        let found = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'));
        let Some(found) = found else { return rest.len() };
        match rest.get(found) {
            Some(b'"') => self.lexing = Lexing::Text { is_name: false, escaped: false },
            Some(b'{' | b'[') => self.skipping += 1,
            last if self.skipping == 1 => {
                self.skipping = 0;
                self.at += found as u64;
                self.close(last == Some(&b']'), reader);
                self.at -= found as u64;
            }
            _ => self.skipping -= 1,
        }
        found + 1
    }

    /// Takes the bytes of a text up to its end or to the next backslash.
    fn in_text(&mut self, rest: &[u8], is_name: bool, reader: &mut impl Reader) -> usize {
        let found = memchr2(b'"', b'\\', rest);
        let taken = self.keep(rest, found.unwrap_or(rest.len()));
        match rest.get(taken) {
            Some(b'\\') => {
                self.keep(b"\\", 1);
                self.lexing = Lexing::Text { is_name, escaped: true };
                taken + 1
            }
            Some(_) => {
                self.lexing = Lexing::Between;
                self.at += taken as u64;
                self.end_text(is_name, reader);
                self.at -= taken as u64;
                taken + 1
            }
            None => taken,
        }
    }

    fn end_text(&mut self, is_name: bool, reader: &mut impl Reader) {
        if self.skipping > 0 {
            return;
        }
        if !is_name {
            return self.end_value(Kind::Text, self.at + 1, reader);
        }
        let name = unescaped(&self.raw);
        if let Some(frame) = self.frames.last_mut() {
            frame.step = camel_case(&name);
            frame.name = name;
            frame.expects = Expects::Colon;
        }
    }

    fn end_word(&mut self, reader: &mut impl Reader) {
        self.lexing = Lexing::Between;
        self.end_value(Kind::Word, self.at, reader);
    }

    /// Opens an object or a list. If the reader does not want it, everything inside is skipped.
    fn open(&mut self, is_list: bool, reader: &mut impl Reader) {
        self.begin_value();
        let mut names = [""; MAX_DEPTH];
        let depth = self.frames.len();
        let is_wanted = depth == 0 || depth < MAX_DEPTH && reader.wants(path(&self.frames, &mut names));
        self.frames.push(Frame {
            is_list,
            from: self.at,
            name: String::new(),
            step: if is_list { ITEM.to_owned() } else { String::new() },
            expects: if is_list { Expects::Value } else { Expects::Name },
        });
        self.skipping = u64::from(!is_wanted);
    }

    fn close(&mut self, is_list: bool, reader: &mut impl Reader) {
        let Some(frame) = self.frames.pop() else { return self.is_odd() };
        let lacks_value = !frame.is_list && matches!(frame.expects, Expects::Colon | Expects::Value);
        if frame.is_list != is_list || lacks_value {
            self.is_odd();
        }
        self.from = frame.from;
        self.raw.clear();
        self.cut = false;
        let kind = if frame.is_list { Kind::List } else { Kind::Object };
        self.end_value(kind, self.at + 1, reader);
    }

    fn end_value(&mut self, kind: Kind, to: u64, reader: &mut impl Reader) {
        match self.frames.last_mut() {
            Some(frame) if frame.expects != Expects::Value => return,
            Some(frame) => frame.expects = Expects::Comma,
            None => self.outermost = Some(kind),
        }
        let name = self.frames.last().map_or("", |frame| frame.name.as_str());
        let span = Span { from: self.from, to };
        let value = Scanned { kind, span, name, raw: &self.raw, cut: self.cut };
        reader.value(path(&self.frames, &mut [""; MAX_DEPTH]), &value);
    }

    fn begin(&mut self, lexing: Lexing) {
        self.lexing = lexing;
        self.from = self.at;
        self.raw.clear();
        self.cut = false;
    }

    /// A value may begin here, or the document is no JSON.
    fn begin_value(&mut self) {
        let may_begin = self.expects().map_or(self.outermost.is_none(), |expects| expects == Expects::Value);
        if !may_begin {
            self.is_odd();
        }
    }

    fn expects(&self) -> Option<Expects> {
        self.frames.last().map(|frame| frame.expects)
    }

    fn is_odd(&mut self) {
        self.odd.get_or_insert(self.at);
    }

    /// Keeps `length` bytes of a text or a word, as far as the limit allows. Returns `length`.
    fn keep(&mut self, rest: &[u8], length: usize) -> usize {
        if self.skipping == 0 {
            let room = self.limit.saturating_sub(self.raw.len());
            self.cut |= length > room;
            self.raw.extend_from_slice(rest.get(..length.min(room)).unwrap_or_default());
        }
        length
    }
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"')
}

fn path<'a, 'b>(frames: &'a [Frame], names: &'b mut [&'a str; MAX_DEPTH]) -> &'b [&'a str] {
    for (name, frame) in names.iter_mut().zip(frames) {
        *name = &frame.step;
    }
    names.get(..frames.len()).unwrap_or_default()
}

/// `usage_metadata` as `usageMetadata`. Other names stay as they are.
fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek().copied() {
            Some(next) if letter == '_' && !camel.is_empty() && next.is_ascii_alphanumeric() => {
                camel.push(next.to_ascii_uppercase());
                letters.next();
            }
            _ => camel.push(letter),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down all that it is handed.
    #[derive(Default)]
    struct Log {
        unwanted: Vec<&'static str>,
        seen: Vec<String>,
    }

    impl Reader for Log {
        fn wants(&mut self, path: &[&str]) -> bool {
            !self.unwanted.iter().any(|name| path.last() == Some(name))
        }

        fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
            let raw = String::from_utf8_lossy(value.raw);
            let (from, to) = (value.span.from, value.span.to);
            self.seen.push(format!("{} {:?} {from}..{to} {raw}", path.join("."), value.kind));
        }
    }

    fn scan(json: &[u8], piece: usize, unwanted: &[&'static str]) -> (Vec<String>, Result<(), String>) {
        let (mut scanner, mut log) =
            (Scanner::new(64), Log { unwanted: unwanted.to_vec(), seen: Vec::new() });
        for piece in json.chunks(piece) {
            scanner.take(piece, &mut log);
            // As it is kept between two invocations.
            scanner = serde_json::from_str(&serde_json::to_string(&scanner).unwrap()).unwrap();
        }
        let finished = scanner.finish(&mut log);
        (log.seen, finished)
    }

    #[test]
    fn values_are_handed_over_with_their_paths_however_the_bytes_are_cut() {
        let json = br#"{"a_b": [1, "x\"\\", {"skip": {"deep": ["}"]}}], "c":null , "d":{}}"#;
        let expected = [
            "aB.[] Word 9..10 1",
            r#"aB.[] Text 12..19 x\"\\"#,
            "aB.[].skip Object 30..45 ",
            "aB.[] Object 21..46 ",
            "aB List 8..47 ",
            "c Word 53..57 null",
            "d Object 64..66 ",
            " Object 0..67 ",
        ];
        for piece in [1, 2, 3, 7, 100] {
            let (seen, finished) = scan(json, piece, &["skip"]);
            assert_eq!((seen.as_slice(), finished), (&expected.map(str::to_owned)[..], Ok(())), "{piece}");
        }
    }

    #[test]
    fn what_is_no_json_is_said_and_what_stands_before_it_is_read() {
        for (json, why) in [
            (&br#"{"a": 1, "b": ["#[..], Some("it breaks off after 15 bytes")),
            (br#"{"a": 1, "b" 2}"#, Some("it is no JSON at byte 13")),
            (br#"{"a": 1 "b": 2}"#, Some("it is no JSON at byte 8")),
            (br#"{"a": 1}{"#, Some("it is no JSON at byte 8")),
            (br#"{"a": 1]"#, Some("it is no JSON at byte 7")),
            (br#"{"a": 1, "b":}"#, Some("it is no JSON at byte 13")),
            (br#"{"a": 1, "b": [[[[[[[[[[[[[["\ud800", NaN]]]]]]]]]]]]]]}"#, None),
            (br#"{"a": 1, "b": NaN, "b": -Infinity, "c": "\ud800"}"#, None),
            (b"\xef\xbb\xbf{\"a\": 1,}", None),
        ] {
            let (seen, finished) = scan(json, 5, &[]);
            assert_eq!(finished.err().as_deref(), why, "{}", String::from_utf8_lossy(json));
            assert!(seen[0].starts_with("a Word"), "{seen:?}");
        }
        assert_eq!(scan(b"", 1, &[]).1, Err("it is empty".to_owned()));
        assert_eq!(scan(b"<html>", 9, &[]).1, Ok(()), "a word, and no object: that is the reader's to see");
    }

    #[test]
    fn the_deepest_nesting_takes_no_memory() {
        let json = format!("{{\"a\":{}1{},\"b\":2}}", "[{\"x\":".repeat(100_000), "}]".repeat(100_000));
        let (mut scanner, mut log) = (Scanner::new(64), Log::default());
        for piece in json.as_bytes().chunks(1000) {
            scanner.take(piece, &mut log);
            assert!(scanner.frames.len() <= MAX_DEPTH + 1 && scanner.raw.capacity() <= 64);
        }
        assert_eq!(scanner.finish(&mut log), Ok(()));
        assert!(log.seen.iter().any(|seen| seen.starts_with("b Word")), "{:?}", log.seen);
    }

    #[test]
    fn counts_are_numbers_or_texts_of_numbers() {
        struct Counts(Vec<Option<u64>>);
        impl Reader for Counts {
            fn wants(&mut self, _: &[&str]) -> bool {
                true
            }
            fn value(&mut self, path: &[&str], value: &Scanned<'_>) {
                if !path.is_empty() {
                    self.0.push(value.count());
                }
            }
        }
        let mut counts = Counts(Vec::new());
        let json = br#"[3, "4", 5.0, "6.0", 18446744073709551615, -1, 1.5, NaN, null, "x", {}, true]"#;
        Scanner::new(64).take(json, &mut counts);
        let expected =
            [Some(3), Some(4), Some(5), Some(6), Some(u64::MAX), None, None, None, None, None, None, None];
        assert_eq!(counts.0, expected);
    }
}
