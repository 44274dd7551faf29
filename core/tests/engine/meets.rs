//! What is written or removed here meets what others do meanwhile.

use tandem_core::action::{DiskWish, FsReply};
use tandem_core::draft_wish::DraftWish;
use tandem_core::edit::{Edit, RenameHow, SetAttr};
use tandem_core::engine::Last;
use tandem_core::error::DiskError;
use tandem_core::event::FsCall;
use tandem_core::ids::{Ino, NodeId};
use tandem_core::time::{Duration, WallTime};

use crate::app::{
    alone, append, both, close, create, flush, greeting, open, read, resize, secs, sync, versions,
    written,
};
use crate::bo::Bo;
use crate::placing::{ada, names, tree};
use crate::stage::{Held, Stage, photo};

fn unlink(stage: &mut Stage, name: &str) {
    let (parent, name) = (Ino::ROOT, name.into());
    stage.call("bo", FsCall::Edit(Edit::Unlink { parent, name }));
}

/// P3: an edit beats a delete that did not know of it, and one that nobody was told yet too.
#[test]
fn what_is_being_written_to_a_file_that_a_peer_deletes_brings_it_back() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    stage.wait(Duration::from_millis(300));
    assert!(stage.shown("bo").is_empty(), "bo has heard of it");
    close(&mut stage, fh);
    stage.wait(secs(5));
    assert_eq!(read(&mut stage, "photo"), greeting());
    assert_eq!(tree(&mut stage)["photo"], greeting());
}

/// What bo removed himself he removed with open eyes; after a power loss he is another actor, and
/// must know himself in who did it.
#[test]
fn what_is_written_to_a_file_that_was_unlinked_here_stays_gone_after_a_power_loss() {
    let mut stage = alone();
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"one", 101);
    sync(&mut stage, fh);
    unlink(&mut stage, "new");
    written(&mut stage, fh, 3, b"two", 102);
    // The delete is synced soon.
    stage.wait(Duration::from_millis(300));
    let made = versions(&mut stage);
    for _ in 0..2 {
        stage.power_loss("bo");
        stage.start("bo", Last::Lost);
        stage.wait(secs(3));
        assert!(stage.shown("bo").is_empty());
    }
    assert_eq!(versions(&mut stage), made);
    let bo = stage.side("bo");
    assert_eq!((bo.objects.drafts(), bo.objects.count()), (0, 0));
}

/// Ada removed a file, having edited it; bo, who knew nothing of the edit, removed it too, and
/// his delete is the later one. It came back, with its bytes gone.
#[test]
fn what_both_have_deleted_stays_deleted_though_one_knew_less() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    stage.side("ada").files.write("a", b"second");
    stage.hint("a");
    stage.wait(secs(2));
    stage.side("ada").files.remove("a");
    stage.hint("a");
    stage.wait(secs(2));
    bo.remove(a, "a");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(names(&mut stage), Vec::<String>::new());
    assert!(stage.shown("ada").is_empty());
    assert_eq!(stage.side("ada").faults, []);
}

/// A program wrote to a file of ada's and removed one of its two names. Bo, who knew of neither, removed
/// both: her delete was said again, as knowing of his, and ended the file under the name that the
/// program had left it.
#[test]
fn a_delete_that_is_said_again_leaves_the_name_that_an_edit_kept() {
    for first in ["a", "b"] {
        let mut stage = ada(&[("a", b"first")]);
        stage.side("ada").files.link("a", "b");
        stage.hint("b");
        stage.wait(secs(2));
        let mut bo = Bo::join(&mut stage);
        bo.listen(&mut stage);
        let a = bo.find("a");
        stage.side("ada").files.write("a", b"second");
        stage.hint("a");
        stage.wait(secs(2));
        stage.side("ada").files.remove("b");
        stage.hint("b");
        stage.wait(secs(2));
        let second = if first == "a" { "b" } else { "a" };
        bo.remove(a, first);
        bo.remove(a, second);
        bo.tell(&mut stage);
        bo.attend(&mut stage);
        assert_eq!(
            tree(&mut stage),
            [("a".to_owned(), b"second".to_vec())].into()
        );
        assert_eq!(stage.side("ada").faults, []);
    }
}

