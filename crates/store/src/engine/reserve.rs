//! Room kept aside for a full disk.
//!
//! Mail that was accepted must still be delivered when the disk is full, and each delivery must be written down, or it
//! would be made again. So a server keeps a file of nothing. When a commit finds no room, the file goes and new mail
//! is refused; claims, outcomes and deletions go on in the room that it leaves. Mail is taken again once there is
//! room for the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As much as the log of changes grows to before it is folded into the file.
const OCTETS: u64 = if cfg!(test) { 256 << 10 } else { 16 << 20 };
/// How long after a failure one tries again.
const WAIT: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
    tried: Instant,
}

impl Reserve {
    pub(super) fn new(path: PathBuf) -> Reserve {
        let mut reserve = Reserve { path, held: false, tried: Instant::now() };
        reserve.fill();
        reserve
    }

    /// Whether there is room for new mail.
    pub(super) fn is_held(&mut self) -> bool {
        if !self.held && self.tried.elapsed() >= WAIT {
            self.fill();
        }
        self.held
    }

    /// Gives the room away; says whether there was any.
    pub(super) fn spend(&mut self) -> bool {
        let had = std::mem::replace(&mut self.held, false);
        self.tried = Instant::now();
        if had {
            tracing::error!("the disk is full: no new mail is taken until there is room");
            self.remove();
        }
        had
    }

    fn fill(&mut self) {
        let filled = fill(&self.path);
        self.held = filled.is_ok();
        self.tried = Instant::now();
        if let Err(error) = filled {
            tracing::error!(%error, "no room for {OCTETS} octets in reserve: no new mail is taken");
            self.remove();
        }
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, path = %self.path.display(), "the reserve could not be removed");
        }
    }
}

/// Really written and synced: a file that was only made longer has no room of its own.
fn fill(path: &Path) -> io::Result<()> {
    if File::open(path).and_then(|file| file.metadata()).is_ok_and(|m| m.is_file() && m.len() == OCTETS) {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let part = [0xa5; 64 << 10];
    for _ in 0..OCTETS / part.len() as u64 {
        file.write_all(&part)?;
    }
    file.sync_all()
}
