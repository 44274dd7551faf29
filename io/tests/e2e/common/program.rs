//! Programs that a test runs: bounded in time, killed when the test ends, their words kept.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::watchdog::Charges;

/// How long a program may take that only asks something. Generous: two cores may be shared by
/// many tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Said {
    /// Returns what it wrote to its standard output, which must be text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("the output is UTF-8")
    }

    /// Checks that it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Checks that it failed as a command should: with this code, one line that says what is
    /// wrong, and no panic. Returns the line.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        let lines: Vec<&str> = self.err.lines().collect();
        assert!(
            code == 2 || lines.len() == 1,
            "one line was wanted: {self:?}"
        );
        assert!(!lines.is_empty(), "nothing was said: {self:?}");
        lines.join("\n")
    }
}

/// Runs a command to its end; one that takes longer than `bound` is killed, and the test fails.
#[track_caller]
pub(crate) fn run(charges: &Charges, command: &mut Command, bound: Duration) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    charges.started(child.id());
    let status = wait(&mut child, bound);
    if status.is_none() {
        child.kill().unwrap();
        // A program that waits on a mount may not even hear that; the watchdog frees it.
        child.wait().unwrap();
    }
    charges.ended(child.id());
    let err = String::from_utf8_lossy(&fs::read(&err).unwrap()).into_owned();
    let status = status.unwrap_or_else(|| panic!("{command:?} took over {bound:?}: {err}"));
    Said {
        code: status.code(),
        out: fs::read(&out).unwrap(),
        err,
    }
}

/// Waits for a child, polling: nothing in std waits with a bound.
fn wait(child: &mut Child, bound: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if begun.elapsed() > bound {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A program that runs beside the test.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    charges: Arc<Charges>,
    lines: Receiver<String>,
    err: PathBuf,
}

impl Running {
    /// Starts it, with its standard error appended to the file `err`.
    #[track_caller]
    pub(crate) fn start(charges: &Arc<Charges>, command: &mut Command, err: &Path) -> Self {
        let log = File::options().create(true).append(true).open(err).unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        charges.started(child.id());
        let out = child.stdout.take().expect("it was piped");
        let (said, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            charges: Arc::clone(charges),
            lines,
            err: err.to_owned(),
        }
    }

    /// Waits for the next line of its standard output.
    #[track_caller]
    pub(crate) fn line(&mut self, bound: Duration) -> String {
        match self.lines.recv_timeout(bound) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("nothing was said within {bound:?}: {}", self.err())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = wait(&mut self.child, SOON);
                panic!("it ended ({status:?}) before it was ready: {}", self.err())
            }
        }
    }

    /// Returns whether any line of its standard output so far contains `word`.
    pub(crate) fn line_said(&mut self, word: &str) -> bool {
        self.lines.try_iter().any(|line| line.contains(word))
    }

    /// Returns what it wrote to its standard error.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Tells whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.charges.note_mounts();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.charges.ended(self.child.id());
    }

    /// Asks it to stop, with SIGTERM, and waits.
    #[track_caller]
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.join(SOON)
    }

    /// Asks it to stop, with SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn join(&mut self, bound: Duration) -> ExitStatus {
        let status = wait(&mut self.child, bound);
        let status = status.unwrap_or_else(|| panic!("still running: {}", self.err()));
        self.charges.ended(self.child.id());
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.charges.note_mounts();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.charges.ended(self.child.id());
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.err.display(), self.err());
        }
    }
}
