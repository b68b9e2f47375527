//! Where log lines go: to standard error, for people or for machines.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Config, LogFormat};

/// Makes the log of this process. Only a program's main does this; servers in tests share what their process has.
pub fn init(config: &Config) {
    let filter = EnvFilter::new(&config.log_level);
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // It fails only when the process has a log already, which is then the one to use.
    let _ = match config.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
