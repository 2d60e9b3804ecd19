//! `gemhook jobs delete`: for personal data. Objects go first, in all their versions: the row says where they are.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use aws_sdk_s3::error::ProvideErrorMetadata;

use super::row;
use crate::cli::{
    render::{agreed, plain, print_line},
    target::Target,
};
use gemhook::{
    aws::explain,
    job::Output,
    ledger::{Fence, schema::attr},
};

pub(super) async fn run(target: &Target, jobs: Vec<String>, yes: bool) -> Result<ExitCode> {
    let mut found = Vec::new();
    for job in &jobs {
        let row = row(target, job).await?;
        let outputs: Vec<Output> = match row.get(attr::OUTPUTS) {
            Some(outputs) => serde_dynamo::aws_sdk_dynamodb_1::from_attribute_value(outputs.clone())?,
            None => Vec::new(),
        };
        eprintln!("  {}", plain(job));
        for output in &outputs {
            eprintln!("    s3://{}/{}, {} bytes", plain(&output.bucket), plain(&output.key), output.bytes);
        }
        found.push((job, row, outputs));
    }
    let objects: usize = found.iter().map(|(_, _, outputs)| outputs.len()).sum();
    if !agreed(&format!("Delete {} jobs and {objects} objects for good", found.len()), yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let mut all = true;
    for (job, row, outputs) in found {
        for output in &outputs {
            remove(target, output).await?;
        }
        match target.ledger()?.erase(&row).await? {
            Fence::Held => print_line(&format!("deleted: {}", plain(job)))?,
            Fence::Lost => {
                all = false;
                print_line(&format!("not deleted: {} has ended just now; delete it again", plain(job)))?;
            }
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every version of an object. A bucket that knows no versions has the object alone.
async fn remove(target: &Target, output: &Output) -> Result<()> {
    let failed = |why: String| anyhow!("{} was not deleted: {why}", output.key);
    let list = target.s3.list_object_versions().bucket(&output.bucket).prefix(&output.key).send().await;
    let versions = match list {
        Ok(list) => {
            let versions = list.versions().iter().map(|version| (version.key(), version.version_id()));
            let markers = list.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
            let ours = versions.chain(markers).filter(|(key, _)| *key == Some(output.key.as_str()));
            ours.map(|(_, version)| version.map(str::to_owned)).collect()
        }
        Err(error) if error.as_service_error().and_then(|fault| fault.code()) == Some("NotImplemented") => {
            vec![None]
        }
        Err(error) => return Err(failed(explain(&error))),
    };
    for version in versions {
        let delete = target.s3.delete_object().bucket(&output.bucket).key(&output.key);
        delete.set_version_id(version).send().await.map_err(|error| failed(explain(&error)))?;
    }
    Ok(())
}