/// Cleo removed the second of two names, and did not know of ada's edit: both showed. Bo removed
/// one, and the file was gone, under both.
#[test]
fn a_name_that_an_edit_kept_stays_when_the_other_goes() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    let file = cleo.file(NodeId::ROOT, "a", b"before");
    cleo.link(file, NodeId::ROOT, "b");
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    cleo.remove(file, "a");
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    cleo.remove(file, "b");
    stage.side("ada").files.write("b", b"ada's");
    stage.hint("b");
    stage.wait(secs(2));
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    assert_eq!(names(&mut stage), ["a", "b", "photo"]);
    unlink(&mut stage, "b");
    cleo.attend(&mut stage);
    assert_eq!(names(&mut stage), ["a", "photo"]);
    assert_eq!(read(&mut stage, "a"), b"ada's");
}

/// The kernel has pages of what bo is writing. They are what is shown until that is published:
/// to forget them for ada's version would have him read neither.
#[test]
fn a_file_that_is_being_written_is_not_forgotten_for_a_version_that_comes() {
    let mut stage = both();
    let (ino, fh) = open(&mut stage, "photo");
    let edited = |stage: &mut Stage, with: u8| {
        stage.trace();
        stage.side("ada").files.write("photo", &[with; 1_600]);
        stage.hint("photo");
        stage.wait(Duration::from_millis(300));
        let forgotten = format!("kernel, forget {ino} and its pages");
        stage.trace().contains(&forgotten)
    };
    assert!(edited(&mut stage, 1));
    written(&mut stage, fh, 600, b"HELLO", 101);
    assert!(!edited(&mut stage, 2));
    let req = stage.read("bo", fh, 600, 5);
    assert_eq!(stage.bytes("bo", req), b"HELLO");
    flush(&mut stage, fh);
    stage.wait(secs(3));
    assert!(edited(&mut stage, 3), "nothing is being written");
}

/// A file that a peer had deleted was published: it had a name again, and `stat` on its open
/// descriptor showed none until the cache was dropped for another reason.
#[test]
fn the_kernel_hears_of_a_file_that_comes_back_with_what_was_written() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let (ino, fh) = open(&mut stage, "photo");
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    stage.wait(secs(2));
    assert!(stage.shown("bo").is_empty());
    stage.trace();
    // It was deleted by who did not know of this.
    written(&mut stage, fh, 600, b"HELLO", 101);
    flush(&mut stage, fh);
    assert!(!stage.shown("bo").is_empty());
    let forgotten = format!("kernel, forget the attributes of {ino}");
    assert!(stage.trace().contains(&forgotten));
}

/// It had been deleted, and an edit had brought it back. Its name went when it was given another.
#[test]
fn a_further_name_leaves_the_one_that_an_edit_kept() {
    for is_seen in [true, false] {
        let mut stage = both();
        assert_eq!(read(&mut stage, "photo"), photo());
        let (ino, fh) = open(&mut stage, "photo");
        written(&mut stage, fh, 600, b"HELLO", 101);
        stage.side("ada").files.remove("photo");
        stage.hint("photo");
        stage.wait(Duration::from_millis(300));
        close(&mut stage, fh);
        stage.wait(secs(5));
        assert_eq!(names(&mut stage), ["photo"]);
        if is_seen {
            stage.side("ada").files.link("photo", "also");
            stage.hint("also");
        } else {
            let (parent, name) = (Ino::ROOT, b"also".to_vec());
            stage.call("bo", FsCall::Edit(Edit::Link { ino, parent, name }));
        }
        stage.wait(secs(5));
        assert_eq!(names(&mut stage), ["also", "photo"], "{is_seen}");
        assert_eq!(stage.shown("bo").len(), 2);
        // So does one that takes another name.
        let (parent, name) = (Ino::ROOT, b"also".to_vec());
        let (to_parent, to_name) = (parent, b"else".to_vec());
        let how = RenameHow::Replace;
        let rename = Edit::Rename {
            parent,
            name,
            to_parent,
            to_name,
            how,
        };
        stage.call("bo", FsCall::Edit(rename));
        stage.wait(secs(5));
        assert_eq!(names(&mut stage), ["else", "photo"], "{is_seen}");
    }
}

/// `truncate` by a path, and a peer deleted the file meanwhile: it was answered ESTALE, and done
/// all the same, which brought the file back.
#[test]
fn a_file_that_is_cut_while_a_peer_deletes_it_is_cut() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let ino = stage.lookup("bo", "photo");
    stage.hold("bo", Held::Disk);
    let req = resize(&mut stage, ino, 600, 101);
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    stage.wait(Duration::from_millis(300));
    assert!(stage.shown("bo").is_empty(), "bo has heard of it");
    stage.release("bo", Held::Disk);
    stage.settle();
    let answer = stage.answer("bo", req);
    let Some(Ok(FsReply::Attr(shown))) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((shown.size, shown.nlink), (600, 0));
    stage.wait(secs(5));
    assert_eq!(tree(&mut stage)["photo"], photo()[..600]);
}

