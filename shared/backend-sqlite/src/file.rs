//! How the file is opened: private, in WAL mode, brought up to date.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use drs_backend::BackendError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::failure::told;
use crate::schema;

/// How long a transaction waits for those of other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it rests between two tries to make the file ready.
const TRY_AGAIN: Duration = Duration::from_millis(20);
/// How many prepared statements a connection keeps: more than there are in this crate.
const STATEMENTS_KEPT: usize = 64;
/// Bytes of the smallest page, and so of the smallest file that is not new.
const SHORTEST: u64 = 512;
/// The file and what SQLite puts beside it are for their owner alone.
const MODE: u32 = 0o600;

/// Closing any descriptor of a file drops all POSIX locks that the process has on it, those of other
/// SQLite connections too; so a file is created while nobody else in this process opens one.
static OPENING: Mutex<()> = Mutex::new(());

/// Opens or creates the file and brings its tables up to date. Returns the connection for writing.
pub(crate) fn prepare(path: &Path, name: &str) -> Result<Connection, BackendError> {
    let unavailable = |error: io::Error| BackendError::Unavailable {
        what: name.into(),
        reason: error.to_string(),
    };
    let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let _turn = turn(path).map_err(unavailable)?;
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(unavailable(error));
        }
        _ => {}
    }
    // SQLite would take the rest of a cut file for a new one.
    if (1..SHORTEST).contains(&fs::metadata(path).map_err(unavailable)?.len()) {
        let reason = "it is shorter than any database".to_owned();
        return Err(BackendError::Damaged { what: name.into(), reason });
    }
    let mut connection = connect(path).map_err(|error| told(&error, name))?;
    schema::refuse_newer(&connection, name)?;
    ready_at_last(&mut connection).map_err(|error| told(&error, name))?;
    let mode = fs::metadata(path).map_err(unavailable)?.permissions().mode();
    if mode & 0o777 & !MODE != 0 {
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(unavailable)?;
    }
    Ok(connection)
}

/// Processes that open the file do so one after the other: switching a new file to WAL does not wait
/// for others that do the same, it fails. The lock ends with the returned value or the process.
fn turn(path: &Path) -> io::Result<File> {
    let mut beside = OsString::from(path);
    beside.push("-opening");
    let lock = OpenOptions::new().write(true).create(true).mode(MODE).open(Path::new(&beside))?;
    lock.lock()?;
    Ok(lock)
}

/// Tries again while a process that ends folds its changes back into the file, for which SQLite's own
/// time-out does not wait either.
fn ready_at_last(connection: &mut Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match make_ready(connection) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(TRY_AGAIN);
            }
            result => return result,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn make_ready(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(connection, schema::MIGRATIONS)
}

/// A connection that only reads, to a file that is prepared.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}
