//! The metadata store: keys and values in SQLite, and how the run before this one ended.
//!
//! Law (P2): a commit that was acknowledged survives `kill -9`; one that was synced survives
//! power loss, with all before it. A value whose checksum does not match is never handed out:
//! the store is set aside and begun anew, and whoever opened it is told.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use tandem_core::action::Record;
use tandem_core::engine::Last;
use tandem_core::error::DiskError;
use tandem_core::time::WallTime;
use xxhash_rust::xxh3::Xxh3;

use crate::disk::open_directory;
use crate::disk::reserve::{self, Reserve};
use crate::disk::residence::{self, Lock, Residence};

/// Why a store can't be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Another process has it.
    #[error(
        "{} is already in use by process {pid}: stop that one first (tandem stop)",
        dir.display()
    )]
    Busy {
        /// Which store.
        dir: PathBuf,
        /// The other process, as it wrote itself down; `?` if it could not be read.
        pid: String,
    },
    /// A later version of Tandem has written it.
    #[error(
        "{} was written by a later version of Tandem (format {found}): use that version",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The format found there.
        found: i64,
    },
    /// The operating system refused.
    #[error("{}: {why}; check its permissions and the space on its disk", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// SQLite refused.
    #[error("the metadata store {}: {why}; check its permissions and the space on its disk", path.display())]
    Sql {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: rusqlite::Error,
    },
    /// A value or the structure of the store is damaged.
    #[error("the metadata store {} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl MetadataError {
    /// Tells whether the disk has no room.
    fn is_full(&self) -> bool {
        matches!(self, Self::Sql { why, .. } if is_full(why))
    }
}

