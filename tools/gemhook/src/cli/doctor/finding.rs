//! What a check found, and what fixes it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failure,
    /// Nothing to be asked here.
    Skipped,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub verdict: Verdict,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, found: impl Into<String>, fix: Option<String>) -> Self {
        Self { verdict, found: found.into(), fix }
    }

    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, found, None)
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, why, None)
    }

    pub(super) fn warning(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, found, Some(fix.into()))
    }

    pub(super) fn failure(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Verdict::Failure, found, Some(fix.into()))
    }

    /// For a check that cannot go on, as in a parameter of its function.
    pub(super) fn fail<T>(found: impl Into<String>, fix: impl Into<String>) -> Result<T, Self> {
        Err(Self::failure(found, fix))
    }
}

/// A setting or an output that is missing.
impl From<anyhow::Error> for Finding {
    fn from(error: anyhow::Error) -> Self {
        Self::failure(format!("{error:#}"), "set it, or deploy the template of this version again")
    }
}
