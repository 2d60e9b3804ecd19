//! Made-up content that nobody keeps: every byte follows from its name and its place, so that any size can be
//! served, from anywhere in it, and always comes out the same.

use std::{io, ops::Range};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest, Sha256};

/// Divisible by three, so that every piece but the last is base64 without padding.
const CHUNK_BYTES: u64 = 60 * 1024;

/// Nothing that JSON would have to escape.
const LETTERS: &[u8; 32] = b"etaoinshrdlucmfwypvbgkjqxz      ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bytes,
    Text,
    /// The base64 of the bytes.
    Base64,
}

impl Form {
    /// How long it is, made of so many bytes.
    pub(super) fn length(self, bytes: u64) -> u64 {
        match self {
            Self::Bytes | Self::Text => bytes,
            Self::Base64 => bytes.div_ceil(3).saturating_mul(4),
        }
    }
}

/// The bytes in `range`, in pieces.
pub(super) fn stream(
    form: Form,
    name: &str,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let seed = seed(name);
    stream::iter((range.start..range.end).step_by(CHUNK_BYTES as usize).map(move |start| {
        let bytes = piece(seed, start..range.end.min(start.saturating_add(CHUNK_BYTES)));
        Ok(match form {
            Form::Bytes => bytes.into(),
            Form::Text => letters(bytes).into(),
            Form::Base64 => BASE64_STANDARD.encode(bytes).into(),
        })
    }))
}

/// A short text at once.
pub(super) fn text(name: &str, length: u64) -> String {
    String::from_utf8_lossy(&letters(piece(seed(name), 0..length))).into_owned()
}

/// Numbers between minus one and one.
pub(super) fn numbers(name: &str, count: usize) -> Vec<f64> {
    let seed = seed(name);
    (0..count as u64)
        .map(|at| f64::from((word(seed, at) >> 44) as i32 - (1 << 19)) / f64::from(1 << 19))
        .collect()
}

fn seed(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn letters(mut bytes: Vec<u8>) -> Vec<u8> {
    for byte in &mut bytes {
        *byte = LETTERS.get(usize::from(*byte % 32)).copied().unwrap_or(b' ');
    }
    bytes
}

fn piece(seed: u64, range: Range<u64>) -> Vec<u8> {
    let words = range.start / 8..range.end.div_ceil(8);
    let mut bytes = Vec::with_capacity(words.clone().count() * 8);
    for at in words {
        bytes.extend_from_slice(&word(seed, at).to_le_bytes());
    }
    bytes.truncate((range.end - range.start / 8 * 8) as usize);
    bytes.split_off(((range.start % 8) as usize).min(bytes.len()))
}

/// SplitMix64, whose numbers can be had in any order.
fn word(seed: u64, at: u64) -> u64 {
    let mut word = seed.wrapping_add(at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn all(form: Form, name: &str, range: Range<u64>) -> Vec<u8> {
        let pieces: Vec<Bytes> = stream(form, name, range).try_collect().await.unwrap();
        pieces.concat()
    }

    #[tokio::test]
    async fn any_part_is_what_the_whole_has_there() {
        let whole = all(Form::Bytes, "v1", 0..200_000).await;
        assert_eq!(whole.len(), 200_000);
        for range in [0..1, 7..9, 61_437..122_881, 199_999..200_000, 5..5] {
            let part = all(Form::Bytes, "v1", range.clone()).await;
            assert_eq!(part, whole[range.start as usize..range.end as usize], "{range:?}");
        }
        assert_ne!(all(Form::Bytes, "v2", 0..64).await, whole[..64]);
    }

    #[tokio::test]
    async fn base64_and_text_are_as_long_as_they_are_said_to_be() {
        for size in [0, 1, 2, 3, 61_440, 61_441, 150_000] {
            let encoded = all(Form::Base64, "n", 0..size).await;
            assert_eq!(encoded.len() as u64, Form::Base64.length(size));
            assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), all(Form::Bytes, "n", 0..size).await);
            let text = text("n", size);
            assert_eq!(text.as_bytes(), all(Form::Text, "n", 0..size).await);
            assert_eq!(serde_json::to_string(&text).unwrap().len(), text.len() + 2, "nothing to escape");
        }
    }

    /// From Vigna's reference implementation, seeded with 1234567.
    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let words: Vec<u64> = (0..3).map(|at| word(1_234_567, at)).collect();
        assert_eq!(words, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
