//! Files that leave a name of the shared folder, and are seen again under one.

use std::collections::BTreeSet;

use tandem_core::engine::Last;
use tandem_core::ids::NodeId;
use tandem_core::time::Duration;
use tandem_core::tree::register::Register;
use tandem_core::version::VersionVector;

use crate::app::secs;
use crate::bo::Bo;
use crate::placing::{ada, names, tree};
use crate::stage::{Held, Stage};

fn hinted(stage: &mut Stage, path: &str) {
    stage.hint(path);
    stage.wait(secs(2));
}

fn shown(stage: &mut Stage) -> Vec<String> {
    stage.shown("ada").into_iter().collect()
}

/// The old name of a moved file is looked at first, and twice; the new one much later. It was a
/// delete and a new file, and a peer's edit of the meantime went to the deleted one.
#[test]
fn a_moved_file_that_is_seen_late_is_who_it_was() {
    let mut stage = ada(&[("old", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("old");
    stage.side("ada").files.rename("old", "new");
    hinted(&mut stage, "old");
    assert_eq!(shown(&mut stage), Vec::<String>::new());
    hinted(&mut stage, "new");
    bo.listen(&mut stage);
    assert_eq!(bo.find("new"), node);
    assert_eq!(shown(&mut stage), ["/new"]);
    assert_eq!(stage.side("ada").faults, []);
}

/// It was shown with the time that it had had under its old name.
#[test]
fn a_symlink_that_is_seen_late_shows_what_it_is_now() {
    let mut stage = ada(&[]);
    stage.side("ada").files.symlink("old", "target");
    hinted(&mut stage, "old");
    stage.side("ada").files.rename("old", "new");
    stage.side("ada").files.touch("new");
    hinted(&mut stage, "old");
    hinted(&mut stage, "new");
    let mtime = stage.side("ada").files.mtime("new");
    let registers = stage.side("ada").registers();
    let versions = registers.iter().filter_map(|register| match register {
        Register::Content(content) => Some((content.stamp, content.mtime)),
        Register::Attrs(_) | Register::Entry(_) | Register::Digest(_) => None,
    });
    assert_eq!(versions.max().map(|(_, mtime)| mtime), Some(mtime));
    assert_eq!(shown(&mut stage), ["/new"]);
}

/// Whatever is told of a file of which no name counts brings back all that were deleted: of one
/// that left and came back, a name came back with it that was gone for good.
#[test]
fn a_file_that_comes_back_does_not_bring_the_names_that_were_deleted_before() {
    let mut stage = ada(&[("one", b"first")]);
    stage.side("ada").files.link("one", "two");
    hinted(&mut stage, "two");
    assert_eq!(shown(&mut stage), ["/one", "/two"]);
    stage.side("ada").files.remove("one");
    hinted(&mut stage, "one");
    stage.side("ada").files.rename("two", "elsewhere");
    hinted(&mut stage, "two");
    assert_eq!(shown(&mut stage), Vec::<String>::new());
    stage.side("ada").files.rename("elsewhere", "two");
    hinted(&mut stage, "two");
    assert_eq!(shown(&mut stage), ["/two"]);
    assert_eq!(names(&mut stage), ["two"]);
}

/// Of a file with two names, bo ends one and somebody in the folder the other, before what bo did
/// is done here. Each of them left it a name: it is not ended by the two.
#[test]
fn a_file_whose_two_names_are_ended_by_two_stands_under_one() {
    let mut stage = ada(&[("one", b"first")]);
    stage.side("ada").files.link("one", "two");
    hinted(&mut stage, "two");
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("one");
    assert_ne!(node, NodeId::ROOT);
    stage.side("ada").files.remove("two");
    stage.hint("two");
    stage.hold("ada", Held::Disk);
    // It is looked at a second time.
    stage.wait(Duration::from_millis(100));
    bo.remove(node, "one");
    bo.tell(&mut stage);
    assert!(stage.let_one_by("ada"));
    stage.release("ada", Held::Disk);
    bo.attend(&mut stage);
    assert_eq!(names(&mut stage), ["one"]);
    assert_eq!(shown(&mut stage), ["/one"]);
    assert_eq!(stage.side("ada").faults, []);
}

/// The same, and a third one has written to the file meanwhile, which brings both names back: what the
/// two left each other went all the same.
#[test]
fn what_two_left_under_one_name_each_is_kept_beside_what_a_third_wrote() {
    let mut stage = ada(&[("one", b"first")]);
    stage.side("ada").files.link("one", "two");
    hinted(&mut stage, "two");
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("one");
    stage.side("ada").files.remove("two");
    hinted(&mut stage, "two");
    bo.remove(node, "one");
    bo.write_on(node, VersionVector::new(), b"third");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let contents: BTreeSet<_> = tree(&mut stage).into_values().collect();
    let kept = [&b"first"[..], b"third"];
    assert_eq!(contents, kept.map(<[u8]>::to_vec).into());
    assert_eq!(stage.side("ada").faults, []);
}

/// Bo makes a directory and renames it, and ada is killed when it was made in her folder and not yet on
/// record. It was taken for one that a program made, and what lay in it for moved there: bo's rename of
/// all of that was undone (P2, S26).
#[test]
fn a_directory_that_was_made_before_a_kill_and_renamed_since_is_known() {
    let mut stage = ada(&[("one", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    stage.hold("ada", Held::Disk);
    let dir = bo.directory(NodeId::ROOT, "d");
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(100));
    assert_eq!(
        names(&mut stage),
        ["d/", "one"],
        "it is made, and ada not told"
    );
    bo.rename(dir, "d", NodeId::ROOT, "e");
    bo.tell(&mut stage);
    stage.wait(Duration::from_millis(100));
    stage.kill("ada");
    stage.release("ada", Held::Disk);
    stage.side("ada").files.rename("one", "d/one");
    stage.start("ada", Last::Killed);
    bo.connect(&mut stage);
    stage.wait(secs(5));
    bo.listen(&mut stage);
    assert_eq!(names(&mut stage), ["e/", "e/one"]);
    assert_eq!(shown(&mut stage), ["/e", "/e/one"]);
    assert_eq!(bo.find("e"), dir);
    assert_eq!(stage.side("ada").faults, []);
}

/// Bo renames a file and then removes it, or renames it once more, and ada is killed when she had moved it
/// and not yet put that on record. What she had done was taken for a program's move: the file was there
/// again, under the name that it had in between (P2, S26).
#[test]
fn a_file_that_was_moved_before_a_kill_and_renamed_or_removed_since_is_known() {
    for is_removed in [true, false] {
        let mut stage = ada(&[("a", b"first")]);
        let mut bo = Bo::join(&mut stage);
        bo.listen(&mut stage);
        let node = bo.find("a");
        stage.hold("ada", Held::Disk);
        bo.rename(node, "a", NodeId::ROOT, "b");
        bo.tell(&mut stage);
        stage.wait(Duration::from_millis(100));
        assert_eq!(names(&mut stage), ["b"], "it is moved, and ada not told");
        bo.rename(node, "b", NodeId::ROOT, "c");
        bo.rename(node, "c", NodeId::ROOT, "d");
        if is_removed {
            bo.remove(node, "d");
        }
        bo.tell(&mut stage);
        stage.wait(Duration::from_millis(100));
        stage.kill("ada");
        stage.release("ada", Held::Disk);
        stage.start("ada", Last::Killed);
        stage.wait(secs(5));
        let left: &[&str] = if is_removed { &[] } else { &["d"] };
        assert_eq!(names(&mut stage), left);
        let seen: Vec<String> = left.iter().map(|name| format!("/{name}")).collect();
        assert_eq!(shown(&mut stage), seen);
        bo.connect(&mut stage);
        bo.listen(&mut stage);
        stage.wait(secs(5));
        assert_eq!(names(&mut stage), left);
        assert_eq!(stage.side("ada").faults, []);
    }
}

/// While ada was away a file was moved, and another one took its name: seen first, that was taken for an
/// edit of it, and what was moved for a new file.
#[test]
fn a_file_that_was_moved_and_another_in_its_place_are_told_apart() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("a");
    stage.kill("ada");
    stage.side("ada").files.rename("a", "b");
    stage.side("ada").files.write("a", b"another");
    stage.start("ada", Last::Killed);
    bo.connect(&mut stage);
    stage.wait(secs(5));
    bo.listen(&mut stage);
    assert_eq!(bo.find("b"), node);
    assert_ne!(bo.find("a"), node);
}
