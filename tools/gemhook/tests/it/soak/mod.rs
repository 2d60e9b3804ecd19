//! A soak: clients post signed events to a real `gemhook dev` that is killed again and again. Whatever was answered
//! with 2xx is then compared with the tables, the bucket and the simulated API.
//!
//! One seed decides what the clients send and when the process is killed. The scheduling of threads is not seeded, so a
//! seed repeats the mix, not every interleaving. `GEMHOOK_SOAK_SEED`, `GEMHOOK_SOAK_EVENTS` and `GEMHOOK_SOAK_KILLS`
//! make a longer run; without them it takes about a minute.

mod check;
mod clients;
mod process;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{clients::Client, process::Process};
use crate::support::folder;

const CLIENTS: u64 = 4;
/// Far longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_it_loses_nothing_and_does_nothing_twice() {
    let seed = setting("GEMHOOK_SOAK_SEED", 1);
    let events = setting("GEMHOOK_SOAK_EVENTS", 600);
    let kills = setting("GEMHOOK_SOAK_KILLS", 12);
    println!("seed {seed}, {events} events, {kills} kills");
    let (began, folder) = (Instant::now(), folder());
    let mut process = Process::start(folder.path()).await;
    let addresses = Arc::new(process.addresses().await);
    let progress = Arc::new(clients::Progress::default());
    let running: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = Client::new(number, seed, &addresses, &progress);
            tokio::spawn(client.run(events / CLIENTS))
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
    let mut sent = Vec::new();
    for client in running {
        let client = tokio::time::timeout(PATIENCE * 10, client).await.expect("a client hangs");
        sent.push(client.unwrap());
    }
    let report = check::compare(&addresses, sent, folder.path()).await;
    process.assert_no_panic();
    println!("{report}\n{kills} kills, {} s: nothing lost, nothing twice", began.elapsed().as_secs());
}
