//! `tandem demo [DIR]`: two peers on this machine, in processes of their own, with the commands
//! that anybody would use.
//!
//! Law: what the demo made it removes, or the next one does if it was killed; what it was given it
//! does not touch, but for the `.tandem` that sharing puts there (which stays, if it was killed).

mod stage;

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::CliError;
use super::say::{Say, bytes_text, shell_word};
use crate::node::home::DIRECTORY;
use stage::{Stage, making, sweep};

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The folder to share [default: a small tree with a file of 256 MiB]
    dir: Option<PathBuf>,
}

/// How long a peer may take to be ready: a large folder is scanned first.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long a peer may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(20);

/// Has a peer stop when its standard input ends.
const END_WITH_INPUT: &str = "--end-with-input";

/// The size of the large file that is made, in bytes.
const LARGE: u64 = 256 * 1024 * 1024;

impl Demo {
    pub(super) fn run(self, say: &Say) -> Result<(), CliError> {
        let stop = hear_signals()?;
        let given = match &self.dir {
            Some(dir) => Some(dir.canonicalize().map_err(|why| {
                CliError::Said(format!(
                    "can't share {}: {why}; name a directory that is there",
                    dir.display()
                ))
            })?),
            None => None,
        };
        sweep(given.as_deref(), say);
        let stage = Stage::make()?;
        let folder = match given {
            Some(given) => given,
            None => {
                say.note(format_args!(
                    "making a folder with a file of {} …",
                    bytes_text(LARGE)
                ));
                stage.make_folder().map_err(making)?
            }
        };
        let had_home = folder.join(DIRECTORY).exists();
        let played = play(&stage, &folder, &stop, say);
        if !had_home && self.dir.is_some() {
            // Made by the sharing above; a folder that was shared before keeps its own.
            let _ = fs::remove_dir_all(folder.join(DIRECTORY));
        }
        drop(stage);
        played
    }
}

/// Starts both peers, says what to try, and waits for the end.
fn play(stage: &Stage, folder: &Path, stop: &Receiver<()>, say: &Say) -> Result<(), CliError> {
    let ticket = stage.path("ticket");
    let mnt = stage.mount();
    let mut host = Peer::start(
        stage,
        "the host",
        &[
            "share".as_ref(),
            END_WITH_INPUT.as_ref(),
            // The folder's own may be somebody's, or a demo's that was killed.
            "--passing-ticket".as_ref(),
            folder.as_os_str(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--name".as_ref(),
            "host".as_ref(),
            "--ticket-file".as_ref(),
            ticket.as_os_str(),
        ],
    )?;
    host.await_ready(stop)?;
    let mut guest = Peer::start(
        stage,
        "the joiner",
        &[
            "join".as_ref(),
            END_WITH_INPUT.as_ref(),
            ticket.as_os_str(),
            mnt.as_os_str(),
            "--store".as_ref(),
            stage.store().as_os_str(),
            "--name".as_ref(),
            "joiner".as_ref(),
        ],
    )?;
    guest.await_ready(stop)?;
    say.line(format_args!("ready: {}", mnt.display()))?;
    say.bytes(advice(stage, folder, &mnt).as_bytes())?;
    loop {
        match stop.recv_timeout(Duration::from_millis(200)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if host.has_ended() || guest.has_ended() {
            return Err(CliError::Said(
                "one of the two peers has ended; what it said stands above".to_owned(),
            ));
        }
    }
    say.note("stopping, and cleaning up …");
    // The mount first, while its host is there.
    guest.end()?;
    host.end()
}

/// What to try, with the paths of this demo.
fn advice(stage: &Stage, folder: &Path, mnt: &Path) -> String {
    let (dir, mnt) = (shell_word(folder), shell_word(mnt));
    let large = if folder.join("large.bin").is_file() {
        format!(
            "  head -c 4096 {mnt}/large.bin | sha256sum    # fetches one piece of 512 KiB\n  \
               time cat {mnt}/large.bin > /dev/null         # fetches the rest; again: from here\n"
        )
    } else {
        String::new()
    };
    format!(
        "\n{dir} is shared by one peer and mounted by another at {mnt}. Try, in another terminal:\n\n  \
           ls -lR {mnt}\n{large}  \
           echo hello > {dir}/new.txt; sleep 1; cat {mnt}/new.txt    # a change shows by itself\n  \
           diff -r --no-dereference -x .tandem {dir} {mnt}\n  \
           XDG_DATA_HOME={data} {program} status {mnt}\n\n\
           Ctrl-C ends it and removes what the demo made.\n",
        data = shell_word(&stage.path("data")),
        program = shell_word(&std::env::current_exe().unwrap_or_else(|_| "tandem".into())),
    )
}

/// A peer in a process of its own.
struct Peer {
    what: &'static str,
    child: Child,
    lines: Receiver<String>,
    /// Held, so that the peer ends with this process, whatever ends it.
    _input: Option<ChildStdin>,
}

impl Peer {
    fn start(
        stage: &Stage,
        what: &'static str,
        arguments: &[&std::ffi::OsStr],
    ) -> Result<Self, CliError> {
        let failed =
            |why: io::Error| CliError::Said(format!("can't start {what}: {why}; try again"));
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(arguments)
            // Nothing of the user's own peers is touched.
            .env("XDG_DATA_HOME", stage.path("data"))
            .env("XDG_STATE_HOME", stage.path("state"))
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for this process, which ends them in order.
            .process_group_of_its_own()
            .spawn()
            .map_err(failed)?;
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            what,
            _input: child.stdin.take(),
            child,
            lines,
        })
    }

    fn await_ready(&mut self, stop: &Receiver<()>) -> Result<(), CliError> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) if line.starts_with("ready:") => return Ok(()),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(CliError::Said(format!(
                        "{} did not start; what it said stands above",
                        self.what
                    )));
                }
            }
            if stop.try_recv().is_ok() {
                return Err(CliError::Said("stopped before it was ready".to_owned()));
            }
        }
        Err(CliError::Said(format!(
            "{} was not ready within {} s; try a smaller folder",
            self.what,
            READY_WITHIN.as_secs()
        )))
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits for that.
    fn end(mut self) -> Result<(), CliError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), CliError> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if !self.has_ended()
            && let Some(pid) = pid
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + END_WITHIN;
        while !self.has_ended() {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(CliError::Said(format!(
                    "{} did not end within {} s and was killed",
                    self.what,
                    END_WITHIN.as_secs()
                )));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Only where an error ends the demo, which is told already.
        let _ = self.finish();
    }
}

/// A process group of one's own, so that Ctrl-C does not reach it.
trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// Turns SIGINT and SIGTERM into a word on a channel.
fn hear_signals() -> Result<Receiver<()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed =
        |why: io::Error| CliError::Said(format!("can't listen for Ctrl-C: {why}; try again"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (sender, stop) = channel();
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let heard = |kind| signal(kind).map_err(failed);
        (
            heard(SignalKind::interrupt())?,
            heard(SignalKind::terminate())?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    biased;
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
    });
    Ok(stop)
}
