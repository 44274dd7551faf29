//! A test's own world: a directory, a watchdog, and peers that know nothing of each other but
//! what goes over the wire.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::picture::Picture;
use super::program::{Running, SOON, Said, run};
use super::proxy::Proxy;
use super::until;
use super::watchdog::{Charges, MountLine, Watchdog, mounts_below};

/// How long a test may take before its mounts are aborted.
const BOUND: Duration = Duration::from_secs(180);

/// And where the long form was asked for: it may run beside builds, on two cores.
const BOUND_LARGE: Duration = Duration::from_secs(1_500);

/// How long one of its commands may take: less than all of it.
const COMMAND_LARGE: Duration = Duration::from_secs(900);

/// A test's world. Fields are dropped in order: first whatever runs, then the directory.
#[derive(Debug)]
pub(crate) struct World {
    watchdog: Watchdog,
    dir: TempDir,
    extra: Vec<(String, String)>,
}

/// A user on a machine: where its settings and sockets lie, and the environment it sets.
#[derive(Clone, Debug)]
pub(crate) struct User {
    home: PathBuf,
    extra: Vec<(String, String)>,
    charges: Arc<Charges>,
}

/// A peer that shares a folder.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) user: User,
    pub(crate) dir: PathBuf,
    ticket_file: PathBuf,
    listen: String,
    /// What its command line has besides.
    args: Vec<OsString>,
    running: Option<Running>,
}

/// A peer that has joined and mounted.
#[derive(Debug)]
pub(crate) struct Joiner {
    pub(crate) user: User,
    pub(crate) mnt: PathBuf,
    pub(crate) store: PathBuf,
    running: Option<Running>,
}

impl World {
    /// Makes an empty one.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("tandem-e2e-")
            .tempdir()
            .unwrap();
        let bound = if super::is_large() {
            BOUND_LARGE
        } else {
            BOUND
        };
        let root = dir.path().canonicalize().unwrap();
        Self {
            watchdog: Watchdog::start(&root, bound),
            dir,
            extra: Vec::new(),
        }
    }

    /// Returns one in which mounts take changes.
    pub(crate) fn taking_changes() -> Self {
        let extra = [("TANDEM_WRITING_PREVIEW".to_owned(), "1".to_owned())].into();
        Self {
            extra,
            ..Self::new()
        }
    }

    /// Returns a path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Makes a directory in it.
    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Returns a user who has never been here.
    pub(crate) fn user(&self, name: &str) -> User {
        let home = self.mkdir(&format!("users/{name}"));
        for dir in ["run", "data", "state", "config"] {
            fs::create_dir_all(home.join(dir)).unwrap();
        }
        User {
            home,
            extra: self.extra.clone(),
            charges: self.watchdog.charges(),
        }
    }

    /// Runs some other command to its end.
    #[track_caller]
    pub(crate) fn run(&self, command: &mut Command) -> Said {
        let bound = if super::is_large() {
            COMMAND_LARGE
        } else {
            BOUND
        };
        run(&self.watchdog.charges(), command.env("LC_ALL", "C"), bound)
    }

    /// Starts some other program beside the test.
    #[track_caller]
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        Running::start(&self.watchdog.charges(), command, &self.path("other.err"))
    }

    /// Shares a directory of this world, made if it is missing.
    #[track_caller]
    pub(crate) fn share(&self, name: &str) -> Host {
        self.share_with(name, &[])
    }

    /// The same, with these arguments besides.
    #[track_caller]
    pub(crate) fn share_with(&self, name: &str, args: &[&OsStr]) -> Host {
        let dir = self.mkdir(name);
        let mut host = Host {
            user: self.user(&format!("{name}-host")),
            dir,
            ticket_file: self.path(&format!("{name}.ticket")),
            listen: format!("127.0.0.1:{}", free_port()),
            args: args.iter().map(OsString::from).collect(),
            running: None,
        };
        host.start();
        host
    }

    /// Shares a directory of this world and mounts it on the same machine, at `NAME-own`.
    #[track_caller]
    pub(crate) fn share_mounted(&self, name: &str) -> (Host, PathBuf) {
        let mnt = self.path(&format!("{name}-own"));
        let host = self.share_with(name, &[OsStr::new("--mount"), mnt.as_os_str()]);
        (host, mnt)
    }

    /// Shares a directory behind a proxy: the ticket names the proxy's address, since a first run
    /// wrote it there. The identity stays from that run.
    #[track_caller]
    pub(crate) fn share_behind(&self, name: &str) -> (Host, Proxy) {
        let mut host = self.share(name);
        host.stop();
        let proxy = Proxy::start(host.address());
        let ticket = host.ticket_file.clone();
        host.ticket_file = self.path(&format!("{name}.direct-ticket"));
        host.listen = format!("127.0.0.1:{}", free_port());
        host.start();
        host.ticket_file = ticket;
        proxy.lead_to(Some(host.address()));
        (host, proxy)
    }

    /// Joins with a ticket, as a user of this name, and mounts at `NAME-mnt`.
    #[track_caller]
    pub(crate) fn join(&self, name: &str, ticket: &str) -> Joiner {
        self.join_as(self.user(name), name, ticket)
    }

    /// The same, as a user with settings of its own.
    #[track_caller]
    pub(crate) fn join_as(&self, user: User, name: &str, ticket: &str) -> Joiner {
        let mut joiner = Joiner {
            user,
            mnt: self.path(&format!("{name}-mnt")),
            store: self.path(&format!("{name}-store")),
            running: None,
        };
        joiner.start(&[ticket]);
        joiner
    }

    /// Mounts a store that is there, at this place, as a user of this name.
    #[track_caller]
    pub(crate) fn join_from(&self, name: &str, store: &Path, mnt: &Path) -> Joiner {
        let mut joiner = Joiner {
            user: self.user(name),
            mnt: mnt.to_owned(),
            store: store.to_owned(),
            running: None,
        };
        joiner.restart();
        joiner
    }

    /// Returns the mounts of this world.
    pub(crate) fn mounts(&self) -> Vec<MountLine> {
        mounts_below(&self.path(""))
    }
}

