//! The `v1` entries of a Standard Webhooks signature header.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::rejection::Rejection;

/// The decoded `v1` signatures of a header, which is a list separated by blanks.
///
/// Entries of other versions are skipped; one of this version that is no base64 matches nothing.
pub(super) fn signatures(header: &str) -> Result<Vec<Vec<u8>>, Rejection> {
    let ours: Vec<&str> = header
        .split_ascii_whitespace()
        .filter_map(|entry| entry.split_once(','))
        .filter(|(version, _)| *version == "v1")
        .map(|(_, value)| value)
        .collect();
    if ours.is_empty() {
        return Err(Rejection::NoSupportedSignature);
    }
    Ok(ours.into_iter().filter_map(|value| BASE64_STANDARD.decode(value).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readable_v1_entries_count() {
        assert_eq!(signatures("v1,AQI= v1a,AQI= v1,@@ V1,AQI=").unwrap(), [vec![1, 2]]);
        assert_eq!(signatures("v1,"), Ok(vec![vec![]]));
        for header in ["v2,AQI=", "AQI=", "v1", "V1,AQI=", "v1a,AQI=", " "] {
            assert_eq!(signatures(header), Err(Rejection::NoSupportedSignature), "{header:?}");
        }
    }
}
