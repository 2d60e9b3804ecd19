//! How fast an output of 1 GB gets from the API into the bucket, beside two ways that a user could pick instead.
//!
//! The ways take turns, and each figure is a median. Every way runs in a process of its own on the same servers.

use std::{
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use aws_sdk_s3::primitives::ByteStream;
use futures_util::StreamExt;

use crate::child::{self, Addresses, Load};

/// 1 GB in lines of about 1 KB.
const LINES: &str = "1xfile:1000000x974";
/// The same bytes as a video, which is not counted in lines.
const UNCOUNTED: &str = "1xvideo:1000000x974";
const BYTES: u64 = 1_000_000_000;

const ROUNDS: usize = 5;

/// Where `benches/peers/run` has installed boto3.
const PYTHON: &str = ".tools/peers/python/bin/python";

const WAYS: [(&str, &str); 4] = [
    ("gemhook, results in lines, counted", LINES),
    ("gemhook, a video", UNCOUNTED),
    ("boto3, `upload_fileobj` of the streamed answer", "boto3"),
    ("the SDK for Rust: download to a file, then PutObject", "whole-file"),
];

/// What one transfer took.
#[derive(Clone, Copy, Debug)]
struct Took {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

pub async fn measure(addresses: &Addresses, taken: &Arc<AtomicU64>) {
    let mut all = WAYS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, way), figures) in WAYS.iter().zip(&mut all) {
            taken.store(0, Ordering::Relaxed);
            figures.push(once(way, addresses).await);
            assert!(taken.load(Ordering::Relaxed) >= BYTES, "{way}: bytes in the bucket");
        }
    }
    println!("| 1 GB, {ROUNDS} rounds | MB/s | CPU, seconds | peak, MiB |\n| --- | ---: | ---: | ---: |");
    for ((name, _), figures) in WAYS.iter().zip(&all) {
        let median = |of: fn(&Took) -> f64| {
            let mut values: Vec<f64> = figures.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let speed = BYTES as f64 / 1e6 / median(|took| took.seconds);
        let (cpu, peak) = (median(|took| took.cpu_seconds), median(|took| took.peak_mib));
        println!("| {name} | {speed:.0} | {cpu:.1} | {peak:.0} |");
    }
}

/// Processor time for one small batch of three results, in a process that is warm.
pub async fn measure_small(addresses: &Addresses) {
    let printed = child::run([&["small-job".to_owned()], addresses.as_slice()].concat()).await;
    println!("a small batch: {printed} ms of a processor");
}

/// The child: one small batch after the other.
pub async fn small(addresses: &Addresses) {
    const JOBS: u64 = 300;
    let archiver = child::archiver(addresses);
    child::work(&archiver, Load::parse("1xfile:3x300")).await;
    let before = child::cpu_seconds();
    for count in 4..4 + JOBS {
        // Another number of lines makes another job.
        child::work(&archiver, Load { jobs: 1, kind: "file", count, bytes: 100 }).await;
    }
    println!("{:.1}", (child::cpu_seconds() - before) * 1e3 / JOBS as f64);
}

async fn once(way: &str, addresses: &Addresses) -> Took {
    let printed = match way {
        "boto3" => {
            assert!(
                Path::new(PYTHON).exists(),
                "no {PYTHON}: `benches/peers/run --rounds 1 --dry` installs it"
            );
            let mut python = Command::new(PYTHON);
            python.arg("benches/archiver/stream_with_boto3.py").arg(file(addresses)).arg(&addresses[2]);
            child::printed(&tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap())
        }
        way => child::run([&["transfer".to_owned(), way.to_owned()], addresses.as_slice()].concat()).await,
    };
    let figures: Vec<f64> = printed.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Took { seconds: figures[0], cpu_seconds: figures[1], peak_mib: figures[2] }
}

/// The address of the same 1 GB.
fn file([_, gemini, _]: &Addresses) -> String {
    let Load { count, bytes, .. } = Load::parse(LINES);
    format!("{gemini}/v1beta/files/file-{count}-{bytes}:download?alt=media")
}

/// The child: one transfer, and what it took.
pub async fn transfer(way: &str, addresses: &Addresses) {
    let begun = Instant::now();
    match way {
        "whole-file" => whole_file(addresses).await,
        load => child::work(&child::archiver(addresses), Load::parse(load)).await,
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seconds} {} {}", child::cpu_seconds(), child::memory("VmHWM") / 1024);
}

async fn whole_file(addresses: &Addresses) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut pieces = reqwest::get(self::file(addresses)).await.unwrap().bytes_stream();
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece.unwrap()).unwrap();
    }
    let body = ByteStream::from_path(file.path()).await.unwrap();
    let put = child::s3_client(&addresses[2]).put_object().bucket("bench").key("whole").body(body);
    put.send().await.unwrap();
}
