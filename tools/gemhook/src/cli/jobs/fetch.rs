//! `gemhook jobs fetch`: outputs become files. A file appears under its name only when its digest is right.

use std::{
    fs,
    io::{IsTerminal, Read, Write},
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::cli::{
    render::{plain, print_line},
    target::Target,
};
use gemhook::{
    job::Output,
    ledger::{condition::Item, schema::attr},
};

pub(super) async fn run(target: &Target, row: Item, to: &Path, force: bool) -> Result<ExitCode> {
    let outputs: Vec<Output> = match row.get(attr::OUTPUTS) {
        Some(outputs) => serde_dynamo::aws_sdk_dynamodb_1::from_attribute_value(outputs.clone())?,
        None => Vec::new(),
    };
    if outputs.is_empty() {
        bail!("the job has no outputs: gemhook jobs show tells how it ended");
    }
    for output in &outputs {
        let path = to.join(safe(&output.key)?);
        let shown = path.display().to_string();
        if path.exists() && !force {
            if digest(&path)? != output.sha256 {
                bail!("{} is there and is something else; --force replaces it", plain(&shown));
            }
            print_line(&format!("there already: {}", plain(&shown)))?;
            continue;
        }
        fetch(target, output, &path).await?;
        print_line(&format!("{}  {} bytes  sha256 {}", plain(&shown), output.bytes, output.sha256))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A key is made by the archiver, but a table can be written by others: nothing may leave the folder.
fn safe(key: &str) -> Result<PathBuf> {
    let path = Path::new(key);
    if key.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("{} is no path below a folder", plain(key));
    }
    Ok(path.to_owned())
}

async fn fetch(target: &Target, output: &Output, path: &Path) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    let got = target.s3.get_object().bucket(&output.bucket).key(&output.key).send().await;
    let got =
        got.map_err(|error| anyhow::anyhow!("cannot get {}: {}", output.key, gemhook::aws::explain(&error)))?;
    let bar = progress(output);
    let (mut body, mut hash, mut length) = (got.body, Sha256::new(), 0);
    while let Some(piece) = body.next().await {
        let piece = piece.with_context(|| format!("{} was cut off", output.key))?;
        hash.update(&piece);
        length += piece.len() as u64;
        file.write_all(&piece)?;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    let sha256 = hex(hash);
    if (length, &sha256) != (output.bytes, &output.sha256) {
        bail!("{} is not what was archived: {length} bytes, sha256 {sha256}", plain(&output.key));
    }
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Drawn on standard error, and only where a person looks.
fn progress(output: &Output) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(output.bytes).with_message(plain(&output.key).into_owned());
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {eta} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn digest(path: &Path) -> Result<String> {
    let (mut file, mut hash, mut buffer) = (fs::File::open(path)?, Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(hash)),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_folder() {
        for key in ["", "/etc/passwd", "../x", "a/../../x"] {
            assert!(safe(key).is_err(), "{key}");
        }
        assert_eq!(safe("batches/b/responses.jsonl").unwrap(), Path::new("batches/b/responses.jsonl"));
    }
}
