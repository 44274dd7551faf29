//! The control socket: how `tandem status` and `tandem stop` talk to a running `share` or
//! `join`.
//!
//! Law: only the user who runs it can reach it (mode 0600 in a directory of mode 0700); a line
//! goes in, a line comes out, each with a deadline, so that no command ever hangs. A socket that
//! nobody serves means "not running", whatever else is said of it.
//!
//! The socket is `$XDG_RUNTIME_DIR/tandem/HASH.sock`, or `.tandem/control.sock` where that
//! directory is not there. HASH is the xxh3-64 of the path of the directory that holds
//! `.tandem`. The file `.tandem/control` names the socket, so that it is found with another
//! environment too.
//!
//! Requests: `{"ask":"status"}`, answered by a [`Report`]; `{"ask":"sync"}`, answered by a
//! [`SyncReport`], which costs no walk of what is here; `{"ask":"stop"}`, answered by
//! `{"stopping":PID}` at once, after which the connection stays open until the process ends;
//! `{"ask":"conflicts"}`, answered by a [`ConflictsReport`]; `{"ask":"settle","path":HEX,"keep":WHICH}`
//! (the path's bytes from the folder's root; `mine`, `theirs` or `both`), answered by
//! `{"settled":…}` with a [`SettledReport`] once that is stored, or by `{"unsettled":WHY}`;
//! `{"ask":"peers"}`, answered by a [`PeersReport`]; `{"ask":"remove","peer":HEX}`, answered by
//! `{"removed":…}` with a [`RemovedReport`] once that survives power loss, or by `{"unremoved":WHY}`;
//! `{"ask":"log","count":NUMBER,"below":HEX}` (a path as for `settle`, or nothing for all), answered by
//! a [`LogReport`]; `{"ask":"restore","id":NUMBER}`, answered by `{"restored":…}` with a
//! [`RestoredReport`] once that survives power loss, or by `{"unrestored":WHY}`.

use std::fmt;
use std::fs;
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tandem_core::conflicts::Keep;
use tandem_core::ids::PeerId;
use tandem_core::tree::name::Name;

use crate::driver::{RESTORED_WITHIN, SETTLED_WITHIN};
use crate::report::conflicts::{ConflictsReport, SettledReport};
use crate::report::log::{LogReport, RestoredReport};
use crate::report::peers::{PeersReport, RemovedReport};
use crate::report::{Report, SyncReport, hex};

/// How long either side waits for a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest request, in bytes: a path of 4 KiB in hex digits, and some; by eye.
const REQUEST_MAX: u64 = 16 * 1_024;

/// The longest answer, in bytes: a report of a hundred thousand files.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// Connections served at once; further ones are closed. By eye.
const CONNECTIONS_MAX: u32 = 16;

/// The name of the socket in `.tandem`, and of the file that names the socket.
const SOCKET: &str = "control.sock";
const POINTER: &str = "control";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
enum Ask {
    Status,
    Sync,
    Stop,
    Conflicts,
    Settle { path: String, keep: Which },
    Peers,
    Remove { peer: String },
    Log { count: u32, below: String },
    Restore { id: u64 },
}

/// [`Keep`], as it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    Mine,
    Theirs,
    Both,
}

impl Which {
    fn of(keep: Keep) -> Self {
        match keep {
            Keep::Mine => Self::Mine,
            Keep::Theirs => Self::Theirs,
            Keep::Both => Self::Both,
        }
    }

    fn keep(self) -> Keep {
        match self {
            Self::Mine => Keep::Mine,
            Self::Theirs => Keep::Theirs,
            Self::Both => Keep::Both,
        }
    }
}

/// The answer to [`Ask::Settle`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Settling {
    Settled(SettledReport),
    Unsettled(String),
}

/// The answer to [`Ask::Remove`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Removing {
    Removed(RemovedReport),
    Unremoved(String),
}

/// The answer to [`Ask::Restore`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Restoring {
    Restored(RestoredReport),
    Unrestored(String),
}

/// The answer to [`Ask::Stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stopping {
    stopping: u32,
}

/// The answer to what is not understood, or can't be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wrong {
    error: String,
}