fn is_full(why: &rusqlite::Error) -> bool {
    why.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What was found when a store was opened.
#[derive(Debug)]
pub struct Opened {
    /// All of its records, in the order of their keys.
    pub records: Vec<Pair>,
    /// How the run before ended.
    pub last: Last,
    /// Where a damaged store was put, and what was wrong with it.
    pub damaged: Option<(PathBuf, String)>,
}

/// An open metadata store, which no other process can open meanwhile.
#[derive(Debug)]
pub struct Metadata {
    sql: Connection,
    path: PathBuf,
    /// Boot and place, after power loss and until the first commit: a kill before that would have
    /// the next start take it that nothing was lost.
    unsaid: Option<Settled>,
    /// Whether `synchronous` is FULL.
    full: bool,
    /// Whether it was said that the last commit failed.
    refused: bool,
    /// Room for commits that make some.
    reserve: Reserve,
    /// Released when it is closed, by whatever death.
    lock: Lock,
}

/// Where and when a store is open.
#[derive(Debug)]
struct Settled {
    boot: Vec<u8>,
    place: Vec<u8>,
    mark: i64,
}

/// The store's directory, and the file in it.
const DIRECTORY: &str = "metadata";
const FILE: &str = "store.sqlite";
/// What a store is called until it is whole.
const NEW: &str = "metadata.new";
/// What a damaged store is called, with a number.
const DAMAGED: &str = "metadata.damaged-";

/// The format of the tables.
const FORMAT: i64 = 1;

/// Stores above this many bytes are checked more quickly, without comparing indexes (there are
/// none but the tables themselves): by eye, about a second.
const WHOLE_CHECK_MAX: u64 = 256 * 1024 * 1024;

impl Metadata {
    /// Opens the store in `dir`, or makes it; `now` goes into it as the time of its making.
    pub fn open(dir: &Path, now: WallTime) -> Result<(Self, Opened), MetadataError> {
        let mut lock = residence::lock(dir)?;
        let path = dir.join(DIRECTORY).join(FILE);
        let home = Residence::of(dir)?;
        let mut set_aside = None;
        if dir
            .join(DIRECTORY)
            .try_exists()
            .map_err(|why| at(dir, why))?
        {
            let mut found = Self::open_existing(&path, &home, &mut lock);
            if found.as_ref().is_err_and(MetadataError::is_full)
                && reserve::give_up_in(&dir.join(DIRECTORY))
            {
                found = Self::open_existing(&path, &home, &mut lock);
            }
            match found {
                Ok((sql, last, records)) => {
                    let unsaid = match last {
                        Last::Lost => Some(settled(&home, &lock, &path)?),
                        Last::Clean | Last::Killed => None,
                    };
                    let store = Self {
                        reserve: Reserve::take(&dir.join(DIRECTORY)),
                        sql,
                        path,
                        unsaid,
                        full: true,
                        refused: false,
                        lock,
                    };
                    let opened = Opened {
                        records,
                        last,
                        damaged: None,
                    };
                    return Ok((store, opened));
                }
                Err(MetadataError::Damaged { what, .. }) => {
                    set_aside = Some((put_aside(dir)?, what));
                }
                Err(error) => return Err(error),
            }
        }
        // One that was set aside, and not replaced before the power failed, is no first start.
        let first = set_aside.is_none() && !damaged_path(dir, 1).exists();
        let last = if first { Last::Clean } else { Last::Lost };
        lock.sign()?;
        let sql = create(dir, &home, &lock, now)?;
        let store = Self {
            reserve: Reserve::take(&dir.join(DIRECTORY)),
            sql,
            path,
            unsaid: None,
            full: true,
            refused: false,
            lock,
        };
        let opened = Opened {
            records: Vec::new(),
            last,
            damaged: set_aside,
        };
        Ok((store, opened))
    }

    /// Stores records, all or none. Acknowledged, they survive a kill, and with `sync` power
    /// loss, with all that was committed before.
    ///
    /// A commit is appended to the write-ahead log by `write`, so that it is the kernel's when
    /// this returns: that is `synchronous=NORMAL`. It is not OFF, under which a checkpoint would
    /// move pages without syncing the log first, and power loss could break the file itself.
    /// With `sync` it is FULL for the one transaction: the log is synced after its last frame,
    /// and since the log is one file, written in order, and a checkpoint syncs it before it is
    /// begun again, everything before that frame is durable too.
    pub fn commit(&mut self, records: &[Record], sync: bool) -> Result<(), DiskError> {
        self.commit_all([records], sync)
    }

    /// Like [`Metadata::commit`] for several sets of records, in order, all or none.
    pub fn commit_all<'a>(
        &mut self,
        sets: impl IntoIterator<Item = &'a [Record]>,
        sync: bool,
    ) -> Result<(), DiskError> {
        let sets: Vec<&[Record]> = sets.into_iter().collect();
        let mut done = self.try_commit(&sets, sync);
        if done.as_ref().is_err_and(is_full) && self.reserve.give_up() {
            done = self.try_commit(&sets, sync);
        } else if done.is_ok() {
            self.reserve.take_again();
        }
        // It is tried again each second; once is enough.
        let is_news = !std::mem::replace(&mut self.refused, done.is_err());
        done.map_err(|error| {
            if is_news {
                tracing::error!(
                    "can't write the metadata store {}: {error}; make room on its disk and check \
                     its permissions: it goes on by itself",
                    self.path.display()
                );
            }
            match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => DiskError::NoSpace,
                Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => DiskError::Denied,
                Some(_) | None => DiskError::Io,
            }
        })
    }

    /// Returns all records in the order of their keys, each checked.
    pub fn load(&self) -> Result<Vec<Pair>, MetadataError> {
        load(&self.sql, &self.path)
    }

    /// Notes durably that everything is in the store, and closes it.
    pub fn close_clean(mut self) -> Result<(), MetadataError> {
        let failed = |why| sql_error(&self.path, why);
        synchronous(&self.sql, true).map_err(failed)?;
        let home = Residence::of(
            self.path
                .ancestors()
                .nth(2)
                .expect("it is in two directories"),
        )?;
        if self.unsaid.is_none() {
            set_fact(&self.sql, SIGNING, &home.boot).map_err(failed)?;
        }
        self.lock.sign_off()?;
        let settled = settled(&home, &self.lock, &self.path)?;
        let transaction = self.sql.unchecked_transaction().map_err(failed)?;
        settle_in(&transaction, &settled).map_err(failed)?;
        set_fact(&transaction, CLEAN, b"1").map_err(failed)?;
        transaction.commit().map_err(failed)?;
        close(self.sql).map_err(failed)
    }

    fn try_commit(&mut self, sets: &[&[Record]], sync: bool) -> Result<(), rusqlite::Error> {
        if self.full != sync {
            // Outside of a transaction, where alone it takes effect.
            synchronous(&self.sql, sync)?;
            self.full = sync;
        }
        let transaction = self.sql.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO kv(k, v) VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE SET v = ?2",
            )?;
            let mut remove = transaction.prepare_cached("DELETE FROM kv WHERE k = ?1")?;
            for record in sets.iter().copied().flatten() {
                match &record.value {
                    Some(value) => put.execute((&record.key, seal(&record.key, value)))?,
                    None => remove.execute([&record.key])?,
                };
            }
            if let Some(settled) = &self.unsaid {
                settle_in(&transaction, settled)?;
            }
            if sync {
                // A transaction that changes no page writes no frame and syncs nothing; this one
                // has to, for those before it.
                transaction
                    .prepare_cached(
                        "INSERT INTO syncs(id, count) VALUES(0, 1) \
                         ON CONFLICT(id) DO UPDATE SET count = count + 1",
                    )?
                    .execute([])?;
            }
        }
        transaction.commit()?;
        self.unsaid = None;
        Ok(())
    }

    /// Opens a store that is there: tells how the last run ended, checks what that calls for,
    /// and takes the mark of a clean end away.
    fn open_existing(
        path: &Path,
        home: &Residence,
        lock: &mut Lock,
    ) -> Result<(Connection, Last, Vec<Pair>), MetadataError> {
        let failed = |why| sql_error(path, why);
        let sql = connect(path, OpenFlags::empty())?;
        let found: i64 = sql
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed)?;
        if found > FORMAT {
            return Err(MetadataError::Newer {
                path: path.to_owned(),
                found,
            });
        }
        if found != FORMAT {
            return Err(damaged(path, "it has no format"));
        }
        let fact = |name| fact(&sql, path, name);
        let stored_place = fact(PLACE)?.ok_or_else(|| damaged(path, "it has no place"))?;
        let boot = fact(BOOT)?.ok_or_else(|| damaged(path, "it has no boot id"))?;
        let clean = fact(CLEAN)?.is_some();
        // One from before there were marks has none.
        let mark = fact(MARK)?;
        let is_signing = fact(SIGNING)?.is_some_and(|boot| boot == home.boot && !boot.is_empty());
        let is_older = !is_signing && mark.is_some_and(|mark| mark != lock.mark.to_le_bytes());
        let last = if stored_place != home.stored(path)? || is_older {
            Last::Lost
        } else if clean {
            Last::Clean
        } else if boot == home.boot && !boot.is_empty() {
            Last::Killed
        } else {
            Last::Lost
        };
        if !clean {
            check(&sql, path)?;
        }
        let records = load(&sql, path)?;
        if last != Last::Lost {
            set_fact(&sql, SIGNING, &home.boot).map_err(failed)?;
        }
        lock.sign()?;
        let settled = match last {
            Last::Lost => None,
            Last::Clean | Last::Killed => Some(settled(home, lock, path)?),
        };
        begin(&sql, path, settled.as_ref())?;
        Ok((sql, last, records))
    }
}

