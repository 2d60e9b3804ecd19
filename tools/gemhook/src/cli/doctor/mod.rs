//! `gemhook doctor`: is everything there, does it work together, and what fixes what does not.

mod account;
mod finding;
mod gemini;
mod stores;
mod webhook;

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use self::finding::{Finding, Verdict};
use super::{
    render::{plain, print_json, print_line},
    target::{Target, TargetArgs},
};

#[derive(clap::Args)]
pub struct Args {
    /// Writes one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target.open().await?;
    if !args.json {
        print_line(&format!("{}\n", target.name))?;
    }
    let mut report = Report { json: args.json, ..Report::default() };
    report.add("credentials", account::credentials(&target).await)?;
    report.add("stack", account::stack(&target).await)?;
    report.add("url", webhook::url(&target).await)?;
    report.add("permissions", account::permissions(&target).await)?;
    report.add("secret", webhook::secret(&target).await)?;
    report.add("deliveries table", stores::deliveries(&target).await)?;
    report.add("jobs table", stores::jobs(&target).await)?;
    report.add("stream mapping", account::mapping(&target).await)?;
    report.add("bucket", stores::bucket(&target).await)?;
    report.add("concurrency", account::concurrency(&target).await)?;
    report.add("probe", webhook::probe(&target).await)?;
    report.add("gemini key", gemini::key(&target).await)?;
    report.add("webhook", gemini::registered(&target).await)?;
    report.end(&target)
}

#[derive(Default)]
struct Report {
    json: bool,
    checks: Vec<Value>,
    failures: u32,
    warnings: u32,
}

impl Report {
    /// A check that could not go on has said why in its error.
    fn add(&mut self, check: &str, finding: Result<Finding, Finding>) -> Result<()> {
        let finding = finding.unwrap_or_else(|finding| finding);
        let word = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Skipped => "skipped",
            Verdict::Warning => {
                self.warnings += 1;
                "warning"
            }
            Verdict::Failure => {
                self.failures += 1;
                "FAILURE"
            }
        };
        if !self.json {
            print_line(&plain(&format!("  {word:<8} {check:<17} {}", finding.found)))?;
            if let Some(fix) = &finding.fix {
                print_line(&plain(&format!("  {:<8} {:<17} fix: {fix}", "", "")))?;
            }
        }
        let Finding { verdict, found, fix } = finding;
        self.checks.push(json!({"check": check, "verdict": verdict, "found": found, "fix": fix}));
        Ok(())
    }

    fn end(self, target: &Target) -> Result<ExitCode> {
        let (failures, warnings) = (self.failures, self.warnings);
        if self.json {
            let checks = self.checks;
            print_json(
                &json!({"place": target.name, "failures": failures, "warnings": warnings, "checks": checks}),
            )?;
        } else {
            print_line(&format!("\n{failures} failures, {warnings} warnings"))?;
        }
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
