//! The watcher: what other programs do is heard, what we and readers do is not.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_core::event::Hint;
use tandem_io::disk::folder::Folder;
use tandem_io::payload::Payloads;
use tandem_io::sink::Sink;
use tandem_io::watch::{Pace, Watcher};
use tempfile::TempDir;

use crate::{Heard, listed, path};

#[test]
fn what_programs_do_is_heard() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir(dir.path().join(".tandem")).unwrap();
    fs::write(dir.path().join("a/b/old"), "1").unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let sink = Arc::clone(&heard) as Arc<dyn Sink>;
    let _watcher = Watcher::start(Arc::clone(&folder), sink).unwrap();
    let settled = |names: &[&[u8]]| Hint::Path {
        path: path(names),
        settled: true,
    };
    let subtree = |names: &[&[u8]]| Hint::Subtree { path: path(names) };

    fs::write(dir.path().join("new"), "x").unwrap();
    heard.hint(&settled(&[b"new"]));
    fs::write(dir.path().join("a/b/old"), "2").unwrap();
    heard.hint(&settled(&[b"a", b"b", b"old"]));
    fs::rename(dir.path().join("a/b/old"), dir.path().join("a/moved")).unwrap();
    heard.hint(&settled(&[b"a", b"b", b"old"]));
    heard.hint(&settled(&[b"a", b"moved"]));
    fs::set_permissions(dir.path().join("new"), fs::Permissions::from_mode(0o600)).unwrap();
    heard.hint(&settled(&[b"new"]));
    fs::remove_file(dir.path().join("new")).unwrap();
    heard.hint(&settled(&[b"new"]));

    // Writing without an end is heard as that.
    let open_file = fs::File::create(dir.path().join("growing")).unwrap();
    open_file.write_all_at(b"x", 0).unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"growing"]),
        settled: false,
    });
    drop(open_file);
    heard.hint(&settled(&[b"growing"]));

    // New directories are watched, whatever was in them already, and moved ones still.
    fs::create_dir_all(dir.path().join("c/d/e")).unwrap();
    heard.hint(&subtree(&[b"c"]));
    fs::write(dir.path().join("c/d/e/f"), "x").unwrap();
    heard.hint(&settled(&[b"c", b"d", b"e", b"f"]));
    fs::rename(dir.path().join("c"), dir.path().join("a/c2")).unwrap();
    heard.hint(&subtree(&[b"a", b"c2"]));
    fs::write(dir.path().join("a/c2/d/e/g"), "x").unwrap();
    heard.hint(&settled(&[b"a", b"c2", b"d", b"e", b"g"]));
    heard.forget_after_quiet();

    // Reading says nothing, ours or anyone's, and nor does what is ours.
    listed(folder.list(&[]));
    folder
        .read_chunk(
            &path(&[b"a", b"moved"]),
            0,
            9,
            tandem_core::action::Besides::Nothing,
            &Payloads::default(),
        )
        .unwrap();
    fs::read(dir.path().join("a/moved")).unwrap();
    fs::write(dir.path().join(".tandem/ours"), "x").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(heard.hints(), []);
}

#[test]
fn a_busy_writer_makes_few_hints() {
    let dir = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let sink = Arc::clone(&heard) as Arc<dyn Sink>;
    let pace = Pace {
        window: Duration::from_millis(500),
        ..Pace::default()
    };
    let _watcher = Watcher::start_at(folder, sink, pace).unwrap();
    let file = fs::File::create(dir.path().join("busy")).unwrap();
    let end = Instant::now() + Duration::from_millis(400);
    let mut writes = 0_u32;
    while Instant::now() < end {
        file.write_all_at(b"x", 0).unwrap();
        writes += 1;
    }
    heard.forget_after_quiet_counting(4);
    assert!(writes > 100);
}

#[test]
fn a_burst_makes_one_hint() {
    let dir = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let sink = Arc::clone(&heard) as Arc<dyn Sink>;
    // On a machine that is busy with other things, too, they come within one.
    let pace = Pace {
        window: Duration::from_secs(8),
        ..Pace::default()
    };
    let _watcher = Watcher::start_at(folder, sink, pace).unwrap();
    for number in 0..6_000 {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    heard.hint(&Hint::Subtree { path: vec![] });
    assert!(heard.hints().len() < 12_000);
}

#[test]
fn a_folder_renamed_while_it_is_watched_still_is() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("here")).unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(&dir.path().join("here")).unwrap());
    let _watcher = Watcher::start(folder, Arc::clone(&heard) as Arc<dyn Sink>).unwrap();
    fs::rename(dir.path().join("here"), dir.path().join("there")).unwrap();
    fs::create_dir(dir.path().join("there/sub")).unwrap();
    heard.hint(&Hint::Subtree {
        path: path(&[b"sub"]),
    });
    fs::write(dir.path().join("there/sub/file"), "x").unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"sub", b"file"]),
        settled: true,
    });
}

#[test]
fn a_link_out_of_the_folder_is_not_watched() {
    let dir = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let _watcher = Watcher::start(folder, Arc::clone(&heard) as Arc<dyn Sink>).unwrap();
    symlink(outside.path(), dir.path().join("out2")).unwrap();
    fs::rename(dir.path().join("out2"), dir.path().join("out3")).unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"out3"]),
        settled: true,
    });
    heard.forget_after_quiet();
    fs::write(outside.path().join("secret"), "x").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(heard.hints(), []);
}

#[test]
fn churning_directories_end_up_watched() {
    let dir = TempDir::new().unwrap();
    let heard = Arc::new(Heard::default());
    let folder = Arc::new(Folder::open(dir.path()).unwrap());
    let _watcher = Watcher::start(folder, Arc::clone(&heard) as Arc<dyn Sink>).unwrap();
    let at = |name: &str| dir.path().join(name);
    for round in 0..100 {
        fs::create_dir_all(at("x/y")).unwrap();
        fs::rename(at("x"), at("z")).unwrap();
        if round < 99 {
            fs::remove_dir_all(at("z")).unwrap();
        }
    }
    fs::rename(at("z"), at("x")).unwrap();
    heard.forget_after_quiet();
    fs::write(at("x/y/last"), "x").unwrap();
    heard.hint(&Hint::Path {
        path: path(&[b"x", b"y", b"last"]),
        settled: true,
    });
}
