//! Conflict copies: what lost stands beside what won, and is a file like any other.

use tandem_core::action::{FsReply, WantState};
use tandem_core::edit::{Edit, RenameHow, SetAttr, XattrHow};
use tandem_core::engine::Last;
use tandem_core::error::FsError;
use tandem_core::event::{Event, FsCall, LinkDown};
use tandem_core::ids::{AskId, ChunkIx, Dot, Ino, LinkId, NodeId, ObjectId, ReqId};
use tandem_core::message::Want;
use tandem_core::time::{Duration, WallTime};
use tandem_core::tree::conflict;
use tandem_core::tree::register::Xattrs;

use crate::app::{
    answers, asked, asked_on, both, close, copy_of, flush, greeting, is_done, met, newest, open,
    read, resize, secs, size, sync, wall, written,
};
use crate::bo::{BO, Bo};
use crate::placing::tree;
use crate::stage::{Held, Stage, path, photo};

/// Bo has a photo open, of which he has no more than what he wrote into it, when he hears that
/// cleo's version has won; nobody has that yet. What he writes on goes on hers, at once; and what
/// he wrote before is a conflict copy, the rest of which can be had as what it was made of.
#[test]
fn a_draft_that_lost_goes_with_the_conflict_copy() {
    let mut stage = met();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    let (node, knew) = (cleo.find("photo"), cleo.knows.clone());
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    flush(&mut stage, fh);
    cleo.serves = false;
    cleo.write_on(node, knew, &[9; 1_600]);
    cleo.tell(&mut stage);
    stage.wait(secs(1));
    written(&mut stage, fh, 0, b"BYE", 102);
    let req = stage.read("bo", fh, 0, 3);
    assert_eq!(stage.bytes("bo", req), b"BYE");
    let copy = copy_of(&mut stage);
    assert_eq!(read(&mut stage, &copy), greeting());
    close(&mut stage, fh);
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    assert_eq!(read(&mut stage, &copy), greeting());
    // Ada hears of it all, and cleo's version can be had.
    stage.deaf = &[];
    stage.cut();
    cleo.serves = true;
    for _ in 0..3 {
        cleo.attend(&mut stage);
    }
    let mut last = vec![9; 1_600];
    last[..3].copy_from_slice(b"BYE");
    assert_eq!(tree(&mut stage)["photo"], last);
    assert_eq!(tree(&mut stage)[&copy], greeting());
    assert_eq!(read(&mut stage, "photo"), last);
    assert_eq!(read(&mut stage, &copy), greeting());
    assert_eq!(stage.side("bo").objects.drafts(), 0);
}

/// What bo wrote to a part of the photo is a conflict copy, the rest of which ada went over; then
/// cleo wrote that copy anew. What bo writes to it waited for ever: his draft could neither end, since
/// nobody else has what it holds, nor make room.
#[test]
fn a_draft_of_a_copy_that_a_peer_wrote_anew_makes_room() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    let (_, fh) = open(&mut stage, "photo");
    stage.mute("ada");
    for word in [b"once".as_slice(), b"again"] {
        stage.side("ada").files.write("photo", word);
        stage.hint("photo");
        stage.wait(secs(2));
    }
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    let lost = newest(&mut stage).version;
    stage.unmute("ada");
    stage.wait(secs(25));
    assert_eq!(read(&mut stage, "photo"), b"again");
    let copy = copy_of(&mut stage);
    let (ino, fh) = open(&mut stage, &copy);
    cleo.listen(&mut stage);
    let node = conflict::copy_of(lost);
    cleo.connect(&mut stage);
    cleo.own(node);
    cleo.write(node, b"anew");
    cleo.link(node, NodeId::ROOT, &copy);
    cleo.tell(&mut stage);
    stage.wait(secs(1));
    assert_eq!(size(&mut stage, ino), 4);
    written(&mut stage, fh, 0, b"BOBO", 103);
    close(&mut stage, fh);
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    cleo.attend(&mut stage);
    assert_eq!(tree(&mut stage)[&copy], b"BOBO");
    assert_eq!(read(&mut stage, &copy), b"BOBO");
    assert_eq!(stage.side("bo").objects.drafts(), 0);
}