impl User {
    /// Sets a variable for whatever this user starts from here on.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns a command line of `tandem`.
    pub(crate) fn tandem<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(args);
        self.dress(&mut command);
        command
    }

    /// Gives a command this user's environment.
    pub(crate) fn dress(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TANDEM_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", self.home.join("run"))
            .env("XDG_DATA_HOME", self.home.join("data"))
            .env("XDG_STATE_HOME", self.home.join("state"))
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .envs(self.extra.iter().map(|(name, value)| (name, value)));
    }

    /// Runs `tandem` to its end.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        run(&self.charges, &mut self.tandem(args), SOON)
    }

    /// Starts `tandem` beside the test.
    #[track_caller]
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        Running::start(
            &self.charges,
            &mut self.tandem(args),
            &self.home.join("err"),
        )
    }

    #[track_caller]
    pub(crate) fn status(&self, place: &Path) -> Picture {
        let args = [
            OsStr::new("status"),
            place.as_os_str(),
            OsStr::new("--json"),
        ];
        Picture::parse(self.run(args).ok().text())
    }
}

impl Host {
    /// Starts it, again with the same identity if it ran before.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same, with further arguments for once.
    #[track_caller]
    pub(crate) fn start_with(&mut self, further: &[&OsStr]) {
        assert!(self.running.is_none(), "it runs");
        let mut args = vec![
            OsStr::new("share"),
            self.dir.as_os_str(),
            OsStr::new("--listen"),
            OsStr::new(&self.listen),
            OsStr::new("--ticket-file"),
            self.ticket_file.as_os_str(),
            OsStr::new("--json"),
        ];
        args.extend(self.args.iter().map(OsString::as_os_str));
        args.extend(further);
        let mut running = self.user.start(args);
        ready(&running.line(SOON));
        self.running = Some(running);
    }

