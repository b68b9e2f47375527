//! Directory, lock, file and connections.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};

use super::committer::Ground;
use super::file::Files;
use super::readers::{Gate, Readers, Source};
use super::reserve::Reserve;
use super::settings::{Changes, Settings};
use super::shared::{self, Shared};
use super::writer::Writer;
use super::{BUSY_TIMEOUT, Engine, LOG_KEPT, PAGES_BETWEEN_CHECKPOINTS, READ_TIME, schema, sql};
use crate::database::Database;
use crate::{Role, StoreError};

pub(super) const DATABASE: &str = "waxwing.db";
pub(super) const LOCK: &str = "waxwing.lock";
const RESERVE: &str = "waxwing.reserve";

/// A command that sets up the tables holds the lock for a moment; a server that starts just then waits so often for
/// so long.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// Opens the database in `directory`, and makes both when they are not there.
pub(super) fn open(directory: &Path, role: Role) -> Result<Engine, StoreError> {
    let path = directory.join(DATABASE);
    make(directory, &path).map_err(|e| cannot_open(directory, e))?;
    let mut lock = match role {
        Role::Server => Some(lock(directory)?),
        Role::Tool => None,
    };
    let mut connection = writing_connection(&path)?;
    if schema::version(&connection)? < schema::VERSION {
        // Never under the feet of a running server, which may know the old tables only.
        let held_for_migration = if lock.is_none() { Some(self::lock(directory)?) } else { None };
        schema::migrate(&connection)?;
        drop(held_for_migration);
    }
    if lock.is_some() {
        move_log(&connection);
    }
    let changes = Changes::of_files(directory, role).map_err(|e| cannot_open(directory, e))?;
    let gate = Gate::default();
    // A tool takes no mail, and so needs nothing in reserve.
    let server = lock.take().map(|lock| (lock, Reserve::new(directory.join(RESERVE))));
    let files =
        Files::new(&mut connection, path.clone(), server, gate.clone()).map_err(|e| cannot_open(directory, e))?;
    let readers = Readers::new(Source::File { path, gate }, READ_TIME);
    let connection = sql::Connection::Sqlite(connection);
    let writer =
        Writer::start(connection, Ground::Files(files), changes.clone()).map_err(|e| cannot_open(directory, e))?;
    Ok(Engine {
        writer,
        readers,
        settings: Settings::new(changes),
        standing: None,
        lines_are_old: AtomicBool::default(),
        dropped: Mutex::default(),
    })
}

/// Opens a database that others may share, and makes its tables when they are not there.
pub(super) fn open_shared(database: &Database, role: Role) -> Result<Engine, StoreError> {
    let unreachable = |error: sql::Error| StoreError::CannotOpen {
        path: database.shown(),
        reason: StoreError::from(error).to_string(),
    };
    let connection = shared::connect(database).map_err(unreachable)?;
    shared::check(&connection)?;
    schema::migrate_shared(&connection)?;
    let ground = Shared::join(database.clone(), role, &connection)?;
    let readers = Readers::new(Source::Database(Box::new(database.clone())), READ_TIME);
    let writer = Writer::start(connection, Ground::Shared(Box::new(ground)), Changes::Unknown)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(Engine {
        writer,
        readers,
        settings: Settings::new(Changes::Unknown),
        standing: Some(Mutex::default()),
        lines_are_old: AtomicBool::default(),
        dropped: Mutex::default(),
    })
}

/// Makes the directory and the file, readable for their owner only, and sees to it that all names outlive a crash.
fn make(directory: &Path, path: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        let made: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for directory in made {
            if let Some(parent) = directory.canonicalize()?.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
    }
    if !path.exists() {
        // SQLite gives its own files, the log and the shared memory, the mode of this one.
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    }
    close_to_others(path)?;
    // Each time: whoever made the file may have died before this.
    File::open(directory)?.sync_all()
}

/// A backup put back by hand may be readable for everybody, and private keys are in it.
fn close_to_others(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::metadata(&name) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                tracing::warn!(file = %Path::new(&name).display(), "others could read the database; closed to them");
                fs::set_permissions(&name, Permissions::from_mode(0o600))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The lock that keeps a second server out. It is held as long as the file is open, and ends with the process
/// however that ends.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK));
    let file = file.map_err(|e| cannot_open(directory, e))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => sleep(LOCK_WAIT),
            Err(TryLockError::Error(e)) => return Err(cannot_open(directory, e)),
        }
    }
    Err(StoreError::Locked(directory.display().to_string()))
}

/// A connection that writes: every commit is synced.
pub(super) fn writing_connection(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;",
    )?;
    let _: i64 = connection.query_row(&format!("PRAGMA journal_size_limit = {LOG_KEPT}"), [], |row| row.get(0))?;
    let _: i64 =
        connection
            .query_row(&format!("PRAGMA wal_autocheckpoint = {PAGES_BETWEEN_CHECKPOINTS}"), [], |row| row.get(0))?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    // The promise of `accept` hangs on these two, so they are asked for and not believed.
    if mode != "wal" || synchronous != 2 {
        let reason = format!("journal mode '{mode}' with synchronous {synchronous}, where WAL with FULL is needed");
        return Err(StoreError::CannotOpen { path: path.display().to_string(), reason });
    }
    prepare_connection(&connection)?;
    Ok(connection)
}

/// Moves the log of changes into the file, and empties it. The last server may have ended after a sync that failed: then
/// what was read from the log need not be on disk, and what were added behind it would be lost with it.
fn move_log(connection: &Connection) {
    match connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)) {
        Ok(0) => {}
        // A full disk must not keep a server from starting, nor a command that reads.
        left => tracing::warn!(?left, "the log of changes could not be moved into the file yet"),
    }
}

/// A connection that reads and cannot write.
pub(super) fn reading_connection(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")?;
    prepare_connection(&connection)?;
    Ok(connection)
}

/// `fold(text)`: lower case by Unicode's rules. SQLite's own `lower` knows ASCII only.
fn prepare_connection(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(256);
    // A statement is planned once, for whatever is bound: else each new value of one that meets a partial index has the
    // whole statement compiled again, which took a fifth of the writer's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("fold", 1, flags, |context| {
        Ok(context.get_raw(0).as_str_or_null().unwrap_or(None).map(str::to_lowercase))
    })?;
    Ok(())
}

fn cannot_open(directory: &Path, error: io::Error) -> StoreError {
    StoreError::CannotOpen { path: directory.display().to_string(), reason: error.to_string() }
}

/// Which file stands under a name, so that one notices when it is no longer the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: PathBuf) -> io::Result<Identity> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(&path)?;
        Ok(Identity { path, device: metadata.dev(), inode: metadata.ino() })
    }

    /// How long the file under the name is; 0 when there is none.
    pub(super) fn octets(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Whether the file is still there under its name.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match Identity::of(self.path.clone()) {
            Ok(found) if found == *self => Ok(()),
            Ok(_) => Err(StoreError::Unavailable(format!("{} was replaced", self.path.display()))),
            Err(e) => Err(StoreError::Unavailable(format!("{}: {e}", self.path.display()))),
        }
    }
}