/// Ada went over what is beneath a draft of bo's. Of the chunks that he asked for in vain one is known
/// by another version and one is not: he asked for them a hundred times a second, for ever.
#[test]
fn what_is_beneath_and_gone_is_asked_for_a_few_times() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    let (_, fh) = open(&mut stage, "photo");
    stage.mute("ada");
    for word in [b"once".as_slice(), b"again"] {
        stage.side("ada").files.write("photo", word);
        stage.hint("photo");
        stage.wait(secs(2));
    }
    written(&mut stage, fh, 1_600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.unmute("ada");
    cleo.connect(&mut stage);
    stage.wait(secs(25));
    let asked = stage.trace();
    let asked = asked.lines().filter(|line| line.contains("ask for #"));
    let asked = asked.count();
    assert!((4..200).contains(&asked), "{asked}");
}

/// Cleo told of a file and was gone before anybody had it. Bo wants all of it: he asked ada for it
/// twice a second, for ever, since a newer version might have been on its way.
#[test]
fn what_nobody_has_is_asked_for_no_longer_than_a_read_waits() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    cleo.serves = false;
    cleo.file(NodeId::ROOT, "lost", b"cleo's");
    cleo.tell(&mut stage);
    stage.wait(secs(1));
    stage.cut();
    stage.wait(secs(5));
    let (req, path) = (ReqId(stage.draw()), path("lost"));
    stage.event("bo", Event::Want { req, path });
    stage.wait(secs(90));
    let last = stage.side("bo").wanted.last().copied();
    assert_eq!(last, Some((req, WantState::Failed)));
    stage.trace();
    stage.wait(secs(60));
    assert!(!stage.trace().contains("ask for #"));
    // Cleo comes, and has it still.
    cleo.serves = true;
    cleo.connect(&mut stage);
    cleo.attend(&mut stage);
    assert_eq!(read(&mut stage, "lost"), b"cleo's");
}

/// Ada and bo have both written to the photo while apart; returns the conflict copy's name.
fn apart() -> (Stage, String) {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    stage.mute("ada");
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.unmute("ada");
    stage.wait(secs(25));
    let copy = copy_of(&mut stage);
    assert!(tree(&mut stage).contains_key(&copy));
    assert_eq!(tree(&mut stage).len(), 2);
    (stage, copy)
}

/// Bo writes to the photo twice while ada is silent, so that his version wins over hers; returns
/// the conflict copy's name.
fn bo_wins(stage: &mut Stage) -> String {
    for (word, at) in [(b"HELLO", 101), (b"AGAIN", 102)] {
        let (_, fh) = open(stage, "photo");
        written(stage, fh, 600, word, at);
        close(stage, fh);
        stage.wait(secs(3));
    }
    stage.unmute("ada");
    stage.wait(secs(25));
    copy_of(stage)
}

/// Bo changes something of a copy through his mount.
fn edit(stage: &mut Stage, edit: Edit) {
    let req = stage.call("bo", FsCall::Edit(edit));
    assert!(is_done(stage, req));
    stage.wait(secs(3));
}

/// A program changes something of a copy in ada's folder.
fn seen(stage: &mut Stage, path: &str) {
    stage.hint(path);
    stage.wait(secs(3));
}

/// Returns the mode and the number of names that bo sees.
fn mode(stage: &mut Stage, name: &str) -> (u16, u32) {
    let ino = stage.lookup("bo", name);
    let req = stage.call("bo", FsCall::GetAttr { ino });
    match stage.answer("bo", req) {
        Some(Ok(FsReply::Attr(shown))) => (shown.mode, shown.nlink),
        other => panic!("it shows nothing: {other:?}"),
    }
}

fn colour(stage: &mut Stage, ino: Ino) -> Option<Vec<u8>> {
    let name = b"user.colour".to_vec();
    let req = stage.call("bo", FsCall::GetXattr { ino, name });
    match stage.answer("bo", req) {
        Some(Ok(FsReply::Value(value))) => Some(value.to_vec()),
        _ => None,
    }
}

/// The copy showed the time that was set for the file by hand, as all its attributes; when it got its
/// own, with an extended one, it showed another, and the kernel was not told.
#[test]
fn a_conflict_copy_keeps_the_time_that_was_set_when_it_gets_attributes_of_its_own() {
    let (mut stage, copy) = apart();
    let mtime = |stage: &mut Stage, name: &str| {
        let ino = stage.lookup("bo", name);
        let req = stage.call("bo", FsCall::GetAttr { ino });
        match stage.answer("bo", req) {
            Some(Ok(FsReply::Attr(shown))) => (ino, shown.mtime),
            other => panic!("it shows nothing: {other:?}"),
        }
    };
    let (ino, _) = mtime(&mut stage, "photo");
    let set = SetAttr {
        mtime: Some(wall(77)),
        ..SetAttr::default()
    };
    let wall = wall(103);
    let fh = None;
    edit(&mut stage, Edit::SetAttr { ino, fh, set, wall });
    let (ino, shown) = mtime(&mut stage, &copy);
    let set = Edit::SetXattr {
        ino,
        name: b"user.colour".to_vec(),
        value: b"red".to_vec(),
        how: XattrHow::Set,
    };
    edit(&mut stage, set);
    assert_eq!(mtime(&mut stage, &copy), (ino, shown));
}

