//! The highest resident memory of the archiver for outputs of any length.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::child::{self, Addresses, Load};

const LOADS: [&str; 9] = [
    "1xfile:1x10000000",
    "1xfile:66x15000000",
    "1xfile:266x15000000",
    "1xfile:1x1000000000",
    "4xfile:20x15000000",
    "1xinline:30x8000000",
    "4xinline:5x8000000",
    "1xmedia:8x8000000",
    "4xmedia:5x8000000",
];

pub async fn measure(loads: &[String], addresses: &Addresses, taken: &Arc<AtomicU64>) {
    let usual = LOADS.map(str::to_owned);
    println!("| load | peak above idle, MiB | seconds |\n| --- | --- | --- |");
    for load in if loads.is_empty() { &usual } else { loads } {
        taken.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let arguments = [&["archive".to_owned(), load.clone()], addresses.as_slice()].concat();
        let peak = child::run(arguments).await;
        let Load { jobs, count, bytes, .. } = Load::parse(load);
        assert!(taken.load(Ordering::Relaxed) >= jobs * count * bytes, "bytes in the bucket");
        println!("| {load} | {peak} | {:.0} |", begun.elapsed().as_secs_f64());
    }
}

/// The child: a small output first, so that all there is at rest is there, then the long one.
pub async fn archive(load: &str, addresses: &Addresses) {
    let archiver = child::archiver(addresses);
    child::work(&archiver, Load::parse("1xfile:1x1000")).await;
    let idle = child::memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    child::work(&archiver, Load::parse(load)).await;
    println!("{}", child::memory("VmHWM").saturating_sub(idle) / 1024);
}
