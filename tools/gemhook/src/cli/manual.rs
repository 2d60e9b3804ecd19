//! `gemhook completions` and `gemhook man`: what a shell and `man` read, generated from the commands themselves.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

use super::render::{plain, print_line};

#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(clap::Args)]
pub struct Man {
    /// The folder that the pages are written to, one for each command
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

pub fn completions(args: &Completions, command: &mut Command) -> Result<ExitCode> {
    // Made in memory first: whoever closes the pipe early is an end like any other.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "gemhook", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &Man, command: Command) -> Result<ExitCode> {
    let folder = args.to.display().to_string();
    fs::create_dir_all(&args.to).with_context(|| format!("cannot make {folder}"))?;
    clap_mangen::generate_to(command, &args.to).with_context(|| format!("cannot write to {folder}"))?;
    print_line(&format!("the manual pages are in {}: man {0}/gemhook.1 shows the first", plain(&folder)))?;
    Ok(ExitCode::SUCCESS)
}