#[test]
fn a_conflict_copy_is_edited_through_a_mount() {
    let (mut stage, copy) = apart();
    let (_, fh) = open(&mut stage, &copy);
    written(&mut stage, fh, 0, b"EDITED", 102);
    close(&mut stage, fh);
    stage.wait(secs(3));
    assert_eq!(tree(&mut stage)[&copy][..6], *b"EDITED");
    assert_eq!(read(&mut stage, &copy)[..6], *b"EDITED");
    assert_eq!(tree(&mut stage).len(), 2);
}

/// While bo's disk was still busy with the photo that he was about to empty, ada's version came,
/// which he had not seen: it was that which was emptied, and nothing was left of it.
#[test]
fn who_empties_a_file_empties_the_version_that_was_there() {
    let mut stage = both();
    let ino = stage.lookup("bo", "photo");
    stage.hold("bo", Held::Disk);
    let req = resize(&mut stage, ino, 0, 101);
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(secs(1));
    stage.release("bo", Held::Disk);
    assert!(stage.answer("bo", req).is_some_and(|reply| reply.is_ok()));
    stage.wait(secs(25));
    let files: Vec<Vec<u8>> = tree(&mut stage).into_values().collect();
    assert_eq!(files.len(), 2);
    assert!(files.contains(&b"ada's".to_vec()) && files.contains(&Vec::new()));
}

/// A file that bo writes was replaced by another, and what he made of it is as that is: both show
/// as one, and his handle showed what it had when the name went.
#[test]
fn a_file_that_shows_as_one_with_an_equal_one_is_as_it_was_written() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    let (ino, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, b"HELLO", 101);
    cleo.remove(cleo.find("photo"), "photo");
    cleo.file(NodeId::ROOT, "photo", b"");
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    resize(&mut stage, ino, 0, 102);
    sync(&mut stage, fh);
    assert_eq!(size(&mut stage, ino), 0);
    written(&mut stage, fh, 0, b"bo's", 103);
    let req = stage.read("bo", fh, 0, 9);
    assert_eq!(stage.bytes("bo", req), b"bo's");
    close(&mut stage, fh);
    stage.wait(secs(5));
    let files = tree(&mut stage);
    assert!(files.values().any(|bytes| bytes == b"bo's"), "{files:?}");
}

/// The file that it is a copy of is gone, and he who reads the copy deletes that too: its bytes
/// went at once, since they are of the other's version.
#[test]
fn a_conflict_copy_is_readable_to_its_last_close() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    stage.mute("ada");
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    let copy = bo_wins(&mut stage);
    let (_, fh) = open(&mut stage, &copy);
    let req = stage.read("bo", fh, 0, 5);
    assert_eq!(stage.bytes("bo", req), b"ada's");
    for name in ["photo", &copy] {
        let (parent, name) = (Ino::ROOT, name.as_bytes().to_vec());
        edit(&mut stage, Edit::Unlink { parent, name });
    }
    assert!(tree(&mut stage).is_empty());
    stage.side("ada").files.empty_trash();
    let req = stage.read("bo", fh, 0, 5);
    assert_eq!(stage.bytes("bo", req), b"ada's");
    close(&mut stage, fh);
    stage.wait(secs(30));
    assert_eq!(stage.side("bo").objects.count(), 0);
}