/// Why a running Tandem can't be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket can't be made.
    #[error("can't make the control socket {path}: {why}; check the directory's permissions", path = .path.display())]
    Serve {
        /// Where.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Nobody serves the place.
    #[error("nothing is running for {place}; start it with tandem share or tandem join", place = .place.display())]
    NotRunning {
        /// Which place.
        place: PathBuf,
    },
    /// It runs, and does not answer as it should.
    #[error("the tandem of {place} does not answer: {why}; try again, or end its process", place = .place.display())]
    Silent {
        /// Which place.
        place: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It has not ended.
    #[error("the tandem of {place} (process {pid}) is still ending after {secs} s; wait, or end its process", place = .place.display())]
    StillEnding {
        /// Which place.
        place: PathBuf,
        /// Its process.
        pid: u32,
        /// How long was waited.
        secs: u64,
    },
}

/// What is behind the socket.
pub trait Controlled: Send + Sync + 'static {
    /// Makes a report; `None` if the engine is broken.
    fn report(&self) -> Option<Report>;
    /// Tells whether all is synced; `None` if the engine is broken.
    fn sync(&self) -> Option<SyncReport>;
    /// Lists the conflicts; `None` if the engine is broken.
    fn conflicts(&self) -> Option<ConflictsReport>;
    /// Settles one, or says why not; `None` if there was no answer in time, or the engine is
    /// broken.
    fn settle(&self, path: Vec<Name>, keep: Keep) -> Option<Result<SettledReport, String>>;
    /// Lists the peers; `None` if the engine is broken.
    fn peers(&self) -> Option<PeersReport>;
    /// Removes one, or says why not; `None` if there was no answer in time, or the engine is broken.
    fn remove(&self, peer: PeerId) -> Option<Result<RemovedReport, String>>;
    /// Lists what lies in the trash, so many things at most, at a path or below it; `None` if the
    /// engine is broken.
    fn log(&self, count: u32, below: &[Name]) -> Option<LogReport>;
    /// Brings one back, or says why not; `None` if there was no answer in time, or the engine is
    /// broken.
    fn restore(&self, id: u64) -> Option<Result<RestoredReport, String>>;
    /// Asks for an end.
    fn stop(&self);
}

/// A control socket that is served until it is dropped.
pub struct Control {
    socket: PathBuf,
    pointer: PathBuf,
}

impl Control {
    /// Serves the socket of the replica whose `.tandem` is `home`. The caller holds the lock of
    /// the store, so a socket that stands there belongs to a process that is gone.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn serve(home: &Path, behind: Arc<dyn Controlled>) -> Result<Self, ControlError> {
        let socket = socket_path(home);
        let failed = |why| ControlError::Serve {
            path: socket.clone(),
            why,
        };
        let _ = fs::remove_file(&socket);
        let listener = bind(&socket).map_err(failed)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let pointer = home.join(POINTER);
        fs::write(&pointer, socket.as_os_str().as_bytes()).map_err(failed)?;
        thread::Builder::new()
            .name("tandem-control".into())
            .spawn(move || accept(&listener, &behind))
            .map_err(failed)?;
        Ok(Self {
            socket: socket.clone(),
            pointer,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // What is left behind tells nobody that something runs; it is only untidy.
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.pointer);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Asks the replica whose `.tandem` is `home` for a report; `place` is what the user called it.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn status(home: &Path, place: &Path) -> Result<Report, ControlError> {
    let (lines, _) = ask(home, place, &Ask::Status)?;
    answer(lines, place)
}

/// Asks it whether all is synced, and what is waited for.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn sync(home: &Path, place: &Path) -> Result<SyncReport, ControlError> {
    let (lines, _) = ask(home, place, &Ask::Sync)?;
    answer(lines, place)
}

/// Asks the replica whose `.tandem` is `home` for its conflicts.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn conflicts(home: &Path, place: &Path) -> Result<ConflictsReport, ControlError> {
    let (lines, _) = ask(home, place, &Ask::Conflicts)?;
    answer(lines, place)
}

/// Asks it to settle the conflict of a file; returns what was settled, or why it was not.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn settle(
    home: &Path,
    place: &Path,
    path: &[Name],
    keep: Keep,
) -> Result<Result<SettledReport, String>, ControlError> {
    let names: Vec<&[u8]> = path.iter().map(Name::as_bytes).collect();
    let settle = Ask::Settle {
        path: hex(&names.join(&b'/')),
        keep: Which::of(keep),
    };
    let (lines, stream) = ask(home, place, &settle)?;
    stream
        .set_read_timeout(Some(SETTLED_WITHIN + PATIENCE))
        .map_err(|why| silent(place, why))?;
    Ok(match answer(lines, place)? {
        Settling::Settled(settled) => Ok(settled),
        Settling::Unsettled(why) => Err(why),
    })
}

/// Asks the replica whose `.tandem` is `home` for its peers.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn peers(home: &Path, place: &Path) -> Result<PeersReport, ControlError> {
    let (lines, _) = ask(home, place, &Ask::Peers)?;
    answer(lines, place)
}

