//! Says whether something may have been written to the tables, by the files that they are in. To ask the server many
//! times a second instead costs a thousand times as much as a look at two files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// What a row waits for at most before somebody looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Length and time of change of each file; nothing where it is not there.
type Seen = [Option<(u64, SystemTime)>; 2];

/// Says that something was written, not what.
#[derive(Clone)]
pub struct Writes(watch::Receiver<()>);

impl Writes {
    /// Completes soon after a write that came since it completed last, and at the latest after `longest`. It may
    /// complete without any.
    pub async fn next(&mut self, longest: Duration) {
        // An error means that nobody looks any more, and then there is nothing to wait for but the time.
        if let Ok(Err(_)) = timeout(longest, self.0.changed()).await {
            sleep(longest).await;
        }
    }
}

/// Looks at the database in `file` and at its write-ahead log until the future is dropped.
pub(super) fn watch_file(file: &Path) -> (Writes, impl Future<Output = ()> + Send + use<>) {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let files = [file.to_owned(), log.into()];
    let (sender, receiver) = watch::channel(());
    let watching = async move {
        let (mut seen, mut changed) = ([None; 2], false);
        loop {
            sleep(LOOK_EVERY).await;
            let now = look(&files);
            // A change is reported twice: a file's time is only as exact as the kernel's tick of some milliseconds, and of
            // two writes within one the second does not show.
            let again = std::mem::replace(&mut changed, now != seen);
            seen = now;
            if changed || again {
                sender.send_replace(());
            }
        }
    };
    (Writes(receiver), watching)
}

fn look(files: &[PathBuf; 2]) -> Seen {
    files.each_ref().map(|file| {
        let file = fs::metadata(file).ok()?;
        Some((file.len(), file.modified().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn every_write_is_reported_twice_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writes, watching) = watch_file(&folder.path().join("dynamodb.db"));
        tokio::spawn(watching);
        for name in ["dynamodb.db", "dynamodb.db-wal", "dynamodb.db-wal"] {
            assert!(timeout(LOOK_EVERY * 4, writes.next(LONG)).await.is_err(), "nobody wrote");
            // Of the same length each time, as a log is that begins anew.
            fs::write(folder.path().join(name), "x").unwrap();
            for time in ["first", "second"] {
                assert!(timeout(LONG, writes.next(LONG * 2)).await.is_ok(), "{name}, the {time} time");
            }
        }
    }
}
