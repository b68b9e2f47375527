//! Where the store is, and in what part one comes to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::database::Database;

/// Where the store is: `sqlite:` and a directory, or the URL of a PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(pub(crate) Place);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory of this machine, for this machine alone.
    Directory(PathBuf),
    /// A database that any number of machines share.
    Database(Box<Database>),
}

impl Location {
    /// An embedded store in a directory.
    pub fn sqlite(directory: impl Into<PathBuf>) -> Location {
        Location(Place::Directory(directory.into()))
    }

    /// The directory that holds it; `None` of a database.
    pub fn directory(&self) -> Option<&Path> {
        match &self.0 {
            Place::Directory(directory) => Some(directory),
            Place::Database(_) => None,
        }
    }
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// `sqlite:` and nothing after it.
    #[error("'sqlite:' needs a directory, as in 'sqlite:./data'")]
    NoDirectory,
    /// The URL of a PostgreSQL that cannot be understood.
    #[error("a PostgreSQL is written 'postgres://user:password@host/database?sslmode=verify-full': {0}")]
    Postgres(String),
    /// Neither of them.
    #[error(
        "a store is written 'sqlite:' and a directory, as in 'sqlite:./data', or 'postgres://user:password@host/database'"
    )]
    Unknown,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("sqlite", "")) => Err(LocationError::NoDirectory),
            Some(("sqlite", directory)) if !directory.contains('\0') => Ok(Location::sqlite(directory)),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Location(Place::Database(Box::new(Database::parse(text)?))))
            }
            _ => Err(LocationError::Unknown),
        }
    }
}

/// Without the password, if there is one.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Directory(directory) => write!(f, "sqlite:{}", directory.display()),
            Place::Database(database) => f.write_str(&database.shown()),
        }
    }
}

/// In what part one opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One that delivers. Only one at a time has a directory, and leases that a dead one left are released; any number
    /// share a database.
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
        assert_eq!(location.directory(), Some(Path::new("./data")));
        assert_eq!(location.to_string(), "sqlite:./data");
        for (text, error) in [
            ("sqlite:", LocationError::NoDirectory),
            ("postgres:db/waxwing", LocationError::Unknown),
            ("./data", LocationError::Unknown),
            ("mysql://db", LocationError::Unknown),
            ("", LocationError::Unknown),
        ] {
            assert_eq!(text.parse::<Location>(), Err(error), "{text:?}");
        }
        let shared: Location = "postgresql://waxwing:secret@db.example/mail".parse().unwrap();
        assert_eq!((shared.directory(), shared.to_string().contains("secret")), (None, false));
    }
}