/// Facts of the shell's own, in a table of their own.
const CLEAN: &str = "clean";
const BOOT: &str = "boot";
const PLACE: &str = "place";
const MARK: &str = "mark";
/// The boot under which the lock is being signed: its mark is that of before, or a new one.
const SIGNING: &str = "signing";
const MADE: &str = "made";

/// Makes an empty store: whole under another name, synced, then renamed, so that power loss
/// leaves either none or one that opens.
fn create(
    dir: &Path,
    home: &Residence,
    lock: &Lock,
    now: WallTime,
) -> Result<Connection, MetadataError> {
    let new = dir.join(NEW);
    match fs::remove_dir_all(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(at(&new, why)),
        Err(_) | Ok(()) => {}
    }
    fs::create_dir(&new).map_err(|why| at(&new, why))?;
    let file = new.join(FILE);
    let failed = |why| sql_error(&file, why);
    let sql = connect(&file, OpenFlags::SQLITE_OPEN_CREATE)?;
    sql.execute_batch(&format!(
        "BEGIN;
         CREATE TABLE kv(k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE facts(name TEXT PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE syncs(id INTEGER PRIMARY KEY, count INTEGER NOT NULL);
         PRAGMA user_version = {FORMAT};
         COMMIT;"
    ))
    .map_err(failed)?;
    set_fact(&sql, MADE, &now.secs.to_le_bytes()).map_err(failed)?;
    begin(&sql, &file, Some(&settled(home, lock, &file)?))?;
    close(sql).map_err(failed)?;
    let synced = |path: &Path| -> Result<(), MetadataError> {
        let file = File::open(path).map_err(|why| at(path, why))?;
        file.sync_all().map_err(|why| at(path, why))
    };
    synced(&file)?;
    synced(&new)?;
    let whole = dir.join(DIRECTORY);
    fs::rename(&new, &whole).map_err(|why| at(&whole, why))?;
    synced(dir)?;
    connect(&whole.join(FILE), OpenFlags::empty())
}

/// Opens the file in WAL mode, for this process alone, syncing each transaction.
fn connect(path: &Path, more: OpenFlags) -> Result<Connection, MetadataError> {
    let failed = |why| sql_error(path, why);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let sql = Connection::open_with_flags(path, flags).map_err(failed)?;
    // What is set aside stays as it was found.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    // Exclusive, before anything else is read: the index of the log is then in memory and not in
    // a shared file.
    sql.pragma_update(None, "locking_mode", "EXCLUSIVE")
        .map_err(failed)?;
    let mode: String = sql
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        return Err(damaged(path, "it can't be set to write ahead"));
    }
    synchronous(&sql, true).map_err(failed)?;
    Ok(sql)
}

/// Closes the file with an empty log: one that is copied without its log is whole.
fn close(sql: Connection) -> Result<(), rusqlite::Error> {
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    sql.close().map_err(|(_, why)| why)
}

fn synchronous(sql: &Connection, full: bool) -> Result<(), rusqlite::Error> {
    let mode = if full { "FULL" } else { "NORMAL" };
    sql.pragma_update(None, "synchronous", mode)
}

/// Takes note of where and when the store is open, and that it has not been closed. Without the
/// first, the next start finds as this one did that power was lost, until something is committed.
fn begin(sql: &Connection, path: &Path, settled: Option<&Settled>) -> Result<(), MetadataError> {
    let failed = |why| sql_error(path, why);
    let transaction = sql.unchecked_transaction().map_err(failed)?;
    if let Some(settled) = settled {
        settle_in(&transaction, settled).map_err(failed)?;
    }
    transaction
        .execute("DELETE FROM facts WHERE name = ?1", [CLEAN])
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Returns where and when the store at `path` is open.
fn settled(home: &Residence, lock: &Lock, path: &Path) -> Result<Settled, MetadataError> {
    Ok(Settled {
        boot: home.boot.clone(),
        place: home.stored(path)?,
        mark: lock.mark,
    })
}

/// Takes note of where and when the store is open.
fn settle_in(sql: &Connection, settled: &Settled) -> Result<(), rusqlite::Error> {
    set_fact(sql, BOOT, &settled.boot)?;
    set_fact(sql, PLACE, &settled.place)?;
    set_fact(sql, MARK, &settled.mark.to_le_bytes())?;
    sql.execute("DELETE FROM facts WHERE name = ?1", [SIGNING])
        .map(|_| ())
}

fn set_fact(sql: &Connection, name: &str, value: &[u8]) -> Result<(), rusqlite::Error> {
    sql.execute(
        "INSERT OR REPLACE INTO facts(name, v) VALUES(?1, ?2)",
        (name, seal(name.as_bytes(), value)),
    )
    .map(|_| ())
}

fn fact(sql: &Connection, path: &Path, name: &str) -> Result<Option<Vec<u8>>, MetadataError> {
    let sealed: Option<Vec<u8>> = sql
        .query_row("SELECT v FROM facts WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .map_err(|why| sql_error(path, why))?;
    match sealed {
        None => Ok(None),
        Some(sealed) => match unseal(name.as_bytes(), &sealed) {
            Some(value) => Ok(Some(value.to_owned())),
            None => Err(damaged(path, "a fact does not match its checksum")),
        },
    }
}

fn load(sql: &Connection, path: &Path) -> Result<Vec<Pair>, MetadataError> {
    let failed = |why| sql_error(path, why);
    let mut all = sql
        .prepare("SELECT k, v FROM kv ORDER BY k")
        .map_err(failed)?;
    let mut rows = all.query([]).map_err(failed)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let key: Vec<u8> = row.get(0).map_err(failed)?;
        let sealed = row
            .get_ref(1)
            .and_then(|value| Ok(value.as_blob()?))
            .map_err(failed)?;
        let Some(value) = unseal(&key, sealed) else {
            return Err(damaged(path, "a value does not match its checksum"));
        };
        records.push((key, value.to_owned()));
    }
    Ok(records)
}

/// Checks the structure of the file, as SQLite knows it.
fn check(sql: &Connection, path: &Path) -> Result<(), MetadataError> {
    let size = fs::metadata(path).map_err(|why| at(path, why))?.len();
    let how = if size > WHOLE_CHECK_MAX {
        "PRAGMA quick_check(1)"
    } else {
        "PRAGMA integrity_check(1)"
    };
    let verdict: String = sql
        .query_row(how, [], |row| row.get(0))
        .map_err(|why| sql_error(path, why))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(damaged(path, verdict))
    }
}

/// Renames a damaged store aside, under the first free number.
fn put_aside(dir: &Path) -> Result<PathBuf, MetadataError> {
    let aside = (1_u64..)
        .map(|number| damaged_path(dir, number))
        .find(|path| !path.exists())
        .expect("not every number is taken");
    fs::rename(dir.join(DIRECTORY), &aside).map_err(|why| at(&aside, why))?;
    open_directory(dir)
        .and_then(rustix::fs::fsync)
        .map_err(|why| at(dir, why.into()))?;
    Ok(aside)
}

fn damaged_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{DAMAGED}{number}"))
}

