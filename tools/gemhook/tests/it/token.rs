//! `gemhook token`: what it mints binds, by whichever way it gets the key.

use std::process::{Command, Output};

use gemhook::webhook::binding::BindingKey;
use gemhook_cli::dev::{BindingKeyOption, Options};
use serde_json::{Map, Value};

use crate::{
    command_line::{GEMHOOK, STATE_HOME},
    support::{TestMachine, folder},
};

const KEY: &str = "correct horse battery";

fn token(arguments: &[&str], key: Option<&str>) -> Output {
    let target = folder();
    let mut command = Command::new(GEMHOOK);
    command.arg("token").args(arguments).current_dir(target.path()).env(STATE_HOME, target.path());
    for name in ["BINDING_KEY", "BINDING_KEY_SECRET_ID", "DELIVERIES_TABLE"] {
        command.env_remove(name);
    }
    command.envs(key.map(|key| ("BINDING_KEY", key))).output().unwrap()
}

fn metadata(output: &Output) -> Map<String, Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn a_token_is_added_to_the_metadata_and_no_two_are_the_same() {
    let mint = || metadata(&token(&["--metadata", r#"{"group": "nightly", "n": 1}"#], Some(KEY)));
    let (one, other) = (mint(), mint());
    assert_eq!((&one["group"], &one["n"]), (&"nightly".into(), &1.into()));
    assert_ne!(one["gemhook_token"], other["gemhook_token"]);
    let key = BindingKey::parse(KEY).unwrap();
    assert!(key.binds(&one) && key.binds(&other));
    assert!(!BindingKey::parse("another horse battery").unwrap().binds(&one));
}

#[test]
fn the_key_may_lie_in_a_file_and_the_token_stand_alone() {
    let folder = folder();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let output = token(&["--bare", "--key-file", file.to_str().unwrap()], Some("not this one, surely"));
    let text = String::from_utf8(output.stdout).unwrap();
    let told = Map::from_iter([("gemhook_token".to_owned(), Value::from(text.trim()))]);
    assert!(BindingKey::parse(KEY).unwrap().binds(&told), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_has_a_key_where_it_requires_tokens() {
    let run = async |test: &TestMachine| {
        let local = test.tell(&test.machine.addresses);
        tokio::task::spawn_blocking(move || token(&[&local], None)).await.unwrap()
    };
    let test = TestMachine::start().await;
    let output = run(&test).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("--binding-key"), "{said}");

    let binding_key = Some(BindingKeyOption::Made);
    let test = TestMachine::with_options(folder(), |options| Options { binding_key, ..options }).await;
    let key = test.machine.addresses.binding_key.clone().unwrap();
    assert!(BindingKey::parse(&key).unwrap().binds(&metadata(&run(&test).await)));
}

#[test]
fn what_is_wrong_is_said_and_no_key_is_shown() {
    for (arguments, key, code, why) in [
        (&["--metadata", "[1]"][..], Some(KEY), 2, "no JSON object"),
        (&["--metadata", r#"{"gemhook_token": "x"}"#], Some(KEY), 1, "already"),
        (&[], Some("tooshort-key"), 1, "at least 16"),
        (&[], None, 1, "BINDING_KEY"),
        (&["--key-file", "nowhere"], None, 1, "cannot read nowhere"),
    ] {
        let output = token(arguments, key);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains("tooshort-key") && output.stdout.is_empty(), "{said}");
    }
}