/// Asks it to remove a peer, by its id in hex; returns who was removed, or why it was not.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn remove(
    home: &Path,
    place: &Path,
    peer: &str,
) -> Result<Result<RemovedReport, String>, ControlError> {
    let peer = peer.to_owned();
    let (lines, stream) = ask(home, place, &Ask::Remove { peer })?;
    stream
        .set_read_timeout(Some(SETTLED_WITHIN + PATIENCE))
        .map_err(|why| silent(place, why))?;
    Ok(match answer(lines, place)? {
        Removing::Removed(removed) => Ok(removed),
        Removing::Unremoved(why) => Err(why),
    })
}

/// Asks the replica whose `.tandem` is `home` what lies in its trash: so many things at most, at a
/// path or below it.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn log(
    home: &Path,
    place: &Path,
    count: u32,
    below: &[Name],
) -> Result<LogReport, ControlError> {
    let names: Vec<&[u8]> = below.iter().map(Name::as_bytes).collect();
    let below = hex(&names.join(&b'/'));
    let (lines, _) = ask(home, place, &Ask::Log { count, below })?;
    answer(lines, place)
}

/// Asks it to bring a thing back; returns where it stands, or why it does not.
///
/// # Errors
/// When nothing runs, or what runs does not answer in time.
pub fn restore(
    home: &Path,
    place: &Path,
    id: u64,
) -> Result<Result<RestoredReport, String>, ControlError> {
    let (lines, stream) = ask(home, place, &Ask::Restore { id })?;
    stream
        .set_read_timeout(Some(RESTORED_WITHIN + PATIENCE))
        .map_err(|why| silent(place, why))?;
    Ok(match answer(lines, place)? {
        Restoring::Restored(restored) => Ok(restored),
        Restoring::Unrestored(why) => Err(why),
    })
}

/// Reads an answer.
fn answer<T: serde::de::DeserializeOwned>(
    mut lines: io::Take<BufReader<UnixStream>>,
    place: &Path,
) -> Result<T, ControlError> {
    let line = read_line(&mut lines).map_err(|why| silent(place, why))?;
    serde_json::from_slice(&line).map_err(|_| {
        let said = serde_json::from_slice::<Wrong>(&line).map_or_else(
            |_| "it speaks another version".to_owned(),
            |wrong| wrong.error,
        );
        silent(place, io::Error::other(said))
    })
}

/// Asks it to stop, and waits until it has, at most `within`. Returns the process.
///
/// # Errors
/// When nothing runs, or it has not ended by then.
pub fn stop(home: &Path, place: &Path, within: Duration) -> Result<u32, ControlError> {
    let (mut lines, stream) = ask(home, place, &Ask::Stop)?;
    let line = read_line(&mut lines).map_err(|why| silent(place, why))?;
    let answer: Stopping = serde_json::from_slice(&line)
        .map_err(|_| silent(place, io::Error::other("it speaks another version")))?;
    // Its end closes the connection.
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ControlError::StillEnding {
                place: place.to_owned(),
                pid: answer.stopping,
                secs: within.as_secs(),
            });
        }
        let waited = stream.set_read_timeout(Some(left));
        match waited.and_then(|()| lines.read(&mut [0])) {
            Ok(0) => return Ok(answer.stopping),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(_) => return Ok(answer.stopping),
        }
    }
}

/// Tells whether a process serves the socket of the replica whose `.tandem` is `home`.
pub fn is_running(home: &Path) -> bool {
    connect(&pointed(home)).is_ok()
}

/// Sends a request.
fn ask(
    home: &Path,
    place: &Path,
    ask: &Ask,
) -> Result<(io::Take<BufReader<UnixStream>>, UnixStream), ControlError> {
    let Ok(mut stream) = connect(&pointed(home)) else {
        return Err(ControlError::NotRunning {
            place: place.to_owned(),
        });
    };
    let sent = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| write_line(&mut stream, ask))
        .and_then(|()| stream.try_clone());
    let reading = sent.map_err(|why| silent(place, why))?;
    Ok((BufReader::new(reading).take(ANSWER_MAX), stream))
}

