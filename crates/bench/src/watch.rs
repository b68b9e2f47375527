//! What the server's processes use: processor time, memory, what they write.
//!
//! A control group knows the time of every process that ever was in it. Without one the server's process is followed with its
//! children and with those of its children that have ended; grandchildren whose parents ended are then missed.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Pauses between looks at the memory.
const PAUSE: Duration = Duration::from_millis(500);
/// Ticks of /proc/PID/stat, USER_HZ: 100 wherever Linux runs on what we build for.
const TICKS: f64 = 100.0;

/// The processes under watch.
pub struct Watch {
    what: What,
    before: Used,
    peak: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    looks: Option<JoinHandle<()>>,
}

/// What was used between the beginning and the end.
#[derive(Clone, Copy, Default)]
pub struct Used {
    /// User and system time.
    pub processor_seconds: f64,
    /// Octets that reached the page cache or the disk on behalf of the processes (`write_bytes`).
    pub written: u64,
    /// Most proportional memory (PSS) of all at once.
    pub peak: u64,
}

#[derive(Clone)]
enum What {
    Nothing,
    Group(PathBuf),
    Process(u32),
}

impl Watch {
    /// Begins; with neither a group nor a process there is nothing to see.
    pub fn begin(group: Option<PathBuf>, process: Option<u32>) -> Self {
        let what = group.map(What::Group).or(process.map(What::Process)).unwrap_or(What::Nothing);
        let (peak, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let looks = (!matches!(what, What::Nothing)).then(|| {
            let (what, peak, ended) = (what.clone(), peak.clone(), ended.clone());
            thread::spawn(move || {
                while !ended.load(Relaxed) {
                    peak.fetch_max(what.processes().iter().map(|pid| memory(*pid)).sum(), Relaxed);
                    thread::park_timeout(PAUSE);
                }
            })
        });
        Self { before: what.used(), what, peak, ended, looks }
    }

    /// Ends; what was used meanwhile.
    pub fn end(mut self) -> Option<Used> {
        let looks = self.looks.take()?;
        let after = self.what.used();
        self.ended.store(true, Relaxed);
        looks.thread().unpark();
        looks.join().ok()?;
        Some(Used {
            processor_seconds: after.processor_seconds - self.before.processor_seconds,
            written: after.written.saturating_sub(self.before.written),
            peak: self.peak.load(Relaxed),
        })
    }
}

impl What {
    fn used(&self) -> Used {
        let processes = self.processes();
        let processor_seconds = match self {
            What::Nothing => 0.0,
            What::Group(folder) => {
                let text = fs::read_to_string(folder.join("cpu.stat")).unwrap_or_default();
                text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<f64>().ok()).unwrap_or_default()
                    / 1e6
            }
            What::Process(_) => processes.iter().map(|pid| processor_seconds(&pid.to_string(), true)).sum(),
        };
        Used { processor_seconds, written: processes.iter().map(|pid| written(*pid)).sum(), peak: 0 }
    }

    fn processes(&self) -> Vec<u32> {
        match self {
            What::Nothing => Vec::new(),
            What::Group(folder) => numbers(&folder.join("cgroup.procs")),
            What::Process(root) => {
                let (mut found, mut rest) = (HashSet::new(), vec![*root]);
                while let Some(pid) = rest.pop() {
                    if found.insert(pid) {
                        rest.extend(children(pid));
                    }
                }
                found.into_iter().collect()
            }
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.flat_map(|task| numbers(&task.path().join("children"))).collect()
}

fn numbers(path: &std::path::Path) -> Vec<u32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn memory(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:") * 1024
}

/// With the children that were waited for: Linux adds theirs to their parent's.
fn written(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/io"), "write_bytes:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok());
    value.unwrap_or_default()
}

/// The processor time of the process that asks.
pub fn own_processor_seconds() -> f64 {
    processor_seconds("self", false)
}

fn processor_seconds(pid: &str, with_children: bool) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything, come state and numbers: utime, stime, cutime, cstime are the 12th to 15th.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_ascii_whitespace().skip(11).take(if with_children { 4 } else { 2 });
    ticks.filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / TICKS
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Instant,
    };

    use super::*;

    #[test]
    fn a_process_is_watched_with_its_children() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("read go; (sh -c '{busy}'); echo done; read end")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let watch = Watch::begin(None, Some(shell.id()));
        let began = Instant::now();
        std::io::Write::write_all(&mut shell.stdin.as_ref().unwrap(), b"go\n").unwrap();
        std::io::Read::read_exact(&mut shell.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
        let used = watch.end().unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(used.processor_seconds > 0.0 && used.processor_seconds <= began.elapsed().as_secs_f64() + 0.1);
        assert!(used.peak > 0);
    }
}