/// Cleo has a chunk of ada's version when bo's takes the place of both of its names, and it stands
/// as a copy. Ada forgot the chunk's hash with the second name, and took another content, with the
/// time set back, for the same.
#[test]
fn what_a_peer_has_of_a_copy_is_known_when_the_copy_is_written_in_secret() {
    let mut stage = both();
    stage.side("ada").files.link("photo", "other");
    stage.hint("other");
    stage.wait(secs(1));
    assert_eq!(read(&mut stage, "photo"), photo());
    let mut cleo = Bo::join(&mut stage);
    stage.mute("ada");
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(secs(1));
    cleo.listen(&mut stage);
    let node = cleo.find("photo");
    let version = cleo.version_of(node);
    let object = ObjectId { node, version };
    let asks = |stage: &mut Stage, cleo: &Bo| asked_on(stage, ("ada", cleo.link), object, 0);
    assert_eq!(asks(&mut stage, &cleo), "here it is");
    let copy = bo_wins(&mut stage);
    assert_eq!(tree(&mut stage)[&copy], b"ada's");
    cleo.connect(&mut stage);
    stage.side("ada").files.write_secretly(&copy, b"other");
    stage.hint(&copy);
    stage.wait(secs(3));
    assert_eq!(asks(&mut stage, &cleo), "gone");
    assert_eq!(read(&mut stage, &copy), b"other");
}

/// Bo was still writing to the copy when he heard of a version that settles the conflict: the copy
/// went, and what he had written to it with that.
#[test]
fn a_conflict_copy_that_is_being_written_outlives_the_conflict() {
    let (mut stage, copy) = apart();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    let (_, fh) = open(&mut stage, &copy);
    written(&mut stage, fh, 0, b"EDITED", 102);
    cleo.write(cleo.find("photo"), b"settled");
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    written(&mut stage, fh, 6, b" MORE", 103);
    close(&mut stage, fh);
    stage.wait(secs(3));
    let files = tree(&mut stage);
    assert_eq!(files["photo"], b"settled");
    assert_eq!(files[&copy][..11], *b"EDITED MORE");
    assert_eq!(read(&mut stage, &copy), files[&copy]);
}

#[test]
fn a_conflict_copy_is_edited_in_the_folder() {
    let (mut stage, copy) = apart();
    stage.side("ada").files.write(&copy, b"EDITED");
    seen(&mut stage, &copy);
    assert_eq!(read(&mut stage, &copy), b"EDITED");
    assert_eq!(tree(&mut stage)[&copy], b"EDITED");
    assert_eq!(tree(&mut stage).len(), 2);
}

#[test]
fn a_conflict_copy_has_a_mode_of_its_own() {
    let (mut stage, copy) = apart();
    let ino = stage.lookup("bo", &copy);
    let set = SetAttr {
        mode: Some(0o604),
        ..SetAttr::default()
    };
    let (fh, wall) = (None, wall(102));
    edit(&mut stage, Edit::SetAttr { ino, fh, set, wall });
    assert_eq!(mode(&mut stage, &copy), (0o604, 1));
    assert_eq!(stage.side("ada").files.mode(&copy), 0o604);
    let (mut stage, copy) = apart();
    stage.side("ada").files.chmod(&copy, 0o604);
    seen(&mut stage, &copy);
    assert_eq!(mode(&mut stage, &copy), (0o604, 1));
    assert_eq!(stage.side("ada").files.mode(&copy), 0o604);
    assert_eq!(stage.side("ada").files.mode("photo"), 0o644);
}

#[test]
fn a_conflict_copy_has_attributes_of_its_own() {
    let (mut stage, copy) = apart();
    let ino = stage.lookup("bo", &copy);
    let set = Edit::SetXattr {
        ino,
        name: b"user.colour".to_vec(),
        value: b"red".to_vec(),
        how: XattrHow::Set,
    };
    edit(&mut stage, set);
    assert_eq!(colour(&mut stage, ino), Some(b"red".to_vec()));
    let red = stage.side("ada").files.xattrs(&copy).clone();
    assert_eq!(red.len(), 1);
    let (mut stage, copy) = apart();
    stage.side("ada").files.set_xattrs(&copy, red.clone());
    seen(&mut stage, &copy);
    let ino = stage.lookup("bo", &copy);
    assert_eq!(colour(&mut stage, ino), Some(b"red".to_vec()));
    assert_eq!(*stage.side("ada").files.xattrs(&copy), red);
    assert_eq!(*stage.side("ada").files.xattrs("photo"), Xattrs::new());
}

#[test]
fn a_conflict_copy_has_further_names() {
    let (mut stage, copy) = apart();
    let ino = stage.lookup("bo", &copy);
    let (parent, name) = (Ino::ROOT, b"other".to_vec());
    edit(&mut stage, Edit::Link { ino, parent, name });
    let is_linked = |stage: &mut Stage| {
        assert_eq!(mode(stage, "other").1, 2);
        assert_eq!(stage.lookup("bo", "other"), stage.lookup("bo", &copy));
        assert_eq!(tree(stage).len(), 3);
        let files = &stage.side("ada").files;
        assert_eq!(files.inode("other"), files.inode(&copy));
    };
    is_linked(&mut stage);
    let (mut stage, again) = apart();
    assert_eq!(again, copy);
    stage.side("ada").files.link(&copy, "other");
    stage.hint("other");
    seen(&mut stage, &copy);
    is_linked(&mut stage);
}

