//! Where the store is, and in what part one comes to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the store is: `sqlite:` and a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    directory: PathBuf,
}

impl Location {
    /// An embedded store in a directory.
    pub fn sqlite(directory: impl Into<PathBuf>) -> Location {
        Location { directory: directory.into() }
    }

    /// The directory that holds it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// `sqlite:` and nothing after it.
    #[error("'sqlite:' needs a directory, as in 'sqlite:./data'")]
    NoDirectory,
    /// PostgreSQL is planned behind the same door and is not there yet.
    #[error("this version keeps its data in SQLite only: write 'sqlite:' and a directory, as in 'sqlite:./data'")]
    Postgres,
    /// Neither of them.
    #[error("a store is written 'sqlite:' and a directory, as in 'sqlite:./data'")]
    Unknown,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", "")) => Err(LocationError::NoDirectory),
            Some(("sqlite", directory)) if !directory.contains('\0') => Ok(Location::sqlite(directory)),
            Some(("postgres" | "postgresql", _)) => Err(LocationError::Postgres),
            _ => Err(LocationError::Unknown),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.directory.display())
    }
}

/// In what part one opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that delivers. Only one at a time has a directory; leases that a dead one left are released.
    Server,
    /// A command that reads or changes settings, beside a server that may be running.
    Tool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_sqlite_and_a_directory() {
        let location: Location = "sqlite:./data".parse().unwrap();
        assert_eq!(location.directory(), Path::new("./data"));
        assert_eq!(location.to_string(), "sqlite:./data");
        for (text, error) in [
            ("sqlite:", LocationError::NoDirectory),
            ("postgres://db/waxwing", LocationError::Postgres),
            ("postgresql://db/waxwing", LocationError::Postgres),
            ("./data", LocationError::Unknown),
            ("mysql://db", LocationError::Unknown),
            ("", LocationError::Unknown),
        ] {
            assert_eq!(text.parse::<Location>(), Err(error), "{text:?}");
        }
    }
}
