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

/// One point: where the receiver is dropped, or where the archiver is. Returns whether there was such a point.
async fn one_point(job: &Job, receiver: bool, at: usize) -> bool {
    let name = format!("{job:?} {receiver} {at}");
    let world: Arc<World> = World::new(name.clone());
    world.network.gemini.has(job);
    let jobs = BTreeMap::from([(job.name(), job.clone())]);
    let event = job.event();
    let post = async || world.post(ID, &event, world.now()).await;
    let ended = if receiver {
        dropped_at(at, async {
            let _ = post().await;
        })
        .await
    } else {
        assert_eq!(post().await, 200);
        dropped_at(at, async { drop(world.invoke(records([ID])).await) }).await
    };
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

/// An output in three parts: what a dropped archiver leaves of it is no object.
#[tokio::test]
async fn fault_41_dropped_at_any_await_point_an_output_in_parts_is_whole_or_not_there() {
    let job = Job { is_long: true, ..Job::new(Kind::Video, Ending::Succeeded, 1) };
    let mut at = 0;
    while one_point(&job, false, at).await {
        at += 1;
    }
    assert!(at > 20, "{at} points");
    println!("{at} await points of an output in parts");
}

#[tokio::test]
async fn dropped_at_any_await_point_nothing_is_lost_or_archived_twice() {
    let (mut points, mut jobs) = (0, 0);
    for (kind, ending) in KINDS.iter().flat_map(|kind| ENDINGS.map(|ending| (*kind, ending))) {
        let job = Job::new(kind, ending, 1);
        jobs += 1;
        for receiver in [true, false] {
            // The receiver does the same for every ending.
            if receiver && ending != Ending::Succeeded {
                continue;
            }
            let mut at = 0;
            while one_point(&job, receiver, at).await {
                at += 1;
            }
            assert!(at > 1, "{job:?}: no point at which it waits");
            points += at;
        }
    }
    println!("{points} await points of {jobs} jobs: 0 lost, 0 archived twice");
}