/// Bo has the copy open when ada removes it, and the file that it was a copy of goes on without it.
/// What he then writes beats that; but the copy's attributes had been those of a version that nobody
/// held any more, and it was nowhere.
#[test]
fn a_conflict_copy_that_is_written_after_it_was_removed_has_attributes() {
    for is_renamed in [false, true] {
        let (mut stage, copy) = apart();
        let before = mode(&mut stage, &copy);
        if is_renamed {
            stage.side("ada").files.rename(&copy, "other");
            stage.hint(&copy);
            seen(&mut stage, "other");
        }
        let name = if is_renamed { "other" } else { copy.as_str() };
        let (_, fh) = open(&mut stage, name);
        stage.side("ada").files.remove(name);
        seen(&mut stage, name);
        stage.side("ada").files.write("photo", b"anew");
        seen(&mut stage, "photo");
        written(&mut stage, fh, 0, b"EDITED", 103);
        close(&mut stage, fh);
        stage.wait(secs(3));
        assert_eq!(mode(&mut stage, name), before);
        assert_eq!(tree(&mut stage)[name][..6], *b"EDITED");
        assert_eq!(tree(&mut stage).len(), 2);
    }
}

/// Bo removes a name through his mount.
fn unlink(stage: &mut Stage, name: &str) {
    let (parent, name) = (Ino::ROOT, name.as_bytes().to_vec());
    edit(stage, Edit::Unlink { parent, name });
}

/// Bo has written to the photo when he removes it. The delete was taken to know nothing of the conflict
/// copy, since that is another version of the file, and the photo was there again, as that.
#[test]
fn a_file_that_is_removed_while_it_is_written_leaves_its_conflict_copy_alone() {
    for is_won in [false, true] {
        let (mut stage, copy) = if is_won {
            let mut stage = both();
            assert_eq!(read(&mut stage, "photo"), photo());
            stage.mute("ada");
            stage.side("ada").files.write("photo", b"ada's");
            stage.hint("photo");
            let copy = bo_wins(&mut stage);
            (stage, copy)
        } else {
            apart()
        };
        let kept = tree(&mut stage)[&copy].clone();
        let (_, fh) = open(&mut stage, "photo");
        written(&mut stage, fh, 0, b"BYE", 103);
        unlink(&mut stage, "photo");
        close(&mut stage, fh);
        stage.wait(secs(3));
        let left = |stage: &mut Stage| tree(stage).into_keys().collect::<Vec<_>>();
        assert_eq!(left(&mut stage), std::slice::from_ref(&copy));
        assert_eq!(stage.shown("bo").len(), 1);
        assert_eq!(tree(&mut stage)[&copy], kept);
    }
}

/// Ada's version came while bo was writing, and he had not seen it when he removed the file: it stays,
/// and his kernel took it that nothing was there.
#[test]
fn what_a_draft_hid_is_told_of_when_the_file_is_removed() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, b"BYE", 103);
    stage.side("ada").files.write("photo", b"ada's");
    stage.hint("photo");
    stage.wait(Duration::from_millis(300));
    stage.trace();
    let (parent, name) = (Ino::ROOT, b"photo".to_vec());
    let req = stage.call("bo", FsCall::Edit(Edit::Unlink { parent, name }));
    assert!(is_done(&mut stage, req));
    let trace = stage.trace();
    assert!(trace.contains("kernel, forget the name photo"), "{trace}");
    let files = tree(&mut stage);
    assert!(files.values().any(|bytes| bytes == b"ada's"), "{files:?}");
    close(&mut stage, fh);
}

