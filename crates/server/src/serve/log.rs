//! Where log lines go: to standard error, for people or for machines.
//!
//! A busy server writes a line for each delivery. What is no warning is gathered for a moment and written together.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Config, LogFormat};

/// How long lines gather.
const GATHERED: Duration = Duration::from_millis(20);
/// Most octets that gather. Where standard error takes no more, whoever writes the next line waits.
const OCTETS: usize = 64 * 1024;

static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// Writes what has gathered when it is dropped: at the end of a program.
#[must_use = "lines that have gathered are written when it is dropped"]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        flush();
    }
}

/// Makes the log of this process. Only a program's main does this; servers in tests share what their process has.
pub fn init(config: &Config) -> Guard {
    let lines = LINES.get_or_init(|| Lines::new(Box::new(io::stderr()))).clone();
    let filter = EnvFilter::new(&config.log_level);
    let lines = fmt().with_env_filter(filter).with_writer(Gathered(lines)).with_ansi(io::stderr().is_terminal());
    // It fails only when the process has a log already, which is then the one to use.
    let _ = match config.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Guard(())
}

/// Writes what has gathered: before the process exits by itself.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// Lines that wait to be written.
struct Lines {
    waiting: Mutex<Vec<u8>>,
    any: Condvar,
    out: Mutex<Out>,
}

struct Out {
    writer: Box<dyn Write + Send>,
    /// What is being written; between times an empty buffer to change for the other one.
    buffer: Vec<u8>,
}

impl Lines {
    fn new(writer: Box<dyn Write + Send>) -> Arc<Lines> {
        let out = Mutex::new(Out { writer, buffer: Vec::new() });
        let lines = Arc::new(Lines { waiting: Mutex::default(), any: Condvar::new(), out });
        let own = lines.clone();
        // Without it lines are written when there are many, and at the end.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                let waiting = own.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let some = own.any.wait_while(waiting, |waiting| waiting.is_empty());
                drop(some.unwrap_or_else(PoisonError::into_inner));
                std::thread::sleep(GATHERED);
                own.flush();
            }
        });
        lines
    }

    fn push(&self, line: &[u8], at_once: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(line);
        let is_long = waiting.len() >= OCTETS;
        drop(waiting);
        if at_once || is_long {
            self.flush();
        } else if is_first {
            self.any.notify_one();
        }
    }

    /// Nobody could be told that a log cannot be written.
    fn flush(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Out { writer, buffer } = &mut *out;
        std::mem::swap(buffer, &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = writer.write_all(buffer).and_then(|()| writer.flush());
        buffer.clear();
    }
}

/// Makes a writer for each line.
struct Gathered(Arc<Lines>);

/// Takes one line.
struct Line<'a> {
    lines: &'a Lines,
    at_once: bool,
}

impl<'a> MakeWriter<'a> for Gathered {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.0, at_once: true }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Line<'a> {
        Line { lines: &self.0, at_once: *line.level() <= Level::WARN }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(line, self.at_once);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Kept {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(octets.to_vec());
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_gather_in_order_and_a_warning_takes_them_along() {
        let kept = Kept::default();
        let lines = Lines::new(Box::new(kept.clone()));
        lines.push(b"one\n", false);
        lines.push(b"two\n", true);
        assert_eq!(kept.0.lock().unwrap().concat(), b"one\ntwo\n");
        lines.push(&[b'x'; OCTETS], false);
        assert_eq!(kept.0.lock().unwrap().concat().len(), 8 + OCTETS, "more than may gather");
        lines.push(b"last\n", false);
        lines.flush();
        assert!(kept.0.lock().unwrap().concat().ends_with(b"xlast\n"));
    }

    #[test]
    fn a_line_is_written_by_itself_after_a_moment() {
        let kept = Kept::default();
        let lines = Lines::new(Box::new(kept.clone()));
        lines.push(b"one\n", false);
        for _ in 0..1000 {
            if !kept.0.lock().unwrap().is_empty() {
                return;
            }
            std::thread::sleep(GATHERED);
        }
        panic!("it waits for ever");
    }
}
