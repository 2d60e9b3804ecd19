//! A soak: clients post signed events to a real `gemhook dev` that is killed again and again. Whatever was answered
//! with 2xx is then compared with the tables, the bucket and the simulated API.
//!
//! One seed decides what the clients send and when the process is killed. The scheduling of threads is not seeded, so a
//! seed repeats the mix, not every interleaving. `GEMHOOK_SOAK_SEED`, `GEMHOOK_SOAK_EVENTS`, `GEMHOOK_SOAK_CLIENTS`
//! and `GEMHOOK_SOAK_KILLS` make a longer run; without them it takes about a minute. `GEMHOOK_SOAK_SECONDS` spreads the
//! events over that time. Without kills it is a load test.

mod check;
mod clients;
mod process;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    clients::{Client, Sent},
    process::Process,
};
use crate::support::folder;

/// Far longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_it_loses_nothing_and_does_nothing_twice() {
    let seed = setting("GEMHOOK_SOAK_SEED", 1);
    let events = setting("GEMHOOK_SOAK_EVENTS", 600);
    let clients = setting("GEMHOOK_SOAK_CLIENTS", 4);
    let kills = setting("GEMHOOK_SOAK_KILLS", 12);
    let over = Duration::from_secs(setting("GEMHOOK_SOAK_SECONDS", 0));
    println!("seed {seed}, {events} events, {clients} clients, {kills} kills");
    let (began, folder) = (Instant::now(), folder());
    let mut process = Process::start(folder.path()).await;
    let addresses = Arc::new(process.addresses().await);
    let progress = Arc::new(clients::Progress::default());
    let running: Vec<_> = (0..clients)
        .map(|number| {
            let client = Client::new(number, seed, &addresses, &progress);
            tokio::spawn(client.run(events / clients, over))
        })
        .collect();

    let mut dice = fastrand::Rng::with_seed(seed);
    for kill in 1..=kills {
        // Spread over the run by what the clients have done, since nobody knows how quick the machine is.
        let at = events * kill / (kills + 1);
        while progress.steps() < at && !running.iter().any(tokio::task::JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.u64(0..500))).await;
        process.kill();
        process = Process::start(folder.path()).await;
        if dice.u8(0..4) == 0 {
            // While it starts, which is when it repairs what the last kill left.
            tokio::time::sleep(Duration::from_millis(dice.u64(0..400))).await;
            process.kill();
            process = Process::start(folder.path()).await;
        }
    }
    let kills = process.kills();
    let mut memory = Vec::new();
    for tenth in (1..10).filter(|_| kills == 0) {
        while progress.steps() < events * tenth / 10
            && !running.iter().all(tokio::task::JoinHandle::is_finished)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        memory.push(process.memory());
    }
    let mut sent = Vec::new();
    for client in running {
        let client = tokio::time::timeout(PATIENCE * 10, client).await.expect("a client hangs");
        sent.push(client.unwrap());
    }
    let (sending, took) = (began.elapsed().as_secs(), percentiles(&sent));
    let report = check::compare(&addresses, sent, folder.path()).await;
    process.assert_no_panic();
    println!("{report}\n{took}; memory {memory:?} MiB, one tenth of the events after the other");
    println!(
        "{kills} kills, sent in {sending} s, ended in {} s: nothing lost, nothing twice",
        began.elapsed().as_secs()
    );
}

/// How long the answers took.
fn percentiles(sent: &[Sent]) -> String {
    let mut took: Vec<Duration> = sent.iter().flat_map(|sent| sent.took.clone()).collect();
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_millis();
    format!("{} answers, p50 {} ms, p99 {} ms", took.len(), at(50), at(99))
}