fn silent(place: &Path, why: io::Error) -> ControlError {
    let why = if is_timeout(&why) {
        io::Error::other(format!("no word within {} s", PATIENCE.as_secs()))
    } else {
        why
    };
    ControlError::Silent {
        place: place.to_owned(),
        why,
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::TimedOut
}

/// Takes connections, for as long as the process lives.
fn accept(listener: &UnixListener, behind: &Arc<dyn Controlled>) {
    let open = Arc::new(AtomicU32::new(0));
    // Held until the process ends, so that whoever asked for it sees when.
    let waiting = Arc::new(Mutex::new(Vec::new()));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: others may close some.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (behind, waiting, counted) = (Arc::clone(behind), Arc::clone(&waiting), open.clone());
        let served = thread::Builder::new().spawn(move || {
            if let Ok(Some(stream)) = serve(stream, &*behind) {
                waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(stream);
            }
            counted.fetch_sub(1, Ordering::AcqRel);
        });
        if served.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Serves one request; returns the connection if it is to stay open.
fn serve(mut stream: UnixStream, behind: &dyn Controlled) -> io::Result<Option<UnixStream>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = read_line(&mut BufReader::new(stream.try_clone()?).take(REQUEST_MAX))?;
    let wrong = |error: &str| Wrong {
        error: error.to_owned(),
    };
    match serde_json::from_slice::<Ask>(&line) {
        Ok(Ask::Status) => match behind.report() {
            Some(report) => write_line(&mut stream, &report)?,
            None => write_line(&mut stream, &wrong(BROKEN))?,
        },
        Ok(Ask::Sync) => match behind.sync() {
            Some(report) => write_line(&mut stream, &report)?,
            None => write_line(&mut stream, &wrong(BROKEN))?,
        },
        Ok(Ask::Stop) => {
            let stopping = std::process::id();
            write_line(&mut stream, &Stopping { stopping })?;
            behind.stop();
            return Ok(Some(stream));
        }
        Ok(Ask::Conflicts) => match behind.conflicts() {
            Some(conflicts) => write_line(&mut stream, &conflicts)?,
            None => write_line(&mut stream, &wrong(BROKEN))?,
        },
        Ok(Ask::Settle { path, keep }) => {
            let settled = path_of(&path).map(|path| behind.settle(path, keep.keep()));
            match settled {
                None => write_line(&mut stream, &wrong(NO_PATH))?,
                Some(None) => write_line(&mut stream, &wrong(UNSTORED))?,
                Some(Some(Ok(settled))) => {
                    write_line(&mut stream, &Settling::Settled(settled))?;
                }
                Some(Some(Err(why))) => write_line(&mut stream, &Settling::Unsettled(why))?,
            }
        }
        Ok(Ask::Peers) => match behind.peers() {
            Some(peers) => write_line(&mut stream, &peers)?,
            None => write_line(&mut stream, &wrong(BROKEN))?,
        },
        Ok(Ask::Remove { peer }) => match peer_of(&peer).map(|peer| behind.remove(peer)) {
            None => write_line(&mut stream, &wrong("the peer's id makes no sense"))?,
            Some(None) => write_line(&mut stream, &wrong(UNSTORED))?,
            Some(Some(Ok(removed))) => write_line(&mut stream, &Removing::Removed(removed))?,
            Some(Some(Err(why))) => write_line(&mut stream, &Removing::Unremoved(why))?,
        },
        Ok(Ask::Log { count, below }) => {
            let below = if below.is_empty() {
                Some(Vec::new())
            } else {
                path_of(&below)
            };
            match below.map(|below| behind.log(count, &below)) {
                None => write_line(&mut stream, &wrong(NO_PATH))?,
                Some(None) => write_line(&mut stream, &wrong(BROKEN))?,
                Some(Some(log)) => write_line(&mut stream, &log)?,
            }
        }
        Ok(Ask::Restore { id }) => match behind.restore(id) {
            None => write_line(&mut stream, &wrong(UNCOPIED))?,
            Some(Ok(restored)) => write_line(&mut stream, &Restoring::Restored(restored))?,
            Some(Err(why)) => write_line(&mut stream, &Restoring::Unrestored(why))?,
        },
        Err(_) => write_line(&mut stream, &wrong(UNKNOWN))?,
    }
    Ok(None)
}

/// What is said when the engine is broken.
const BROKEN: &str = "its engine is broken; start it again";

/// What is said when a change could not be stored in time.
const UNSTORED: &str = "the change could not be stored yet, see tandem status and its log";

/// What is said when a thing was not brought back in time.
const UNCOPIED: &str = "it is still being copied, see tandem status and its log; it stands in the \
                        folder once that is done";

/// What is said to a path that is none.
const NO_PATH: &str = "the path makes no sense";

/// What is said to what is not understood.
const UNKNOWN: &str =
    "ask for status, sync, conflicts, settle, peers, remove, log, restore or stop";

/// Reads a peer's id in hex digits.
fn peer_of(text: &str) -> Option<PeerId> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok().map(PeerId)
}

