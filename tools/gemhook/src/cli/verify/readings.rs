//! The ways in which a secret and the headers are usually misread, each with what it would take.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use lambda_http::http::{HeaderMap, HeaderValue};

use gemhook::webhook::SigningSecrets;

pub(super) struct Reading<T> {
    /// Completes "it verifies ...".
    pub how: String,
    pub hint: &'static str,
    pub value: T,
}

const DECODE: &str = "the key is what the base64 after whsec_ decodes to, not its text";

pub(super) fn of_secrets(text: &str) -> Vec<Reading<SigningSecrets>> {
    let mut found = Vec::new();
    for word in text.split_ascii_whitespace() {
        let bare = word.strip_prefix("whsec_").unwrap_or(word);
        for (how, hint, bytes) in [
            ("with the text of the secret as the key, whsec_ left out", DECODE, bare.as_bytes().to_vec()),
            (
                "with the text of the secret as the key, whsec_ included",
                DECODE,
                [b"whsec_", bare.as_bytes()].concat(),
            ),
        ] {
            let encoded = format!("whsec_{}", BASE64_STANDARD.encode(bytes));
            // Keys of other lengths than a secret may have are out of reach.
            let value = SigningSecrets::parse(&encoded);
            found.extend(value.ok().map(|value| Reading { how: how.to_owned(), hint, value }));
        }
    }
    found
}

/// As the Gemini API shows a secret that it shows no more.
pub(super) fn tails(text: &str) -> Vec<String> {
    let tail = |word: &str| word.get(word.len().saturating_sub(4)..).unwrap_or_default().to_owned();
    text.split_ascii_whitespace().map(|word| format!("whsec_...{}", tail(word))).collect()
}

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

pub(super) fn of_headers(headers: &HeaderMap) -> Vec<Reading<HeaderMap>> {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp, signature) = (get(ID), get(TIMESTAMP), get(SIGNATURE));
    let mut found = Vec::new();
    let mut add = |how: &str, hint, changes: &[(&'static str, &str)]| {
        let mut value = headers.clone();
        for (name, text) in changes {
            match HeaderValue::from_str(text) {
                Ok(text) => value.insert(*name, text),
                Err(_) => return,
            };
        }
        found.push(Reading { how: how.to_owned(), hint, value });
    };
    let swapped = [(ID, timestamp), (TIMESTAMP, id)];
    add("with id and timestamp exchanged", "each header must hold its own value", &swapped);
    let trimmed = [(ID, id.trim()), (TIMESTAMP, timestamp.trim())];
    add("without the blanks around id and timestamp", "the sender signed other texts than it sent", &trimmed);
    let joined = signature.replace(",v1", " v1").replace(", v1", " v1");
    add(
        "with blanks between the entries",
        "entries are separated by blanks, not by commas",
        &[(SIGNATURE, &joined)],
    );
    let hint = "an entry is v1, and the base64 of 32 bytes";
    for (how, text) in [
        ("with v1, before the signature", signature.trim().to_owned()),
        ("with v1, instead of v1=", signature.trim().trim_start_matches("v1=").to_owned()),
        ("with base64 instead of hexadecimal digits", from_hex(value_of(signature)).unwrap_or_default()),
        ("with the standard alphabet of base64", from_url_safe(value_of(signature)).unwrap_or_default()),
    ] {
        add(how, hint, &[(SIGNATURE, &format!("v1,{text}"))]);
    }
    found
}

/// The signature of an entry, without what marks its form.
fn value_of(entry: &str) -> &str {
    let entry = entry.trim();
    entry.strip_prefix("v1,").or_else(|| entry.strip_prefix("v1=")).unwrap_or(entry)
}

fn from_hex(text: &str) -> Option<String> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|char| char.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> =
        digits?.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
    Some(BASE64_STANDARD.encode(bytes))
}

fn from_url_safe(text: &str) -> Option<String> {
    Some(BASE64_STANDARD.encode(BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?))
}
