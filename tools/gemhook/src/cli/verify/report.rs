//! What was checked, step by step, and what came of it.

use anyhow::Result;
use serde::Serialize;

use crate::cli::render::{plain, print_json, print_line};
use gemhook::webhook::Rejection;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Failed,
    /// Nothing to find fault with, or nothing to check it by.
    Unchecked,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub state: State,
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub verified: bool,
    /// The reason that the receiver logs, and what it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    pub steps: Vec<Step>,
}

impl Report {
    pub fn ok(&mut self, step: &'static str, found: impl Into<String>) {
        self.steps.push(Step { step, state: State::Ok, found: found.into(), hint: None });
    }

    pub fn unchecked(&mut self, step: &'static str, found: impl Into<String>) {
        self.steps.push(Step { step, state: State::Unchecked, found: found.into(), hint: None });
    }

    pub fn failed(&mut self, step: &'static str, found: impl Into<String>, hint: impl Into<String>) {
        self.steps.push(Step { step, state: State::Failed, found: found.into(), hint: Some(hint.into()) });
    }

    pub fn refused(&mut self, rejection: Rejection) {
        self.verified = false;
        self.reason = Some(rejection.code());
        self.status = Some(rejection.status());
    }

    pub fn print(&self, json: bool) -> Result<()> {
        if json {
            return print_json(self);
        }
        for step in &self.steps {
            let mark = match step.state {
                State::Ok => "ok",
                State::Failed => "FAILED",
                State::Unchecked => "-",
            };
            print_line(&format!("{mark:<7} {:<10} {}", step.step, plain(&step.found)))?;
            if let Some(hint) = &step.hint {
                print_line(&format!("{:18} {}", "", plain(hint)))?;
            }
        }
        print_line("")?;
        match (self.verified, self.reason, self.status) {
            (true, ..) => print_line(&format!(
                "Verified: {} by {}",
                self.scheme.unwrap_or("-"),
                plain(self.key_id.as_deref().unwrap_or("-"))
            )),
            (false, Some(reason), Some(status)) => {
                print_line(&format!("Not verified: the receiver answers {status} and logs {reason}"))
            }
            _ => print_line("Not verified: without its signature it cannot be checked again"),
        }
    }
}