/// Reads the names of a path in hex digits.
fn path_of(text: &str) -> Option<Vec<Name>> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    let names = bytes.split(|&byte| byte == b'/').map(Name::parse);
    names.collect::<Result<_, _>>().ok()
}

fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn read_line(lines: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::other("the line is cut, or too long"));
    }
    Ok(line)
}

/// Returns where the socket of `home` is to be made.
fn socket_path(home: &Path) -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .map(|dir| dir.join("tandem"));
    let private = runtime.filter(|dir| {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        made.is_ok()
    });
    match private {
        Some(dir) => {
            let hash = xxhash_rust::xxh3::xxh3_64(home.as_os_str().as_bytes());
            dir.join(format!("{hash:016x}.sock"))
        }
        None => home.join(SOCKET),
    }
}

/// Returns the socket that the file in `home` names.
fn pointed(home: &Path) -> PathBuf {
    match fs::read(home.join(POINTER)) {
        Ok(path) => PathBuf::from(std::ffi::OsString::from_vec(path)),
        Err(_) => home.join(SOCKET),
    }
}

/// Binds a socket whose path may be longer than the 107 bytes that an address holds: by way of
/// a descriptor of its directory.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    through_directory(socket, |short| UnixListener::bind(short))
}

/// Connects to a socket whose path may be long.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    through_directory(socket, |short| UnixStream::connect(short))
}

fn through_directory<T>(socket: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = fs::File::open(parent)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    act(&short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[derive(Default)]
    struct Broken {
        stopped: AtomicBool,
    }

    impl Controlled for Broken {
        fn report(&self) -> Option<Report> {
            None
        }

        fn sync(&self) -> Option<SyncReport> {
            None
        }

        fn conflicts(&self) -> Option<ConflictsReport> {
            None
        }

        fn settle(&self, _: Vec<Name>, _: Keep) -> Option<Result<SettledReport, String>> {
            None
        }

        fn peers(&self) -> Option<PeersReport> {
            None
        }

        fn remove(&self, _: PeerId) -> Option<Result<RemovedReport, String>> {
            None
        }

        fn log(&self, _: u32, _: &[Name]) -> Option<LogReport> {
            None
        }

        fn restore(&self, _: u64) -> Option<Result<RestoredReport, String>> {
            None
        }

        fn stop(&self) {
            self.stopped.store(true, Ordering::Release);
        }
    }

    /// A home whose path is longer than the address of a socket can be.
    fn long_home() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("x".repeat(120)).join(".tandem");
        fs::create_dir_all(&home).unwrap();
        (dir, home)
    }

    #[test]
    fn a_socket_that_nobody_serves_is_not_running() {
        let (_dir, home) = long_home();
        let place = Path::new("/the/place");
        let error = status(&home, place).unwrap_err();
        assert!(matches!(error, ControlError::NotRunning { .. }));
        drop(bind(&home.join(SOCKET)).unwrap());
        let error = status(&home, place).unwrap_err().to_string();
        assert_eq!(
            error,
            "nothing is running for /the/place; start it with tandem share or tandem join"
        );
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up_on() {
        let (_dir, home) = long_home();
        let _listener = bind(&home.join(SOCKET)).unwrap();
        let begun = Instant::now();
        let error = status(&home, Path::new("/place")).unwrap_err().to_string();
        assert!(error.contains("no word within 2 s"), "{error}");
        assert!(begun.elapsed() < 3 * PATIENCE);
    }

    #[test]
    fn what_is_asked_is_answered_and_what_is_not_understood_too() {
        let (_dir, home) = long_home();
        let behind = Arc::new(Broken::default());
        let control = Control::serve(&home, Arc::clone(&behind) as Arc<dyn Controlled>).unwrap();
        assert!(is_running(&home));
        let mode = fs::metadata(&control.socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut stream = connect(&pointed(&home)).unwrap();
        stream.write_all(b"{\"ask\":\"everything\"}\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(
            said,
            "{\"error\":\"ask for status, sync, conflicts, settle, peers, remove, log, restore or stop\"}\n"
        );

        let error = status(&home, Path::new("/place")).unwrap_err().to_string();
        assert!(error.contains("its engine is broken"), "{error}");

        let within = Duration::from_millis(50);
        let error = stop(&home, Path::new("/place"), within).unwrap_err();
        assert!(matches!(error, ControlError::StillEnding { .. }));
        assert!(behind.stopped.load(Ordering::Acquire));

        let socket = control.socket.clone();
        drop(control);
        assert!(!socket.exists());
        assert!(!is_running(&home));
    }
}