/// A peer removed names of a file. With each the change time moves, as it does when a program has
/// written to the file: what was to be done with the next name was refused, and tried again and
/// again, and the file read anew in between.
#[test]
fn a_file_that_loses_names_is_not_taken_for_changed() {
    let mut stage = both();
    for name in ["also", "more"] {
        stage.side("ada").files.link("photo", name);
        stage.hint(name);
    }
    stage.wait(secs(3));
    stage.trace();
    for name in ["also", "more"] {
        unlink(&mut stage, name);
    }
    stage.wait(secs(5));
    assert_eq!(names(&mut stage), ["photo"]);
    let trace = stage.trace();
    assert!(trace.contains("throw /also away"), "{trace}");
    assert!(!trace.contains("it was changed meanwhile"), "{trace}");
    assert!(!trace.contains("read 512 bytes"), "{trace}");
}

/// Bo heard that the photo was deleted, and removed what he had of it while that was being
/// stored. He was killed: the photo was shown as it had been, and nothing of it was here.
#[test]
fn what_is_here_goes_once_it_is_stored_that_it_may() {
    let mut stage = Stage::met();
    let fh = stage.open("bo", "photo");
    let req = stage.read("bo", fh, 0, 1_600);
    stage.bytes("bo", req);
    stage.call("bo", FsCall::Release { fh });
    stage.wait(secs(1));
    assert_eq!(stage.side("bo").objects.count(), 1);
    stage.hold("bo", Held::Commits);
    stage.side("ada").files.remove("photo");
    stage.hint("photo");
    stage.wait(secs(1));
    assert_eq!(stage.side("bo").objects.count(), 1);
    stage.release("bo", Held::Commits);
    stage.wait(secs(1));
    assert_eq!(stage.side("bo").objects.count(), 0);
}

/// A program wrote over the photo and set its time back, and bo changed its mode. Ada set that, took
/// the new change time for that of her own doing, and showed two contents as one for good.
#[test]
fn what_was_written_in_secret_before_attributes_are_set_is_found() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let mut edited = photo();
    edited[700] ^= 0xff;
    stage.side("ada").files.write_secretly("photo", &edited);
    let ino = stage.lookup("bo", "photo");
    let set = SetAttr {
        mode: Some(0o600),
        ..SetAttr::default()
    };
    let (fh, wall) = (
        None,
        WallTime {
            secs: 300,
            nanos: 0,
        },
    );
    stage.call("bo", FsCall::Edit(Edit::SetAttr { ino, fh, set, wall }));
    stage.wait(secs(30));
    assert_eq!(stage.side("ada").files.mode("photo"), 0o600);
    assert!(tree(&mut stage)["photo"] == edited);
    assert!(read(&mut stage, "photo") == edited);
}

/// A program of bo's kept a file open to append to, and ada appended to it. Bo's kernel does not ask
/// anew where the file ends before it writes, and gave the old end: what ada had appended was
/// written over.
#[test]
fn what_is_appended_goes_to_the_end_that_there_is() {
    let mut stage = both();
    let (ino, fh) = open(&mut stage, "photo");
    let mut both_have = photo();
    both_have.extend_from_slice(b" ada's");
    stage.side("ada").files.write("photo", &both_have);
    stage.hint("photo");
    stage.wait(secs(3));
    stage.trace();
    let (one, two) = (
        append(&mut stage, fh, 1_600, b" bo's", 101),
        append(&mut stage, fh, 1_605, b" own", 102),
    );
    both_have.extend_from_slice(b" bo's own");
    for (req, len) in [(one, 5), (two, 4)] {
        assert_eq!(stage.answer("bo", req), Some(Ok(FsReply::Written { len })));
    }
    let told = stage.trace();
    let forgets = format!("kernel, forget {ino} and its pages");
    assert!(told.contains(&forgets), "its pages have other bytes there");
    close(&mut stage, fh);
    stage.wait(secs(30));
    assert!(tree(&mut stage)["photo"] == both_have);
    assert!(read(&mut stage, "photo") == both_have);
}