/// Ada wrote the photo anew and removed it; what bo had written meanwhile was left, under its name. He
/// gave it another one, or a second: her version was there again, as if nobody had removed it.
#[test]
fn what_was_removed_stays_so_when_what_was_left_is_renamed() {
    for is_linked in [false, true] {
        let mut stage = both();
        assert_eq!(read(&mut stage, "photo"), photo());
        stage.mute("ada");
        for word in [b"once".as_slice(), b"again"] {
            stage.side("ada").files.write("photo", word);
            stage.hint("photo");
            stage.wait(secs(2));
        }
        stage.side("ada").files.remove("photo");
        stage.hint("photo");
        stage.wait(secs(2));
        let (ino, fh) = open(&mut stage, "photo");
        written(&mut stage, fh, 600, b"HELLO", 101);
        close(&mut stage, fh);
        stage.unmute("ada");
        stage.wait(secs(25));
        let left = |stage: &mut Stage| tree(stage).into_keys().collect::<Vec<_>>();
        assert_eq!(left(&mut stage), ["photo"]);
        let (parent, name) = (Ino::ROOT, b"moved".to_vec());
        let names = if is_linked {
            edit(&mut stage, Edit::Link { ino, parent, name });
            &["moved", "photo"][..]
        } else {
            let rename = Edit::Rename {
                parent,
                name: b"photo".to_vec(),
                to_parent: parent,
                to_name: name,
                how: RenameHow::Replace,
            };
            edit(&mut stage, rename);
            &["moved"]
        };
        stage.wait(secs(25));
        assert_eq!(left(&mut stage), names);
        assert_eq!(tree(&mut stage)["moved"], greeting());
        assert_eq!(stage.shown("bo").len(), names.len());
        assert_eq!(read(&mut stage, "moved"), greeting());
    }
}

/// Each of the two deletes made an entry of its own, and neither knew of the other: they were taken
/// for those of two names of one file, and it came back.
#[test]
fn a_conflict_copy_that_two_removed_apart_is_gone() {
    let (mut stage, copy) = apart();
    stage.mute("ada");
    stage.side("ada").files.remove(&copy);
    seen(&mut stage, &copy);
    unlink(&mut stage, &copy);
    stage.unmute("ada");
    stage.wait(secs(40));
    assert_eq!(tree(&mut stage).into_keys().collect::<Vec<_>>(), ["photo"]);
    assert_eq!(stage.shown("bo").len(), 1);
}

/// Each of the two gave it an entry of its own, of the same name: whoever removed or moved it did so
/// to one of them, and it stayed.
#[test]
fn a_conflict_copy_that_two_changed_apart_has_one_name() {
    let changed = || {
        let (mut stage, copy) = apart();
        stage.mute("ada");
        stage.side("ada").files.chmod(&copy, 0o604);
        seen(&mut stage, &copy);
        let ino = stage.lookup("bo", &copy);
        let set = SetAttr {
            mode: Some(0o640),
            ..SetAttr::default()
        };
        let (fh, wall) = (None, wall(102));
        edit(&mut stage, Edit::SetAttr { ino, fh, set, wall });
        stage.unmute("ada");
        stage.wait(secs(40));
        assert_eq!(tree(&mut stage).len(), 2);
        (stage, copy)
    };
    let has = |stage: &mut Stage, names: &[&str]| {
        stage.wait(secs(40));
        assert_eq!(tree(stage).into_keys().collect::<Vec<_>>(), names);
        assert_eq!(stage.shown("bo").len(), names.len());
    };
    let (mut stage, copy) = changed();
    unlink(&mut stage, &copy);
    has(&mut stage, &["photo"]);
    let (mut stage, copy) = changed();
    stage.side("ada").files.remove(&copy);
    seen(&mut stage, &copy);
    has(&mut stage, &["photo"]);
    let (mut stage, copy) = changed();
    let rename = Edit::Rename {
        parent: Ino::ROOT,
        name: copy.into_bytes(),
        to_parent: Ino::ROOT,
        to_name: b"kept".to_vec(),
        how: RenameHow::Replace,
    };
    edit(&mut stage, rename);
    has(&mut stage, &["kept", "photo"]);
    let (mut stage, copy) = changed();
    stage.side("ada").files.rename(&copy, "kept");
    stage.hint("kept");
    seen(&mut stage, &copy);
    has(&mut stage, &["kept", "photo"]);
}

/// Cleo wrote the photo anew; before the host had it, bo wrote into the middle of it.
#[test]
fn what_a_peer_needs_of_another_one_the_host_passes_on() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    cleo.serves = false;
    let node = cleo.find("photo");
    cleo.write(node, &[9; 1_600]);
    cleo.tell(&mut stage);
    stage.wait(secs(1));
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(1));
    cleo.serves = true;
    for _ in 0..3 {
        cleo.attend(&mut stage);
    }
    let mut last = vec![9; 1_600];
    last[600..605].copy_from_slice(b"HELLO");
    assert_eq!(tree(&mut stage)["photo"], last);
}

