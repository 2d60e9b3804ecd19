//! A long JSON answer, walked in bounded memory: what is long stays in it and is read where it stands.
//!
//! All of this blocks, so it runs off the event loop.

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{
    alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    read::DecoderReader,
};
use bytes::Bytes;
use serde_json::Value;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

use super::Spilled;
use crate::trouble::Trouble;

/// Contents are handed over in pieces of at most this size.
const PIECE: usize = 64 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) type Json<'a> = JsonStreamReader<&'a mut dyn Read>;
pub(super) type Walked<T = ()> = Result<T, Trouble>;

/// An answer that is walked more than once. Its clones are the same answer.
#[derive(Clone, Debug)]
pub struct Document(Arc<Mutex<Spilled>>);

/// Where a value stands in its document, from its first byte to the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    from: u64,
    to: u64,
}

impl Document {
    pub fn new(answer: Spilled) -> Self {
        Self(Arc::new(Mutex::new(answer)))
    }

    pub(super) fn walk<T>(&self, walk: impl FnOnce(&mut Json) -> Walked<T>) -> Result<T, Trouble> {
        self.at(0, |read| walk(&mut json(read)))
    }

    /// The document as it came.
    pub fn copy(&self, each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
        self.at(0, |read| hand_over(read, each))
    }

    /// A text, without its quotation marks and escapes.
    pub fn text(&self, spot: Spot, each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
        self.at(spot.from, |read| {
            let mut json = json(read);
            hand_over(&mut json.next_string_reader()?, each)
        })
    }

    /// The bytes that a text in base64 stands for.
    pub fn decoded(&self, spot: Spot, each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
        self.at(spot.from, |read| {
            let mut json = json(read);
            let mut read = DecoderReader::new(json.next_string_reader()?, &BASE64);
            hand_over(&mut read, each)
        })
    }

    /// How many bytes a text in base64 stands for. None where it is no base64.
    pub fn decoded_length(&self, spot: Spot) -> Result<Option<u64>, Trouble> {
        self.at(spot.from, |read| {
            let mut json = json(read);
            let mut read = DecoderReader::new(json.next_string_reader()?, &BASE64);
            match std::io::copy(&mut read, &mut std::io::sink()) {
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(None),
                length => length.map(Some).map_err(unreadable),
            }
        })
    }

    /// A value as it is, or the beginning of its JSON as a text where it is longer than wanted.
    pub fn value(&self, spot: Spot, longest: u64) -> Result<Value, Trouble> {
        let length = spot.to.saturating_sub(spot.from);
        let mut bytes = Vec::new();
        self.at(spot.from, |read| {
            read.take(length.min(longest)).read_to_end(&mut bytes).map(|_| ()).map_err(unreadable)
        })?;
        let whole = if length <= longest { serde_json::from_slice(&bytes).ok() } else { None };
        Ok(whole.unwrap_or_else(|| Value::String(String::from_utf8_lossy(&bytes).into_owned())))
    }

    fn at<T>(&self, from: u64, then: impl FnOnce(&mut dyn Read) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        then(&mut answer.read_from(from)?)
    }
}

fn json<'a>(read: &'a mut dyn Read) -> Json<'a> {
    let settings = ReaderSettings { restrict_number_values: false, track_path: false, ..Default::default() };
    JsonStreamReader::new_custom(read, settings)
}

/// An answer may have been cut off on its way, so what is no JSON may be some next time.
impl From<ReaderError> for Trouble {
    fn from(error: ReaderError) -> Self {
        Self::passing(format!("unreadable answer: {error}"))
    }
}

fn hand_over(read: &mut dyn Read, mut each: impl FnMut(Bytes) -> Result<(), Trouble>) -> Result<(), Trouble> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        read.take(PIECE as u64).read_to_end(&mut piece).map_err(unreadable)?;
        if piece.is_empty() {
            return Ok(());
        }
        each(Bytes::from(piece))?;
    }
}

fn unreadable(error: std::io::Error) -> Trouble {
    Trouble::passing(format!("unreadable answer: {error}"))
}

/// The members of an object one by one; of anything else there are none. Each must be consumed.
pub(super) fn members(json: &mut Json, mut each: impl FnMut(&str, &mut Json) -> Walked) -> Walked {
    if json.peek()? != ValueType::Object {
        return Ok(json.skip_value()?);
    }
    json.begin_object()?;
    while json.has_next()? {
        let name = json.next_name_owned()?;
        each(&name, json)?;
    }
    Ok(json.end_object()?)
}

/// The items of a list one by one; of anything else there are none. Each must be consumed.
pub(super) fn items(json: &mut Json, mut each: impl FnMut(&mut Json) -> Walked) -> Walked {
    if json.peek()? != ValueType::Array {
        return Ok(json.skip_value()?);
    }
    json.begin_array()?;
    while json.has_next()? {
        each(json)?;
    }
    Ok(json.end_array()?)
}

/// A text that is short by nature. None where it is longer, or no text.
pub(super) fn short(json: &mut Json, longest: u64) -> Walked<Option<String>> {
    if json.peek()? != ValueType::String {
        json.skip_value()?;
        return Ok(None);
    }
    let mut read = json.next_string_reader()?;
    let mut text = Vec::new();
    (&mut read).take(longest + 1).read_to_end(&mut text).map_err(unreadable)?;
    let rest = std::io::copy(&mut read, &mut std::io::sink()).map_err(unreadable)?;
    let fits = rest == 0 && text.len() as u64 <= longest;
    Ok(String::from_utf8(text).ok().filter(|_| fits))
}

pub(super) fn truth(json: &mut Json) -> Walked<bool> {
    if json.peek()? == ValueType::Boolean {
        return Ok(json.next_bool()?);
    }
    json.skip_value()?;
    Ok(false)
}

/// Where the next value stands. It is consumed.
pub(super) fn spot(json: &mut Json) -> Walked<Spot> {
    json.peek()?;
    let position = |json: &Json| json.current_position(false).data_pos.unwrap_or_default();
    let from = position(json);
    json.skip_value()?;
    Ok(Spot { from, to: position(json) })
}

/// Where the next value stands if it is a text. It is consumed in any case.
pub(super) fn text_spot(json: &mut Json) -> Walked<Option<Spot>> {
    let is_text = json.peek()? == ValueType::String;
    let spot = spot(json)?;
    Ok(is_text.then_some(spot))
}
