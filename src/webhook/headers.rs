//! The three headers of a delivery, taken as they came. Nothing here is trusted yet.

use bytes::Bytes;
use lambda_http::http::HeaderMap;

use super::rejection::Rejection;

/// Our own limit. Standard Webhooks sets none, and the row's key would take 2,048 bytes.
const MAX_ID_BYTES: usize = 256;

/// A delivery as it arrived: complete in form, proved in nothing.
#[derive(Clone, Debug)]
pub struct Unverified {
    id: String,
    timestamp: String,
    signature: String,
    body: Bytes,
}

impl Unverified {
    /// Rejects a header that is missing, is there twice or is not text, and an id that could choose another row.
    ///
    /// The id may have 256 visible ASCII characters. Standard Webhooks sets no length; Gemini's ids have 40.
    pub fn new(headers: &HeaderMap, body: Bytes) -> Result<Self, Rejection> {
        let id = single(headers, "webhook-id").map_err(|fault| fault.unwrap_or(Rejection::BadId))?;
        let timestamp =
            single(headers, "webhook-timestamp").map_err(|fault| fault.unwrap_or(Rejection::BadTimestamp))?;
        let signature = single(headers, "webhook-signature")
            .map_err(|fault| fault.unwrap_or(Rejection::NoSupportedSignature))?;
        if id.len() > MAX_ID_BYTES || !id.bytes().all(is_id_byte) {
            return Err(Rejection::BadId);
        }
        Ok(Self { id: id.into(), timestamp: timestamp.into(), signature: signature.into(), body })
    }

    /// Seconds since the epoch: up to 12 decimal digits, nothing else.
    pub(super) fn timestamp(&self) -> Result<i64, Rejection> {
        let digits = self.timestamp.trim();
        if digits.is_empty() || digits.len() > 12 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Rejection::BadTimestamp);
        }
        digits.parse().map_err(|_| Rejection::BadTimestamp)
    }

    pub(super) fn signature(&self) -> &str {
        &self.signature
    }

    /// What is signed, in pieces: the header texts as received and the raw body.
    pub(super) fn signed_parts(&self) -> [&[u8]; 5] {
        [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", &self.body]
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }
}

/// `~` marks the row keys that we build ourselves. A comma may be the result of an HTTP proxy that joined two headers
/// of one name (RFC 9110, section 5.3), so an id with one is rejected, too.
fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'~' && byte != b','
}

/// The one value of a header. `Err(None)` where it is there, but no text or not alone.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Option<Rejection>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Some(Rejection::MissingHeader))?;
    if values.next().is_some() {
        return Err(None);
    }
    let text = value.to_str().map_err(|_| None)?;
    if text.trim().is_empty() { Err(Some(Rejection::MissingHeader)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use lambda_http::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    fn rejection(id: &[u8]) -> Option<Rejection> {
        let map = headers(&[("webhook-id", id), ("webhook-timestamp", b"1"), ("webhook-signature", b"v1,x")]);
        Unverified::new(&map, Bytes::new()).err()
    }

    #[test]
    fn ids_that_could_choose_another_key_are_refused() {
        assert_eq!(rejection(b"msg_1"), None);
        assert_eq!(rejection(b"msg.1"), None);
        for id in [&b"msg~1"[..], b"v1a~msg", b"a,b", b"a b", "é".as_bytes(), b"\xff", &[b'a'; 257]] {
            assert_eq!(rejection(id), Some(Rejection::BadId), "{id:?}");
        }
    }

    #[test]
    fn a_header_sent_twice_is_refused() {
        let map = headers(&[
            ("webhook-id", b"a"),
            ("webhook-id", b"b"),
            ("webhook-timestamp", b"1"),
            ("webhook-signature", b"v1,x"),
        ]);
        assert_eq!(Unverified::new(&map, Bytes::new()).err(), Some(Rejection::BadId));
    }

    #[test]
    fn timestamps_are_digits_and_nothing_else() {
        for (text, seconds) in [
            ("1779999995", Ok(1_779_999_995)),
            ("01779999995", Ok(1_779_999_995)),
            (" 5 ", Ok(5)),
            ("999999999999", Ok(999_999_999_999)),
            ("9999999999999", Err(Rejection::BadTimestamp)),
            ("-0", Err(Rejection::BadTimestamp)),
            ("+1", Err(Rejection::BadTimestamp)),
            ("1e9", Err(Rejection::BadTimestamp)),
            ("1,2", Err(Rejection::BadTimestamp)),
        ] {
            let map = headers(&[
                ("webhook-id", b"a"),
                ("webhook-timestamp", text.as_bytes()),
                ("webhook-signature", b"v1,x"),
            ]);
            assert_eq!(Unverified::new(&map, Bytes::new()).unwrap().timestamp(), seconds, "{text:?}");
        }
    }
}
