//! The catalogue: how it is opened, told from other databases, and brought to the format of this version.
//!
//! Decided here: SQLite in WAL mode with every commit synced. `application_id` says whose it is and `user_version` which format; both are
//! looked at before anything else is. Formats are steps of SQL that are applied in turn, each in a transaction.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::{CATALOGUE, Error, Result, Space, SpaceId, SpaceSpec, SpaceState, StoredType};

/// `huaL`, in the header of every catalogue.
pub(crate) const APPLICATION: i32 = i32::from_be_bytes(*b"huaL");
/// What brings a catalogue from each format to the next, from none on.
const FORMATS: &[&str] = &[include_str!("schema.sql")];
/// The format of this version.
pub(crate) const FORMAT: i32 = FORMATS.len() as i32;
/// How long another program may hold the catalogue.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open catalogue, which knows where it is.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) db: Connection,
    pub(crate) path: PathBuf,
}

/// What a file turned out to be.
enum Kind {
    Empty,
    Ours(i32),
}

impl Catalogue {
    /// Makes the catalogue of the library `folder`, which must not have one.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let catalogue = Self::connect(folder, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE, false)?;
        match catalogue.kind()? {
            Kind::Ours(_) => return Err(Error::Exists { path: folder.into() }),
            Kind::Empty => catalogue.write_ahead()?,
        }
        catalogue.prepare_writing()?;
        Ok(catalogue)
    }

    /// Opens the catalogue of the library `folder` for writing, and brings it to this version's format.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let catalogue = Self::connect(folder, OpenFlags::SQLITE_OPEN_READ_WRITE, false)?;
        let found = catalogue.format(folder)?;
        catalogue.write_ahead()?;
        catalogue.prepare_writing()?;
        for format in found..FORMAT {
            catalogue.transaction(|| catalogue.upgrade(format))?;
        }
        Ok(catalogue)
    }

    /// Opens the catalogue of the library `folder` for reading, in the state of its last commit, and stays there.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let read = |immutable| {
            let catalogue = Self::connect(folder, OpenFlags::SQLITE_OPEN_READ_ONLY, immutable)?;
            let found = catalogue.format(folder)?;
            if found != FORMAT {
                return Err(Error::Version { path: catalogue.path, found, wanted: FORMAT });
            }
            // No map: pages of one index lie all over the file, and each would bring in fifteen others.
            catalogue.run("PRAGMA query_only = 1; PRAGMA cache_size = -32000; BEGIN")?;
            catalogue.generation()?;
            Ok(catalogue)
        };
        match read(false) {
            // Where nothing can be written SQLite cannot share a catalogue; but one that nobody has left in the middle of writing cannot
            // change either, and may be read as it is.
            Err(Error::Catalogue { path, source })
                if matches!(
                    source.sqlite_error_code(),
                    Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
                ) && is_settled(&path) =>
            {
                read(true).map_err(|_| Error::Catalogue { path, source })
            }
            other => other,
        }
    }

    fn connect(folder: &Path, flags: OpenFlags, immutable: bool) -> Result<Self> {
        let path = folder.join(CATALOGUE);
        if !flags.contains(OpenFlags::SQLITE_OPEN_CREATE)
            && let Err(source) = path.metadata()
        {
            return Err(match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::NotALibrary { path: folder.into() },
                _ => Error::Io { path, source },
            });
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = if immutable {
            Connection::open_with_flags(immutable_uri(&path), flags | OpenFlags::SQLITE_OPEN_URI)
        } else {
            Connection::open_with_flags(&path, flags)
        };
        let db = db.map_err(|source| Error::Catalogue { path: path.clone(), source })?;
        let catalogue = Self { db, path };
        catalogue.db.busy_timeout(PATIENCE).map_err(catalogue.error())?;
        catalogue.db.set_prepared_statement_cache_capacity(64);
        catalogue.run("PRAGMA foreign_keys = 0; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = 0")?;
        Ok(catalogue)
    }

    fn kind(&self) -> Result<Kind> {
        let number = |sql| self.db.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(self.error());
        let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
        if application == APPLICATION {
            return Ok(Kind::Ours(version));
        }
        if application == 0 && version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
            return Ok(Kind::Empty);
        }
        Err(Error::Foreign { path: self.path.clone(), found: application, wanted: APPLICATION })
    }

    /// The format of a catalogue of ours that this version can read or upgrade.
    fn format(&self, folder: &Path) -> Result<i32> {
        match self.kind()? {
            // Whoever made it was stopped before it was one.
            Kind::Empty => Err(Error::NotALibrary { path: folder.into() }),
            Kind::Ours(found) if (1..=FORMAT).contains(&found) => Ok(found),
            Kind::Ours(found) => Err(Error::Version { path: self.path.clone(), found, wanted: FORMAT }),
        }
    }

    fn write_ahead(&self) -> Result<()> {
        self.db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(self.error())
    }

    fn prepare_writing(&self) -> Result<()> {
        // A log of 16 MB before it is worked into the file: commits of a few items do not wait for that.
        self.run(
            "PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1; PRAGMA cache_size = -65536;
             PRAGMA wal_autocheckpoint = 4096",
        )
    }

    /// Applies all formats to an empty catalogue, within the caller's transaction.
    pub(crate) fn fill(&self) -> Result<()> {
        (0..FORMAT).try_for_each(|format| self.upgrade(format))?;
        self.run(&format!("PRAGMA application_id = {APPLICATION}"))
    }

    fn upgrade(&self, format: i32) -> Result<()> {
        self.run(FORMATS[format as usize])?;
        self.run(&format!("PRAGMA user_version = {}", format + 1))
    }

    /// Does `work` and commits it, or nothing.
    pub(crate) fn transaction(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        let done = work().and_then(|()| self.run("COMMIT"));
        if done.is_err() && !self.db.is_autocommit() {
            let _ = self.run("ROLLBACK");
        }
        done
    }

    /// Runs statements that give no rows.
    pub(crate) fn run(&self, sql: &str) -> Result<()> {
        self.db.execute_batch(sql).map_err(self.error())
    }

    /// One statement that changes something; how many rows.
    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        self.db.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(self.error())
    }

    /// The first row, if there is one.
    pub(crate) fn first<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.db.prepare_cached(sql).and_then(|mut s| s.query_row(params, read).optional()).map_err(self.error())
    }

    /// All rows.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let all = || self.db.prepare_cached(sql)?.query_map(params, read)?.collect::<rusqlite::Result<_>>();
        all().map_err(self.error())
    }

    pub(crate) fn error(&self) -> impl Fn(rusqlite::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Catalogue { path: path.clone(), source }
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), what: what.into() }
    }

    /// The number of the last commit.
    pub(crate) fn generation(&self) -> Result<i64> {
        Ok(self.first("SELECT value FROM library WHERE key = 'commits'", [], |row| row.get(0))?.unwrap_or(0))
    }

    /// Counts a commit.
    pub(crate) fn count_commit(&self) -> Result<()> {
        self.execute("INSERT INTO library VALUES ('commits', 1) ON CONFLICT DO UPDATE SET value = value + 1", []).map(drop)
    }

    pub(crate) fn value(&self, key: &str) -> Result<Option<String>> {
        self.first("SELECT value FROM library WHERE key = 'user.' || ?1", [key], |row| row.get(0))
    }

    pub(crate) fn spaces(&self) -> Result<Vec<Space>> {
        let read = |row: &rusqlite::Row<'_>| {
            let (dtype, state): (String, String) = (row.get(4)?, row.get(6)?);
            let space = |dtype, state| -> rusqlite::Result<Space> {
                let spec = SpaceSpec {
                    name: row.get(1)?,
                    fingerprint: row.get(2)?,
                    preprocessing: row.get(3)?,
                    width: row.get::<_, i64>(5)?.try_into().unwrap_or(0),
                    dtype,
                };
                Ok(Space { id: SpaceId(row.get(0)?), spec, state })
            };
            StoredType::named(&dtype).zip(SpaceState::named(&state)).map(|(dtype, state)| space(dtype, state)).transpose()
        };
        let sql = "SELECT id, name, fingerprint, preprocessing, dtype, width, state FROM spaces ORDER BY id";
        let spaces: Option<Vec<Space>> = self.all(sql, [], read)?.into_iter().collect();
        let sound = |s: &Space| (1..=MOST_WIDTH).contains(&s.spec.width);
        spaces.filter(|all| all.iter().all(sound)).ok_or_else(|| self.damaged("a space is of an unknown type, state or width"))
    }

    pub(crate) fn add_space(&self, space: &SpaceSpec, state: SpaceState, segment_rows: u64) -> Result<SpaceId> {
        if self.first("SELECT 1 FROM spaces WHERE name = ?1", [&space.name], |_| Ok(()))?.is_some() {
            return Err(Error::SpaceExists { name: space.name.clone() });
        }
        if !(1..=MOST_WIDTH).contains(&space.width) {
            return Err(Error::Width { found: space.width, wanted: MOST_WIDTH });
        }
        self.execute(
            "INSERT INTO spaces (name, fingerprint, preprocessing, dtype, width, state, segment_rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                space.name,
                space.fingerprint,
                space.preprocessing,
                space.dtype.name(),
                space.width as i64,
                state.name(),
                segment_rows as i64
            ],
        )?;
        Ok(SpaceId(self.db.last_insert_rowid()))
    }
}

/// Numbers of a vector at most, which is what a scan takes.
pub(crate) const MOST_WIDTH: usize = 16_384;

/// Whether nothing of the catalogue waits in its log.
fn is_settled(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).metadata().map_or(true, |log| log.len() == 0)
}

/// The name by which SQLite opens a file that nobody changes.
fn immutable_uri(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{path}?immutable=1")
}

/// The lock of a library's one writer. It ends with the process that holds it, however that ends.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let io = |source| Error::Io { path: path.clone(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            Err(Error::Locked { path: folder.into(), pid: pid.trim().parse().ok() })
        }
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
