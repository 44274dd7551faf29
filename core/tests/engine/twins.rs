//! What two have made apart, equal and under one name, is one for whatever is done to it.

use tandem_core::edit::{Edit, Make, Making, RenameHow};
use tandem_core::engine::Last;
use tandem_core::event::FsCall;
use tandem_core::ids::{Ino, NodeId};
use tandem_core::time::WallTime;

use crate::app::{both, close, create, open, read, secs, written};
use crate::bo::Bo;
use crate::placing::{ada, tree};
use crate::stage::Stage;

/// Ada and bo have made the same apart: an empty file, and a directory with a file each. Bo is played
/// by hand.
fn hosted() -> Stage {
    let mut stage = ada(&[("a", b"")]);
    stage.side("ada").files.mkdir("d");
    stage.side("ada").files.write("d/ada's", b"1");
    stage.hint("d");
    stage.wait(secs(3));
    let mut bo = Bo::join(&mut stage);
    bo.file(NodeId::ROOT, "a", b"");
    let d = bo.directory(NodeId::ROOT, "d");
    bo.file(d, "bo's", b"2");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(shown(&mut stage), ["a", "d/", "d/ada's", "d/bo's"]);
    stage
}

/// The same with bo as a replica of his own.
fn joined() -> Stage {
    let mut stage = both();
    stage.mute("ada");
    stage.side("ada").files.remove("photo");
    stage.side("ada").files.write("a", b"");
    stage.side("ada").files.mkdir("d");
    stage.side("ada").files.write("d/ada's", b"1");
    for path in ["photo", "a", "d"] {
        stage.hint(path);
    }
    let (_, fh) = create(&mut stage, "a");
    close(&mut stage, fh);
    let (parent, name) = (Ino::ROOT, b"d".to_vec());
    let making = Making {
        mode: 0o755,
        uid: 1000,
        gid: 1000,
        wall: WallTime {
            secs: 100,
            nanos: 0,
        },
    };
    let what = Make::Directory;
    edit(
        &mut stage,
        Edit::Make {
            parent,
            name,
            what,
            making,
        },
    );
    stage.unmute("ada");
    stage.wait(secs(25));
    assert_eq!(shown(&mut stage), ["a", "d/", "d/ada's"]);
    stage
}

fn shown(stage: &mut Stage) -> Vec<String> {
    tree(stage).into_keys().collect()
}

fn edit(stage: &mut Stage, edit: Edit) {
    stage.call("bo", FsCall::Edit(edit));
    stage.wait(secs(5));
}

fn rename(stage: &mut Stage, from: &str, to: &str) {
    let (parent, name) = (Ino::ROOT, from.into());
    let (to_parent, to_name) = (Ino::ROOT, to.into());
    let how = RenameHow::Replace;
    edit(
        stage,
        Edit::Rename {
            parent,
            name,
            to_parent,
            to_name,
            how,
        },
    );
}

/// One was moved, and the other stood where it had been.
#[test]
fn what_is_moved_in_the_folder_is_there_no_more() {
    let mut stage = hosted();
    stage.side("ada").files.rename("a", "b");
    stage.side("ada").files.rename("d", "e");
    for path in ["a", "b", "d", "e"] {
        stage.hint(path);
    }
    stage.wait(secs(5));
    assert_eq!(shown(&mut stage), ["b", "e/", "e/ada's", "e/bo's"]);
}

#[test]
fn what_is_moved_on_a_mount_is_there_no_more() {
    let mut stage = joined();
    rename(&mut stage, "a", "b");
    rename(&mut stage, "d", "e");
    assert_eq!(shown(&mut stage), ["b", "e/", "e/ada's"]);
}

/// One was removed, and the other came to light.
#[test]
fn what_is_removed_in_the_folder_stays_removed() {
    let mut stage = hosted();
    for path in ["a", "d/ada's", "d/bo's", "d"] {
        stage.side("ada").files.remove(path);
        stage.hint(path);
    }
    stage.wait(secs(5));
    assert_eq!(shown(&mut stage), [""; 0]);
}

/// One was written to, and the other, which held what it had been, was a conflict copy.
#[test]
fn what_is_written_to_in_the_folder_has_no_conflict_copy() {
    let mut stage = hosted();
    stage.side("ada").files.write("a", b"more");
    stage.hint("a");
    stage.wait(secs(5));
    assert_eq!(shown(&mut stage), ["a", "d/", "d/ada's", "d/bo's"]);
    assert_eq!(tree(&mut stage)["a"], b"more");
}

#[test]
fn what_is_written_to_on_a_mount_has_no_conflict_copy() {
    let mut stage = joined();
    let (_, fh) = open(&mut stage, "a");
    written(&mut stage, fh, 0, b"more", 101);
    close(&mut stage, fh);
    stage.wait(secs(5));
    assert_eq!(shown(&mut stage), ["a", "d/", "d/ada's"]);
    assert_eq!(read(&mut stage, "a"), b"more");
}

/// What somebody makes of the other meanwhile is no part of what is ended.
#[test]
fn what_is_made_of_the_other_meanwhile_is_a_conflict_copy() {
    let mut stage = ada(&[("a", b"")]);
    let mut bo = Bo::join(&mut stage);
    let a = bo.file(NodeId::ROOT, "a", b"");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    stage.side("ada").files.write("a", b"ada's");
    stage.hint("a");
    stage.wait(secs(5));
    bo.write(a, b"bo's");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let mut all: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    all.sort();
    assert_eq!(all, [b"ada's".to_vec(), b"bo's".to_vec()]);
}

/// Bo had the file open that he had made, and wrote to it; then he removed that of ada, which showed
/// for both: what he had written went with it.
#[test]
fn what_is_being_written_to_the_other_is_not_removed_with_what_shows() {
    let mut stage = both();
    let mut hidden = None;
    for n in 0..8 {
        // The lower number shows: after a power loss he draws another one.
        stage.power_loss("bo");
        stage.start("bo", Last::Lost);
        stage.wait(secs(2));
        stage.mute("ada");
        let name = format!("a{n}");
        stage.side("ada").files.write(&name, b"");
        stage.hint(&name);
        let (ino, fh) = create(&mut stage, &name);
        stage.unmute("ada");
        stage.wait(secs(25));
        if stage.lookup("bo", &name) != ino {
            hidden = Some((name, fh));
            break;
        }
    }
    let (name, fh) = hidden.expect("ada's shows");
    written(&mut stage, fh, 0, b"bo's", 101);
    let parent = Ino::ROOT;
    let unlink = Edit::Unlink {
        parent,
        name: name.clone().into(),
    };
    edit(&mut stage, unlink);
    close(&mut stage, fh);
    stage.wait(secs(25));
    assert_eq!(tree(&mut stage)[&name], b"bo's");
}