/// The same before a file is moved, or given a further name.
#[test]
fn what_was_written_in_secret_before_a_move_or_a_link_is_found() {
    for is_moved in [true, false] {
        let mut stage = both();
        assert!(read(&mut stage, "photo") == photo());
        let mut edited = photo();
        edited[700] ^= 0xff;
        stage.side("ada").files.write_secretly("photo", &edited);
        let ino = stage.lookup("bo", "photo");
        let edit = if is_moved {
            Edit::Rename {
                parent: Ino::ROOT,
                name: "photo".into(),
                to_parent: Ino::ROOT,
                to_name: "other".into(),
                how: RenameHow::Replace,
            }
        } else {
            Edit::Link {
                ino,
                parent: Ino::ROOT,
                name: "other".into(),
            }
        };
        stage.call("bo", FsCall::Edit(edit));
        stage.wait(secs(30));
        assert!(tree(&mut stage)["other"] == edited);
        assert!(read(&mut stage, "other") == edited);
    }
}

/// Ada's version came while bo was writing, and he has not seen it: his delete leaves it under that
/// name, and the kernel, which took the name for gone, is told to look again.
#[test]
fn a_name_that_its_delete_leaves_to_what_was_not_seen_is_looked_up_again() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(Duration::from_millis(300));
    stage.trace();
    unlink(&mut stage, "photo");
    stage.wait(Duration::from_millis(10));
    assert_eq!(stage.shown("bo"), ["/photo".to_owned()].into());
    let trace = stage.trace();
    assert!(trace.contains("forget the name photo in ino1"), "{trace}");
    close(&mut stage, fh);
    stage.wait(secs(5));
    let files = tree(&mut stage);
    assert!(files.values().any(|bytes| bytes == b"ada's"), "{files:?}");
}

/// Bo emptied the photo while the rest of it was on its way, and his disk refused to remove what that
/// was written over, and may have done it. What came then was stored into a file that was not there.
#[test]
fn what_comes_for_a_draft_whose_end_was_refused_goes_nowhere() {
    let mut stage = both();
    let (ino, fh) = open(&mut stage, "photo");
    stage.hold("ada", Held::Disk);
    stage.read("bo", fh, 0, 10);
    stage.wait(Duration::from_millis(300));
    let removes = |wish: &DiskWish| {
        let DiskWish::Draft { wish, .. } = wish else {
            return false;
        };
        matches!(wish, DraftWish::Remove)
    };
    stage.side("bo").failing = Some((removes, DiskError::Io));
    resize(&mut stage, ino, 0, 101);
    close(&mut stage, fh);
    stage.wait(secs(3));
    assert!(stage.side("bo").failing.is_none(), "it was refused");
    stage.trace();
    stage.release("ada", Held::Disk);
    stage.wait(secs(1));
    let trace = stage.trace();
    assert!(!trace.contains("store "), "{trace}");
}

/// Bo wrote to a photo and removed it, while ada edited it: hers stays. Its mode is changed, and what
/// bo had removed was the file again.
#[test]
fn what_was_removed_stays_so_when_attributes_are_set_of_what_an_edit_kept() {
    for name in ["ada", "bo"] {
        let mut stage = both();
        read(&mut stage, "photo");
        stage.mute("ada");
        stage.side("ada").files.write("photo", b"ada's");
        stage.hint("photo");
        stage.wait(secs(2));
        for at in 101..104 {
            let (_, fh) = open(&mut stage, "photo");
            written(&mut stage, fh, 0, b"bo's", at);
            close(&mut stage, fh);
            stage.wait(secs(2));
        }
        unlink(&mut stage, "photo");
        stage.unmute("ada");
        stage.wait(secs(25));
        assert_eq!(tree(&mut stage)["photo"], b"ada's");
        if name == "ada" {
            stage.side("ada").files.chmod("photo", 0o600);
            stage.hint("photo");
        } else {
            let ino = stage.lookup("bo", "photo");
            let set = SetAttr {
                mode: Some(0o600),
                uid: None,
                gid: None,
                size: None,
                mtime: None,
            };
            let wall = WallTime::default();
            let edit = Edit::SetAttr {
                ino,
                fh: None,
                set,
                wall,
            };
            stage.call("bo", FsCall::Edit(edit));
        }
        stage.wait(secs(25));
        let files = tree(&mut stage);
        assert_eq!(
            (files.len(), &files["photo"][..]),
            (1, &b"ada's"[..]),
            "{name}"
        );
        assert_eq!(read(&mut stage, "photo"), b"ada's");
    }
}
