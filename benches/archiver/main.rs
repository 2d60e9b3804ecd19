//! The archiver measured: `cargo bench --profile dev --bench archiver -- memory`, and
//! `cargo bench --bench archiver -- throughput`, `small` for the processor time of a small batch, `growth` for both
//! functions on tables of up to a million rows, or `deliveries` for 200,000 of them to one receiver. Linux only.
//!
//! This process serves the outputs, generated as they are read, and an S3 that counts and forgets. The archiver runs in
//! a child. Loads may be given behind `memory`: a load is `JOBSxKIND:COUNTxBYTES`, for example `4xinline:5x8000000` for
//! four batches at once of five inline results of 8 MB each.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement that fails panics"
)]

mod child;
mod deliveries;
mod growth;
mod memory;
mod servers;
mod throughput;

use std::{env, sync::Arc};

use gemhook_cli::dev::stores;
use tokio::{net::TcpListener, sync::watch};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["archive", load, addresses @ ..] => memory::archive(load, &owned(addresses)).await,
        ["transfer", way, addresses @ ..] => throughput::transfer(way, &owned(addresses)).await,
        ["small-job", addresses @ ..] => throughput::small(&owned(addresses)).await,
        ["grown", addresses @ ..] => growth::grown(&owned(addresses)).await,
        ["sweep", rows, addresses @ ..] => growth::sweep(rows.parse().unwrap(), &owned(addresses)).await,
        ["deliver", dynamodb] => deliveries::deliver(dynamodb).await,
        ["deliveries"] => deliveries::measure().await,
        ["growth"] => growth::measure().await,
        ["memory" | "throughput" | "small", ..] => measure(&arguments).await,
        _ => panic!("what to measure: deliveries, growth, memory, throughput or small"),
    }
}

async fn measure(arguments: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let port = || TcpListener::bind("127.0.0.1:0");
    let (_shutdown, stop) = watch::channel(false);
    let stores =
        stores::open(folder.path(), port().await.unwrap(), port().await.unwrap(), stop).await.unwrap();
    let taken = Arc::default();
    let (gemini, s3) = servers::start(&taken).await;
    let addresses = [stores.dynamodb_url.clone(), gemini, s3];
    match arguments[0].as_str() {
        "memory" => memory::measure(&arguments[1..], &addresses, &taken).await,
        "small" => throughput::measure_small(&addresses).await,
        _ => throughput::measure(&addresses, &taken).await,
    }
}

fn owned(addresses: &[&str]) -> child::Addresses {
    let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
    addresses.try_into().unwrap()
}
