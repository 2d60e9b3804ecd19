//! What a request may say about its own result: `simulate: {"size": 1000000}` anywhere in its prompt, or in the
//! display name of a batch for the batch as a whole.

use serde::{Deserialize, Serialize};

use super::job::Failure;

const MARK: &str = "simulate:";
/// Of a result as a whole.
const LARGEST: u64 = 64 << 30;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Directives {
    /// How many bytes of text, or of each image or video, there are to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Ending>,
    /// How many videos there are to be. Without any, the operation ends with neither a video nor a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    #[serde(skip_serializing_if = "Filtered::is_none")]
    pub filtered: Filtered,
    /// Whether an interaction is to stop at a function call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub requires_action: bool,
    /// Whether the text of the answer ends in half of a surrogate pair.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lone_surrogate: bool,
    /// How many requests are answered although the batch fails, is cancelled or expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<u64>,
    /// How many answers, the first ones, are counted by the batch but are not in its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

/// An end that nothing else brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    Expired,
    Cancelled,
    Incomplete,
    BudgetExceeded,
    /// Of an interaction. What it means for one in the background is not documented.
    Idle,
}

/// How many videos are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Filtered {
    All(bool),
    Some(u32),
}

impl Default for Filtered {
    fn default() -> Self {
        Self::Some(0)
    }
}

impl Filtered {
    fn is_none(&self) -> bool {
        self.of(1) == 0
    }

    pub(super) fn of(self, samples: u32) -> u32 {
        match self {
            Self::All(all) => u32::from(all).saturating_mul(samples),
            Self::Some(some) => some.min(samples),
        }
    }
}

impl Directives {
    /// Reads the directives in a text. A text without any has none.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let Some((_, directives)) = text.split_once(MARK) else { return Ok(Self::default()) };
        let directives = serde_json::Deserializer::from_str(directives).into_iter::<Self>().next();
        let directives =
            directives.transpose().map_err(|error| Failure::invalid(format!("{MARK} {error}")))?;
        let directives =
            directives.ok_or_else(|| Failure::invalid(format!("{MARK} is followed by nothing")))?;
        match directives.size {
            Some(size) if size > LARGEST => {
                Err(Failure::invalid(format!("{MARK} size may be {LARGEST} at most")))
            }
            _ => Ok(directives),
        }
    }

    /// The same, where only some ends can be brought about.
    pub(super) fn read_for(text: &str, endings: &[Ending]) -> Result<Self, Failure> {
        let directives = Self::read(text)?;
        match directives.state {
            Some(state) if !endings.contains(&state) => Err(Failure::invalid(format!(
                "{MARK} this job cannot end as {state:?}; it may as {endings:?}"
            ))),
            _ => Ok(directives),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_found_anywhere_in_a_text() {
        assert_eq!(Directives::read("a cat").unwrap(), Directives::default());
        let directives =
            Directives::read(r#"a cat, simulate: {"size": 7, "fail": "no", "state": "expired"} and a dog"#);
        let want = Directives {
            size: Some(7),
            fail: Some("no".into()),
            state: Some(Ending::Expired),
            ..Directives::default()
        };
        assert_eq!(directives.unwrap(), want);
        for (filtered, of_three) in [("true", 3), ("false", 0), ("2", 2), ("9", 3)] {
            let directives = Directives::read(&format!("simulate:{{\"filtered\":{filtered}}}")).unwrap();
            assert_eq!(directives.filtered.of(3), of_three);
        }
    }

    #[test]
    fn a_wish_that_cannot_be_granted_is_refused_with_a_reason() {
        for (text, why) in [
            ("simulate:", "followed by nothing"),
            ("simulate: size 3", "expected value"),
            (r#"simulate: {"sise": 3}"#, "unknown field `sise`"),
            (r#"simulate: {"state": "gone"}"#, "unknown variant `gone`"),
            (r#"simulate: {"size": 1e30}"#, "invalid type"),
            (r#"simulate: {"size": 99999999999999}"#, "may be 68719476736 at most"),
        ] {
            let failure = Directives::read(text).unwrap_err();
            assert!(failure.message.contains(why), "{}", failure.message);
        }
        let failure =
            Directives::read_for(r#"simulate: {"state": "expired"}"#, &[Ending::Incomplete]).unwrap_err();
        assert!(failure.message.contains("cannot end as Expired"), "{}", failure.message);
    }
}
