//! `gemhook dev` on a folder and on ports that stay the same over its restarts.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gemhook_cli::dev::{ADDRESSES, Addresses};

use crate::command_line::{GEMHOOK, STATE_HOME};

static KILLS: AtomicU32 = AtomicU32::new(0);

pub struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    pub async fn start(folder: &Path) -> Self {
        static PORT: OnceLock<u16> = OnceLock::new();
        let port = PORT.get_or_init(six_ports).to_string();
        let data = folder.join("data");
        let child = Command::new(GEMHOOK)
            .args(["dev", "--json", "--finish-after", "0.05", "--binding-key", "--port", &port, "--data"])
            .arg(&data)
            .env(STATE_HOME, folder)
            .stdout(log(folder, "stdout"))
            .stderr(log(folder, "stderr"))
            .spawn()
            .unwrap();
        Self { child, folder: folder.to_owned() }
    }

    /// Where everything is, once it has started.
    pub async fn addresses(&mut self) -> Addresses {
        loop {
            if let Ok(text) = std::fs::read_to_string(self.folder.join("data").join(ADDRESSES)) {
                return serde_json::from_str(&text).unwrap();
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "it did not start: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL: the process writes nothing more.
    pub fn kill(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it ended by itself: {}", self.said());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        KILLS.fetch_add(1, Ordering::Relaxed);
    }

    /// The memory that it holds, in MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }

    pub fn kills(&self) -> u32 {
        KILLS.load(Ordering::Relaxed)
    }

    pub fn assert_no_panic(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it ended by itself: {}", self.said());
        assert!(!self.said().contains("panicked"), "{}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of all processes, one after the other.
fn log(folder: &Path, name: &str) -> Stdio {
    let file: File = OpenOptions::new().create(true).append(true).open(folder.join(name)).unwrap();
    file.into()
}

/// Six free ports in a row, below those that the system gives to whoever asks for any.
fn six_ports() -> u16 {
    let free =
        |port: &u16| (0..6).all(|more| std::net::TcpListener::bind(("127.0.0.1", port + more)).is_ok());
    (20_000..32_000).step_by(6).find(free).expect("no six free ports")
}