/// Returns a value with its checksum before it: the xxh3-64, little-endian, over the length of
/// the key (8 bytes, little-endian), the key and the value.
fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = checksum(key, value).to_vec();
    sealed.extend_from_slice(value);
    sealed
}

/// Returns the value of a sealed one if its checksum matches.
fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, value) = sealed.split_first_chunk::<8>()?;
    (*sum == checksum(key, value)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; 8] {
    let mut hash = Xxh3::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    hash.digest().to_le_bytes()
}

pub(super) fn at(path: &Path, why: io::Error) -> MetadataError {
    MetadataError::Io {
        path: path.to_owned(),
        why,
    }
}

fn damaged(path: &Path, what: impl Into<String>) -> MetadataError {
    MetadataError::Damaged {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// Tells damage, which calls for a new store, from what may pass (a full disk, a missing right).
fn sql_error(path: &Path, why: rusqlite::Error) -> MetadataError {
    let is_there = path.file_name() == Some(OsStr::new(FILE)) && path.exists();
    let broken = match why.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => true,
        // The directory is there and the file in it is not.
        Some(ErrorCode::CannotOpen) => !is_there,
        // A table that is missing, or a column that is of another type.
        Some(ErrorCode::Unknown) | None => true,
        Some(_) => false,
    };
    if broken {
        damaged(path, why.to_string())
    } else {
        MetadataError::Sql {
            path: path.to_owned(),
            why,
        }
    }
}
