//! Every await point: a delivery, and the work on it, are dropped at each point where they wait, and sent again.
//! Nothing may be lost, and nothing may be archived twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use crate::{
    jobs::{ENDINGS, Ending, Job, KINDS, Kind},
    promises::{Observer, settled},
    world::{World, records},
};

const ID: &str = "msg_1";

/// Polls a future until it has waited so often, then drops it. Returns whether it had ended by itself before.
async fn dropped_at(waits: usize, work: impl Future<Output = ()> + Send) -> bool {
    let mut work: Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(work);
    let mut waited = 0;
    poll_fn(|context| {
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        waited += 1;
        if waited > waits { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    Receiver,
    Archiver,
    /// An archiver that extends its lease while its attempt waits for its first call.
    Extending,
}

/// One point where something is dropped. Returns whether there was such a point.
async fn one_point(job: &Job, dropped: Dropped, at: usize) -> bool {
    let name = format!("{job:?} {dropped:?} {at}");
    let world: Arc<World> = World::new(name.clone());
    if dropped == Dropped::Extending {
        world.clock.hurry();
    }
    world.network.gemini.has(job);
    let jobs = BTreeMap::from([(job.name(), job.clone())]);
    let event = job.event();
    let post = async || world.post(ID, &event, world.now()).await;
    let began = world.now();
    let ended = if dropped == Dropped::Receiver {
        dropped_at(at, async {
            let _ = post().await;
        })
        .await
    } else {
        assert_eq!(post().await, 200);
        dropped_at(at, async { drop(world.invoke(records([ID])).await) }).await
    };
    if ended && dropped == Dropped::Extending {
        assert!(world.now() > began, "{name}: nobody waited to extend a lease");
    }
    let mut observer = Observer::default();
    observer.look(&world.network.stores, &jobs);
    // Gemini repeats what was not answered, and the stream what was not worked.
    assert_eq!(post().await, 200);
    world.invoke(records([ID])).await.unwrap();
    observer.look(&world.network.stores, &jobs);
    world.sweep_to_the_end().await;
    observer.look(&world.network.stores, &jobs);
    let accepted = BTreeSet::from([ID.to_owned()]);
    let broken = [observer.broken, settled(&world, &jobs, &accepted)].concat();
    assert!(broken.is_empty(), "{name}:\n{}", broken.join("\n"));
    !ended
}

/// How many points there are, each of them tried.
async fn points(job: &Job, dropped: Dropped) -> usize {
    let mut at = 0;
    while one_point(job, dropped, at).await {
        at += 1;
    }
    assert!(at > 1, "{job:?}, {dropped:?}: no point at which it waits");
    at
}

/// An output in three parts: what a dropped archiver leaves of it is no object.
#[tokio::test]
async fn fault_41_dropped_at_any_await_point_an_output_in_parts_is_whole_or_not_there() {
    let job = Job { is_long: true, ..Job::new(Kind::Video, Ending::Succeeded, 1) };
    let at = points(&job, Dropped::Archiver).await;
    assert!(at > 20, "{at} points");
    println!("{at} await points of an output in parts");
}

#[tokio::test]
async fn dropped_at_any_await_point_nothing_is_lost_or_archived_twice() {
    let (mut all, mut jobs) = (0, 0);
    for (kind, ending) in KINDS.iter().flat_map(|kind| ENDINGS.map(|ending| (*kind, ending))) {
        let job = Job::new(kind, ending, 1);
        jobs += 1;
        // The receiver does the same for every ending.
        if ending == Ending::Succeeded {
            all += points(&job, Dropped::Receiver).await;
        }
        all += points(&job, Dropped::Archiver).await + points(&job, Dropped::Extending).await;
    }
    println!("{all} await points of {jobs} jobs: 0 lost, 0 archived twice");
}
