//! Lists in pages: which page is asked for, and the token of the next one.

use axum::http::Uri;

use super::{Problem, parameters};
use crate::clock::Millis;

/// The last thing of a page: when it was created, and its id.
pub(super) type Position = (Millis, String);

/// How one list is asked for.
pub(super) struct Paging {
    /// The query parameters for the size and the token.
    pub names: [&'static str; 2],
    pub default_size: usize,
    pub max_size: usize,
    pub read_token: fn(&str) -> Option<Position>,
}

impl Paging {
    /// The size of the page, and what it follows.
    pub fn asked(&self, uri: &Uri) -> Result<(usize, Option<Position>), Problem> {
        let (parameters, [size, token]) = (parameters(uri), self.names);
        let asked = match parameters.get(size).filter(|size| *size != "0") {
            Some(asked) => {
                asked.parse().map_err(|_| Problem::invalid(format!("{size} must be a number.")))?
            }
            None => self.default_size,
        };
        let invalid = || Problem::invalid(format!("{token} is not valid."));
        let after = match parameters.get(token).filter(|token| !token.is_empty()) {
            Some(token) => Some((self.read_token)(token).ok_or_else(invalid)?),
            None => None,
        };
        Ok((asked.min(self.max_size), after))
    }
}

/// The token of the page after this position, as batches and files have it.
pub(super) fn token(created: Millis, id: &str) -> String {
    format!("{created}-{id}")
}

pub(super) fn read_token(token: &str) -> Option<Position> {
    let (created, id) = token.split_once('-')?;
    Some((created.parse().ok()?, id.to_owned()))
}