    /// Returns its ticket.
    pub(crate) fn ticket(&self) -> String {
        fs::read_to_string(&self.ticket_file)
            .expect("share writes the ticket")
            .trim()
            .to_owned()
    }

    /// Returns the address at which it listens, which was chosen before it started.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen.parse().expect("an address")
    }

    /// Lets it listen at `address` from its next start on.
    pub(crate) fn listen_at(&mut self, address: SocketAddr) {
        self.listen = address.to_string();
    }

    /// Returns its status.
    #[track_caller]
    pub(crate) fn status(&self) -> Picture {
        self.user.status(&self.dir)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// Waits until it has ended well by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) {
        let status = self.halted();
        assert_eq!(status.code(), Some(0), "{}", self.err());
    }

    /// Waits until it has ended by itself, and returns how.
    #[track_caller]
    pub(crate) fn halted(&mut self) -> ExitStatus {
        self.running.take().expect("it ran").join(SOON)
    }

    /// Stops it by SIGTERM.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let status = self.running.take().expect("it runs").stop();
        assert_eq!(
            status.code(),
            Some(0),
            "share ended with {status}: {}",
            self.err()
        );
    }

    /// Returns what it has said so far.
    pub(crate) fn err(&self) -> String {
        fs::read_to_string(self.user.home.join("err")).unwrap_or_default()
    }
}

impl Joiner {
    /// Starts it with these arguments before its mount point, and waits until the folder is known
    /// in full.
    #[track_caller]
    pub(crate) fn start(&mut self, before: &[&str]) {
        assert!(self.running.is_none(), "it runs");
        let mut args = vec![OsStr::new("join")];
        args.extend(before.iter().map(OsStr::new));
        args.extend([
            self.mnt.as_os_str(),
            OsStr::new("--store"),
            self.store.as_os_str(),
            OsStr::new("--json"),
        ]);
        let mut running = self.user.start(args);
        ready(&running.line(SOON));
        self.running = Some(running);
        until("the folder is known", || {
            self.status().flag("complete").then_some(())
        });
    }

    /// Starts it again, without a ticket.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.start(&[]);
    }

    /// Returns its status.
    #[track_caller]
    pub(crate) fn status(&self) -> Picture {
        self.user.status(&self.mnt)
    }

    /// Returns a path on its mount.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mnt.join(name)
    }

    /// Waits until the mount shows a file of this size.
    #[track_caller]
    pub(crate) fn sees(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        until(&format!("{name} has {size} bytes"), || {
            fs::symlink_metadata(&path)
                .is_ok_and(|seen| seen.len() == size)
                .then_some(())
        });
        path
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// Stops it by SIGTERM, whether it can end well or not; it says so.
    #[track_caller]
    pub(crate) fn end(&mut self) {
        let status = self.running.take().expect("it runs").stop();
        assert_eq!(
            status.code() == Some(0),
            !self.err().contains("error:"),
            "{}",
            self.err()
        );
        assert!(!self.err().contains("panicked"), "{}", self.err());
    }

    /// Waits until it has ended well by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) {
        let status = self.running.take().expect("it ran").join(SOON);
        assert_eq!(
            status.code(),
            Some(0),
            "join ended with {status}: {}",
            self.err()
        );
    }

    /// Stops it by SIGTERM.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let status = self.running.take().expect("it runs").stop();
        assert_eq!(
            status.code(),
            Some(0),
            "join ended with {status}: {}",
            self.err()
        );
    }

    /// Returns what it has said so far.
    pub(crate) fn err(&self) -> String {
        fs::read_to_string(self.user.home.join("err")).unwrap_or_default()
    }
}

/// Checks the line that a program prints when it is ready.
#[track_caller]
fn ready(line: &str) -> Value {
    let value: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    assert!(value.is_object(), "an object was wanted: {line}");
    value
}

/// Returns a port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
