//! The two functions as processes: they do not start without what they need, and they say what that is.

use std::{
    fs,
    process::{Command, Output},
};

fn start(program: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().copied());
    command.output().unwrap()
}

#[test]
fn a_function_names_everything_that_its_environment_lacks() {
    let receiver = start(env!("CARGO_BIN_EXE_receiver"), &[("MAX_BODY_BYTES", "many")]);
    let said = String::from_utf8_lossy(&receiver.stdout).into_owned();
    assert_eq!(receiver.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for name in ["DELIVERIES_TABLE", "WEBHOOK_SECRET", "WEBHOOK_SECRET_ID", "MAX_BODY_BYTES"] {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
    let archiver = start(env!("CARGO_BIN_EXE_archiver"), &[]);
    let said = String::from_utf8_lossy(&archiver.stdout).into_owned();
    assert_eq!(archiver.status.code(), Some(1), "{said}");
    for name in ["DELIVERIES_TABLE", "JOBS_TABLE", "BUCKET", "GEMINI_API_KEY", "GEMINI_API_KEY_SECRET_ID"] {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
}

#[test]
fn a_development_secret_starts_no_function_in_the_cloud() {
    // The mark of the local machine and 16 bytes.
    let secret = "whsec_Z2VtaG9vay1kZXYtb25seTAxMjM0NTY3ODlhYmNkZWY=";
    let pairs = [("DELIVERIES_TABLE", "deliveries"), ("WEBHOOK_SECRET", secret)];
    let receiver = start(env!("CARGO_BIN_EXE_receiver"), &pairs);
    let said = String::from_utf8_lossy(&receiver.stdout).into_owned();
    assert_eq!(receiver.status.code(), Some(1), "{said}");
    assert!(said.contains("development secret") && !said.contains("Z2VtaG9v"), "{said}");
}

/// Whether a program has a symbol of this name, with or without the prefix that aws-lc gives its own.
fn has_symbol(program: &[u8], name: &str) -> bool {
    program.split(|byte| *byte == 0).any(|text| text.ends_with(name.as_bytes()))
}

/// `.cargo/config.toml` leaves that source of entropy out. `.ci/lambda` looks at what is deployed.
#[test]
fn no_function_gathers_entropy_from_the_jitter_of_the_processor() {
    for program in [env!("CARGO_BIN_EXE_receiver"), env!("CARGO_BIN_EXE_archiver")] {
        let program = fs::read(program).unwrap();
        assert!(has_symbol(&program, "RAND_bytes"), "aws-lc's symbols are there");
        assert!(!has_symbol(&program, "jent_read_entropy"));
    }
}
