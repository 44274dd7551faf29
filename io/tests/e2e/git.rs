//! A repository on the folder: the program that makes more names, renames, locks, links and small
//! files in a second than a person in a week, and that checks every byte afterwards.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::is_large;
use crate::common::program::Said;
use crate::common::tree::converge;
use crate::common::world::World;

/// How many commits the repository has.
const COMMITS: u32 = 2_000;

/// A user's git: no settings but its own.
struct Git<'a> {
    world: &'a World,
    home: PathBuf,
}

impl<'a> Git<'a> {
    fn new(world: &'a World) -> Self {
        let home = world.mkdir("git-home");
        let settings = "[user]\n name = Mo\n email = mo@example.org\n[init]\n defaultBranch = main\n\
                        [safe]\n directory = *\n[gc]\n auto = 0\n";
        fs::write(home.join(".gitconfig"), settings).unwrap();
        Self { world, home }
    }

    fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(dir)
            .args(args)
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    #[track_caller]
    fn run(&self, dir: &Path, args: &[&str]) -> Said {
        let said = self.world.run(&mut self.command(dir, args));
        assert_eq!(said.code, Some(0), "git {args:?}: {said:?}");
        said
    }

    /// Checks that a work tree is clean, that its history has so many commits, and that every
    /// object is whole.
    #[track_caller]
    fn is_sound(&self, dir: &Path, commits: u32) {
        assert_eq!(self.run(dir, &["status", "--porcelain"]).text(), "");
        let count = self.run(dir, &["rev-list", "--count", "HEAD"]);
        assert_eq!(count.text().trim(), commits.to_string());
        let said = self.run(dir, &["fsck", "--full", "--strict"]);
        assert!(!said.err.contains("error"), "{said:?}");
        let log = self.run(dir, &["log", "--format=%s"]);
        assert_eq!(log.text().lines().count().to_string(), commits.to_string());
    }

    /// Makes a bare repository: a few hundred files, and as many commits, each of which changes
    /// some of them.
    fn source(&self) -> PathBuf {
        let bare = self.world.mkdir("source.git");
        self.run(&bare, &["init", "-q", "--bare"]);
        let mut stream = String::new();
        for commit in 1..=COMMITS {
            let when = 1_700_000_000 + u64::from(commit) * 60;
            let said = format!("Change {commit}");
            write!(
                stream,
                "commit refs/heads/main\ncommitter Mo <mo@example.org> {when} +0000\ndata {}\n{said}\n",
                said.len()
            )
            .unwrap();
            for part in 0..3 {
                let file = (commit * 7 + part * 131) % 400;
                let text = format!("{commit} {part}\n").repeat(20 + (file as usize % 90));
                write!(
                    stream,
                    "M 100644 inline d{}/e{}/f{file}.txt\ndata {}\n{text}\n",
                    file % 9,
                    file % 4,
                    text.len()
                )
                .unwrap();
            }
        }
        let input = self.world.path("stream");
        fs::write(&input, stream).unwrap();
        let mut import = self.command(&bare, &["fast-import", "--quiet"]);
        let status = import
            .stdin(Stdio::from(File::open(&input).unwrap()))
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        bare
    }
}

/// Item by item what a person does: clone on one machine, work on the other, look again on the
/// first (S12, S13, S14, S19).
#[test]
fn a_repository_is_cloned_here_and_worked_on_there_s12_s13_s14_s19() {
    let world = World::taking_changes();
    let (_host, own) = world.share_mounted("dir");
    let joiner = world.join("mo", &_host.ticket());
    let git = Git::new(&world);
    let source = git.source();

    let rounds = if is_large() { 5 } else { 1 };
    for round in 0..rounds {
        let name = format!("repo{round}");
        let url = format!("file://{}", source.display());
        git.run(&joiner.mnt, &["clone", "-q", &url, &name]);
        let (here, there) = (joiner.path(&name), own.join(&name));
        git.is_sound(&here, COMMITS);
        converge(&here, &there);

        git.is_sound(&there, COMMITS);
        git.run(&there, &["switch", "-q", "-c", "other"]);
        fs::write(there.join("d1/new.txt"), "made there\n").unwrap();
        fs::remove_file(there.join("d1/e1/f1.txt")).unwrap();
        git.run(&there, &["mv", "d2/e2", "d2/moved"]);
        git.run(&there, &["add", "-A"]);
        git.run(&there, &["commit", "-q", "-m", "Made there"]);
        git.run(&there, &["gc", "-q", "--prune=now"]);
        git.is_sound(&there, COMMITS + 1);
        converge(&here, &there);

        git.is_sound(&here, COMMITS + 1);
        git.run(&here, &["switch", "-q", "main"]);
        git.run(&here, &["merge", "-q", "--no-ff", "-m", "Merged", "other"]);
        git.run(&here, &["reset", "-q", "--hard", "HEAD~1"]);
        git.run(&here, &["rebase", "-q", "other"]);
        git.run(&here, &["branch", "-q", "-D", "other"]);
        git.run(&here, &["repack", "-q", "-a", "-d"]);
        git.is_sound(&here, COMMITS + 1);
        converge(&here, &there);
        git.is_sound(&there, COMMITS + 1);
    }
}