/// Of cleo's version the host has one chunk, and she has no other. Who needs the one that is there gets
/// it from the host.
#[test]
fn what_the_host_has_of_an_unfinished_version_it_does_not_ask_for_again() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    let node = cleo.find("photo");
    let version = cleo.write(node, &[9; 1_600]);
    let object = ObjectId { node, version };
    cleo.has_only(object, &[0]);
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    let link = stage.links("ada")[0];
    let asks = |stage: &mut Stage, chunk| asked_on(stage, ("ada", link), object, chunk);
    assert_eq!(asks(&mut stage, 0), "here it is");
    assert_ne!(asks(&mut stage, 1), "here it is");
}

/// Cleo wrote the photo anew and went before anybody had it, and bo wrote into the middle of it.
fn cleo_is_gone() -> (Stage, Bo) {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    cleo.serves = false;
    let node = cleo.find("photo");
    cleo.write(node, &[9; 1_600]);
    cleo.tell(&mut stage);
    stage.wait(secs(1));
    let (link, why) = (cleo.link, LinkDown::Lost);
    stage.event("ada", Event::LinkDown { link, why });
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    (stage, cleo)
}

/// Cleo wrote the photo anew and went before anybody had it, and bo wrote into the middle of it. He
/// asked in vain for the rest until his attempts had run out; and when she was back he said to ada, who
/// asked for what he had made, that he had it not, for ever.
#[test]
fn what_a_joiner_lacked_is_tried_again_when_the_host_asks_for_it() {
    let (mut stage, mut cleo) = cleo_is_gone();
    stage.wait(secs(60));
    cleo.connect(&mut stage);
    cleo.serves = true;
    for _ in 0..3 {
        cleo.attend(&mut stage);
    }
    let mut last = vec![9; 1_600];
    last[600..605].copy_from_slice(b"HELLO");
    assert_eq!(tree(&mut stage)["photo"], last);
}

/// What bo made of ada's photo lacks the rest of it, and ada's disk says nothing: whoever asks him for
/// that asks again, and takes no room on the links between them for two minutes.
#[test]
fn what_is_lacking_beneath_is_waited_for_no_longer_than_a_read() {
    let mut stage = both();
    let (_, fh) = open(&mut stage, "photo");
    stage.hold("ada", Held::Disk);
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(1));
    let link = stage.links("bo")[0];
    let bos = newest(&mut stage);
    ask(&mut stage, ("bo", link), bos);
    stage.wait(secs(29));
    assert_eq!(answers(&mut stage, "bo"), [""; 0]);
    stage.wait(secs(2));
    assert_eq!(answers(&mut stage, "bo"), ["failed"]);
}

/// Asks somebody, on this link, for the first chunk of a version, and does not wait.
fn ask(stage: &mut Stage, (who, link): (&str, LinkId), object: ObjectId) {
    let want = Want {
        object,
        chunk: ChunkIx(0),
        have: None,
    };
    let (ask, len) = (AskId(stage.draw()), 512);
    let asked = Event::Asked {
        link,
        ask,
        want,
        len,
    };
    stage.trace();
    stage.event(who, asked);
}

/// Ada may have the lanes of one file open on a link, and waits for cleo's film. Bo needs something
/// else of cleo's: ada said at once that it was nowhere.
#[test]
fn what_is_to_be_passed_on_waits_for_room_for_a_moment() {
    let mut stage = both();
    stage.kill("ada");
    stage.side("ada").config.lane_files = 1;
    stage.start("ada", Last::Killed);
    stage.wait(secs(10));
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    cleo.serves = false;
    let node = cleo.find("photo");
    let old = cleo.write(node, &[8; 512]);
    cleo.write(node, b"");
    cleo.file(NodeId::ROOT, "film", &[7; 512]);
    cleo.tell(&mut stage);
    stage.wait(secs(1));
    let (link, object) = (stage.links("ada")[0], ObjectId { node, version: old });
    ask(&mut stage, ("ada", link), object);
    stage.wait(Duration::from_millis(900));
    assert_eq!(answers(&mut stage, "ada"), [""; 0]);
    stage.wait(Duration::from_millis(200));
    assert_eq!(answers(&mut stage, "ada"), ["not held"]);
    ask(&mut stage, ("ada", link), object);
    cleo.serves = true;
    assert!(cleo.serve_one(&mut stage), "the film");
    assert_eq!(answers(&mut stage, "ada"), [""; 0]);
    assert!(cleo.serve_one(&mut stage), "the photo as it was");
    assert_eq!(answers(&mut stage, "ada"), ["here it is"]);
}

