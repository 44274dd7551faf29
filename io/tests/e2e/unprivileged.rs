//! A user who is not root: mounts by fusermount3, and leaves nothing mounted.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::program::{Running, SOON, Said};
use crate::common::until;
use crate::common::world::{User, World};

/// `nobody`, as everywhere.
const NOBODY: u32 = 65_534;

/// A user without rights, and a place of its own. Where the tests run without root, it is who
/// runs them.
struct Folk<'a> {
    world: &'a World,
    user: User,
    program: PathBuf,
    is_root: bool,
}

impl<'a> Folk<'a> {
    fn new(world: &'a World) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let user = world.user("nobody");
        // Somebody else has to reach what the tests built, and what lies in this world.
        let program = world.path("tandem");
        fs::copy(env!("CARGO_BIN_EXE_tandem"), &program).unwrap();
        let folk = Self {
            world,
            user,
            program,
            is_root,
        };
        for open in ["", "users"] {
            let path = world.path(open);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folk.give(&world.path("users/nobody"));
        folk
    }

    /// Gives a directory, and all in it, to the user.
    fn give(&self, path: &Path) {
        if !self.is_root {
            return;
        }
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.give(&entry.unwrap().path());
            }
        }
    }

    fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.world.mkdir(name);
        self.give(&path);
        path
    }

    fn command<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir("/");
        self.user.dress(&mut command);
        if self.is_root {
            // The groups of root go too.
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Said {
        self.world.run(&mut self.command(program, args))
    }

    #[track_caller]
    fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        let mut running = self.world.start(&mut self.command(&self.program, args));
        running.line(SOON);
        running
    }

    #[track_caller]
    fn join(&self, ticket: &[&OsStr], mnt: &Path) -> Running {
        let mut args = vec![OsStr::new("join")];
        args.extend(ticket);
        args.extend([mnt.as_os_str(), OsStr::new("--json")]);
        self.start(args)
    }
}

/// Tells whether users may open `/dev/fuse`.
fn may_mount() -> bool {
    let mode = fs::metadata("/dev/fuse").unwrap().permissions().mode();
    !rustix::process::geteuid().is_root() || mode & 0o006 == 0o006
}

#[test]
fn a_user_shares_joins_reads_and_leaves_nothing_mounted() {
    if !Path::new("/usr/bin/fusermount3").exists() && !Path::new("/bin/fusermount3").exists() {
        eprintln!("skipped: fusermount3 is not installed (apt install fuse3)");
        return;
    }
    let world = World::new();
    let folk = Folk::new(&world);
    let dir = folk.mkdir("dir");
    let home = folk.mkdir("home");
    write_file(&dir.join("film"), 4, 3 * CHUNK + 5);
    fs::write(dir.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    folk.give(&dir);
    let (mnt, ticket) = (home.join("mnt"), home.join("ticket"));
    let host = folk.start([
        OsStr::new("share"),
        dir.as_os_str(),
        OsStr::new("--listen"),
        OsStr::new("127.0.0.1:0"),
        OsStr::new("--ticket-file"),
        ticket.as_os_str(),
        OsStr::new("--json"),
    ]);
    if !may_mount() {
        // As a kernel makes it; a desktop's udev gives it to all. The helper refuses too.
        let said = folk.run(
            &folk.program,
            [OsStr::new("join"), ticket.as_os_str(), mnt.as_os_str()],
        );
        assert!(said.fails(1).contains("may not open /dev/fuse"));
        assert_eq!(world.mounts(), []);
        eprintln!("mounting skipped: users may not open /dev/fuse (chmod 666 /dev/fuse)");
        return;
    }
    let joiner = folk.join(&[ticket.as_os_str()], &mnt);
    let lines = world.mounts();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].point, mnt);

    let film = mnt.join("film");
    let read = until("the file is there", || {
        let said = folk.run("cat", [&film]);
        (said.code == Some(0)).then_some(said.out)
    });
    assert!(read == pattern(4, 0, read.len()) && read.len() as u64 == 3 * CHUNK + 5);
    // All is shown as the user's, with the modes as they are.
    let id = folk.run("id", ["-u"]).ok().text().trim().to_owned();
    let script = mnt.join("run.sh");
    let format = [OsStr::new("-c"), OsStr::new("%u %a"), script.as_os_str()];
    let stat = folk.run("stat", format).ok();
    assert_eq!(stat.text().trim(), format!("{id} 750"));
    if folk.is_root {
        let error = fs::read(&film).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(13),
            "the mount is the user's alone"
        );
    }

    // Killed, it leaves a stale mount behind, which the next start clears.
    joiner.kill();
    let joiner = folk.join(&[], &mnt);
    assert_eq!(world.mounts().len(), 1);
    assert!(folk.run("cat", [&film]).ok().out == read);
    let program = folk.program.to_str().unwrap();
    let stop = [OsStr::new("stop"), mnt.as_os_str()];
    folk.run(program, stop).ok();
    let mut joiner = joiner;
    assert_eq!(joiner.join(SOON).code(), Some(0), "{}", joiner.err());
    assert_eq!(world.mounts(), []);

    let joiner = folk.join(&[], &mnt);
    assert_eq!(joiner.stop().code(), Some(0));
    assert_eq!(world.mounts(), []);
    assert_eq!(host.stop().code(), Some(0));
}
