//! What is wrong with a configuration, told with the place to mend.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file, lines and columns counted from 1. Without a line: the file as a whole.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// Line and column.
        at: Option<(usize, usize)>,
    },
    /// In an environment variable of this name.
    Variable(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, at: Some((line, column)) } => write!(f, "{}:{line}:{column}", path.display()),
            Place::File { path, at: None } => write!(f, "{}", path.display()),
            Place::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key and the way into its value, such as `routes[2].host`; `None` when no known key is meant.
    pub key: Option<String>,
    /// What, in words, without the values of secrets.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A problem below a key that its reader need not know the name of.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    /// The way into the value: empty, `[2]`, `[2].host`.
    pub(super) path: String,
    pub(super) what: String,
}

impl Fault {
    /// The same fault seen from one step further out.
    pub(super) fn within(mut self, step: &str) -> Fault {
        self.path.insert_str(0, step);
        self
    }

    pub(super) fn of(self, key: &str) -> Problem {
        Problem { place: self.place, key: Some(format!("{key}{}", self.path)), what: self.what }
    }
}