/// What bo had asked for took all the room that he has, and waited for a third one, who waited for bo to
/// ask for what lies beneath his draft: each of them waited for two minutes.
#[test]
fn what_lies_beneath_a_draft_waits_for_room_for_a_moment() {
    let mut stage = met();
    stage.kill("bo");
    stage.side("bo").config.window = 512;
    stage.start("bo", Last::Killed);
    let (_, fh) = open(&mut stage, "photo");
    stage.hold("bo", Held::Chunks);
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(1));
    let made = newest(&mut stage);
    assert_eq!(asked(&mut stage, made, 0), "nothing");
    stage.wait(Duration::from_millis(900));
    assert_eq!(answers(&mut stage, "bo"), [""; 0]);
    stage.wait(Duration::from_millis(200));
    assert_eq!(answers(&mut stage, "bo"), ["failed"]);
    stage.release("bo", Held::Chunks);
    assert_eq!(asked(&mut stage, made, 0), "here it is");
}

/// Bo and cleo each said that the other one may have a chunk, and waited for each other.
#[test]
fn nobody_waits_for_what_only_who_waits_for_it_may_have() {
    each_waits_for_the_other(|bos, _| bos);
}

/// The same, where bo had written to the conflict copy that cleo's version is: for two minutes.
#[test]
fn nobody_waits_for_what_a_conflict_copy_was_made_of_either() {
    each_waits_for_the_other(|bos, cleos| ObjectId {
        node: conflict::copy_of(cleos.version),
        ..bos
    });
}

/// Cleo asks for what bo made, and bo for what cleo did.
fn each_waits_for_the_other(made: fn(ObjectId, ObjectId) -> ObjectId) {
    let mut stage = both();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(1));
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    stage.wait(secs(10));
    cleo.serves = false;
    let node = cleo.find("photo");
    let link = stage.links("ada")[0];
    stage.mute("bo");
    let counter = 1_000;
    let of = |actor| ObjectId {
        node,
        version: Dot { actor, counter },
    };
    let (bos, cleos) = (of(newest(&mut stage).version.actor), of(BO));
    ask(&mut stage, ("ada", cleo.link), made(bos, cleos));
    assert_eq!(answers(&mut stage, "ada"), [""; 0], "bo is asked");
    ask(&mut stage, ("ada", link), cleos);
    assert_eq!(answers(&mut stage, "ada"), ["not held"]);
}

/// What bo has of a version that was superseded before he had looked at it since his start he said
/// to have no more.
#[test]
fn what_was_superseded_unseen_is_served_while_it_is_kept() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let old = newest(&mut stage);
    stage.wait(secs(10));
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    stage.wait(secs(5));
    stage.side("ada").files.write("photo", &[9; 1_600]);
    stage.hint("photo");
    stage.wait(secs(3));
    assert_ne!(newest(&mut stage), old);
    assert_eq!(asked(&mut stage, old, 0), "here it is");
}

/// Bo goes on writing to what he had published when that loses to cleo's, and its copy shows what he had
/// published: what he has written over since is nowhere, and was read as if it were that.
#[test]
fn what_was_written_over_is_not_read_as_the_copy_that_it_was() {
    let mut stage = both();
    assert_eq!(read(&mut stage, "photo"), photo());
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    let (node, knew) = (cleo.find("photo"), cleo.knows.clone());
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(3));
    cleo.listen(&mut stage);
    cleo.write_on(node, knew, b"cleo's");
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 0, b"DIRTY", 102);
    cleo.tell(&mut stage);
    stage.wait(Duration::from_millis(300));
    let copy = copy_of(&mut stage);
    let of_copy = stage.open("bo", &copy);
    let first = stage.read("bo", of_copy, 0, 10);
    let last = stage.read("bo", of_copy, 1_500, 10);
    stage.wait(Duration::from_millis(100));
    assert_eq!(stage.answer("bo", first), Some(Err(FsError::Io)));
    assert_eq!(stage.bytes("bo", last), photo()[1_500..1_510]);
    // Nor is it once that is published.
    let wall = WallTime::default();
    stage.call("bo", FsCall::Edit(Edit::Flush { fh, wall }));
    let again = stage.read("bo", of_copy, 0, 10);
    stage.wait(Duration::from_millis(100));
    assert_eq!(stage.answer("bo", again), Some(Err(FsError::Io)));
    close(&mut stage, fh);
}
