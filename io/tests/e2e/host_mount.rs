//! `share --mount`: the folder as its own machine sees it through a mount.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::until;
use crate::common::world::World;

/// What the folder holds is there when it is ready, and changes as the folder does. The store of
/// the mount is nobody's to see.
#[test]
fn a_host_sees_its_folder_through_its_own_mount() {
    let world = World::new();
    let dir = world.mkdir("dir");
    let size = 2 * CHUNK + 3;
    write_file(&dir.join("file"), 1, size);
    let (host, mnt) = world.share_mounted("dir");
    assert!(fs::read(mnt.join("file")).unwrap() == pattern(1, 0, size.try_into().unwrap()));
    write_file(&dir.join("new"), 2, 1_000);
    until("the new file is there", || {
        fs::read(mnt.join("new"))
            .is_ok_and(|bytes| bytes == pattern(2, 0, 1_000))
            .then_some(())
    });
    // It has a store, of which neither the mount nor a peer knows.
    assert!(dir.join(".tandem/mount/objects").is_dir());
    let names = |dir| {
        let listed = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = listed.map(|item| item.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&mnt), ["file", "new"]);
    let joiner = world.join("mo", &host.ticket());
    assert_eq!(names(&joiner.mnt), ["file", "new"]);
    assert!(fs::symlink_metadata(joiner.path(".tandem")).is_err());
    assert_eq!(host.status().links(), ["live", "live"]);
    assert_eq!(host.user.status(&mnt).links(), ["live"]);
}

/// U7, S27: it comes back with the same key after a clean end and after a kill; `stop` of either
/// place ends both.
#[test]
fn a_host_and_its_mount_begin_and_end_together() {
    let world = World::new();
    write_file(&world.mkdir("dir").join("file"), 1, 1_000);
    let (mut host, mnt) = world.share_mounted("dir");
    let is_there = || fs::read(mnt.join("file")).is_ok_and(|bytes| bytes == pattern(1, 0, 1_000));
    assert!(is_there());
    host.stop();
    assert_eq!(world.mounts(), []);
    host.start();
    assert!(is_there());
    host.kill();
    host.start();
    assert!(is_there());
    let stop = |place: &OsStr| host.user.run([OsStr::new("stop"), place]).ok();
    stop(mnt.as_os_str());
    host.ended();
    assert_eq!(world.mounts(), []);
    host.start();
    let stop = |place: &OsStr| host.user.run([OsStr::new("stop"), place]).ok();
    stop(host.dir.as_os_str());
    host.ended();
    assert_eq!(world.mounts(), []);
    // Whoever unmounts it ends it, too.
    host.start();
    world.run(Command::new("umount").arg(&mnt)).ok();
    host.ended();
    // Its store may be thrown away.
    fs::remove_dir_all(host.dir.join(".tandem/mount")).unwrap();
    host.start();
    assert!(is_there());
    host.stop();
    assert!(!host.err().contains("panicked"), "{}", host.err());
}

/// A mount point in the folder would show itself.
#[test]
fn a_mount_of_a_folder_in_itself_is_refused() {
    let world = World::new();
    let dir = world.mkdir("outer/dir");
    let user = world.user("user");
    for mnt in [
        dir.clone(),
        dir.join("mnt"),
        dir.join(".tandem/mnt"),
        world.path("outer"),
    ] {
        let args = [
            OsStr::new("share"),
            dir.as_os_str(),
            OsStr::new("--mount"),
            mnt.as_os_str(),
        ];
        let said = user.run(args).fails(1);
        assert!(said.contains("inside"), "{said}");
    }
    assert_eq!(world.mounts(), []);
}
