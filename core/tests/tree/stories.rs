//! Stories of each rule. Each peer checks its tree against the one from scratch all the while.

use tandem_core::ids::{ActorId, ChunkIx, Dot, EntryId, Lamport, NodeId, ObjectId};
use tandem_core::time::WallTime;
use tandem_core::tree::conflict;
use tandem_core::tree::name::XattrName;
use tandem_core::tree::register::{
    Attrs, Body, Content, Entry, Kind, Register, RegisterKey, Stamp, Xattrs,
};
use tandem_core::tree::runs::Runs;
use tandem_core::tree::store::Applied;
use tandem_core::tree::view::{Change, Tree};

use crate::peer::{Peer, name};

const ROOT: NodeId = NodeId::ROOT;

fn ada_and_bo() -> (Peer, Peer) {
    (Peer::new(0xada, "ada"), Peer::new(0xb0, "bo"))
}

/// Lets both take what the other has, and returns what both then list.
fn meet(ada: &mut Peer, bo: &mut Peer) -> Vec<String> {
    ada.pull(bo);
    bo.pull(ada);
    assert_eq!(ada.listing(), bo.listing());
    ada.listing()
}

/// A file of 1 byte that both know, changed by ada to 2 bytes and by bo to 3, apart.
fn edited_apart() -> (Peer, Peer, NodeId) {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "notes.txt", 1);
    bo.pull(&ada);
    ada.edit(file, 2);
    bo.edit(file, 3);
    (ada, bo, file)
}

#[test]
fn the_root_is_there_before_anything_is() {
    let mut ada = Peer::new(1, "ada");
    let root = ada.tree.node(ROOT).unwrap();
    assert_eq!(
        (root.kind, root.mode, root.nlink),
        (Kind::Directory, 0o755, 2)
    );
    assert_eq!(ada.tree.path(ROOT), Some(vec![]));
    assert_eq!(ada.tree.list(ROOT).count(), 0);
    ada.attrs(ROOT, Kind::Directory, 0o700, None);
    ada.mkdir(ROOT, "d");
    let root = ada.tree.node(ROOT).unwrap();
    assert_eq!((root.mode, root.uid, root.nlink), (0o700, 1, 3));
}

#[test]
fn a_file_is_visible_once_it_has_attributes_a_version_and_a_name() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 5);
    let made = ada.made.clone();
    assert_eq!(made.len(), 3);
    // In whatever order the three come, nothing shows before the last, S17.
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut bo = Peer::new(2, "bo");
        for n in order {
            assert_eq!((bo.tree.node(file), bo.tree.count()), (None, 0));
            bo.take(made[n].clone());
        }
        assert_eq!(bo.listing(), ["/f 5"]);
        assert_eq!((bo.tree.count(), bo.tree.bytes()), (1, 5));
    }
}

#[test]
fn changes_tell_what_happened_in_order() {
    let mut ada = Peer::new(1, "ada");
    let dir = ada.mkdir(ROOT, "d");
    let file = ada.write(dir, "f", 5);
    let version = ada.tree.node(file).unwrap().version;
    let mut tree = Tree::new();
    let told = |tree: &mut Tree, register: &Register| {
        let mut changes = Vec::new();
        tree.apply(register.clone(), &mut changes);
        changes
    };
    let made: Vec<_> = ada
        .made
        .drain(..)
        .map(|register| told(&mut tree, &register))
        .collect();
    let appeared = |dir, at, node| Change::Appeared {
        dir,
        name: name(at),
        node,
    };
    let here = |from, to| Change::Content {
        node: file,
        from,
        to,
    };
    let attributes = |node| Change::Attributes { node };
    let expected = [
        vec![],
        vec![appeared(ROOT, "d", dir), attributes(ROOT)],
        vec![],
        vec![],
        vec![appeared(dir, "f", file), here(None, version)],
    ];
    assert_eq!(made, expected);

    let edit = ada.edit(file, 6);
    assert_eq!(
        told(&mut tree, &ada.made[0]),
        [here(version, Some(edit)), attributes(file)]
    );
    ada.chmod(file, 0o600);
    assert_eq!(told(&mut tree, &ada.made[1]), [attributes(file)]);
    ada.rename(dir, "f", ROOT, "g");
    let vanished = |dir, at, node| Change::Vanished {
        dir,
        name: name(at),
        node,
    };
    assert_eq!(
        told(&mut tree, &ada.made[2]),
        [vanished(dir, "f", file), appeared(ROOT, "g", file)]
    );
    ada.enter(file, ROOT, "h");
    assert_eq!(
        told(&mut tree, &ada.made[3]),
        [appeared(ROOT, "h", file), attributes(file)]
    );
    ada.remove(ROOT, "g");
    ada.remove(ROOT, "h");
    assert_eq!(
        told(&mut tree, &ada.made[4]),
        [vanished(ROOT, "g", file), attributes(file)]
    );
    assert_eq!(
        told(&mut tree, &ada.made[5]),
        [vanished(ROOT, "h", file), here(Some(edit), None)]
    );
    assert_eq!(told(&mut tree, &ada.made[5]), []);
}

#[test]
fn s25_edits_apart_are_both_kept_and_the_same_wins_everywhere() {
    let (mut ada, mut bo, file) = edited_apart();
    let listing = meet(&mut ada, &mut bo);
    // ada's actor is the greater; the Lamport times are equal.
    let lost = bo
        .tree
        .registers()
        .versions_of(file)
        .last()
        .unwrap()
        .object();
    let copy = conflict::copy_of(lost.version);
    let at = bo.tree.path(copy).unwrap();
    assert!(
        at[0]
            .to_string()
            .starts_with("notes (conflict from bo 2026-11-23 "),
        "{at:?}"
    );
    assert!(at[0].to_string().ends_with(").txt"), "{at:?}");
    assert_eq!(listing, [format!("/{} 3", at[0]), "/notes.txt 2".into()]);
    let shown = bo.tree.node(copy).unwrap();
    assert_eq!((shown.object, shown.mode), (Some(lost), 0o644));
    assert_eq!(bo.tree.entry_at(ROOT, at[0].as_bytes()), None);
    assert_eq!((ada.tree.count(), ada.tree.bytes()), (2, 5));
}

#[test]
fn an_edit_supersedes_only_the_version_on_which_it_was_made() {
    let (mut ada, mut bo, file) = edited_apart();
    meet(&mut ada, &mut bo);
    bo.edit(file, 4);
    let listing = meet(&mut ada, &mut bo);
    assert_eq!(listing.len(), 2);
    assert!(
        listing[0].ends_with(" 3") && listing[1] == "/notes.txt 4",
        "{listing:?}"
    );
}

#[test]
fn u8_equal_edits_are_one_once_their_digests_are_known() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "notes.txt", 1);
    bo.pull(&ada);
    let mine = ada.edit(file, 2);
    let theirs = bo.edit(file, 2);
    assert_eq!(meet(&mut ada, &mut bo).len(), 2);
    let object = |version| ObjectId {
        node: file,
        version,
    };
    ada.digest(object(mine), 99);
    assert_eq!(meet(&mut ada, &mut bo).len(), 2);
    bo.digest(object(theirs), 99);
    assert_eq!(meet(&mut ada, &mut bo), ["/notes.txt 2"]);
    // Who edits or deletes the one does it to both.
    let mut cy = Peer::new(3, "cy");
    cy.pull(&ada);
    cy.remove(ROOT, "notes.txt");
    assert_eq!(cy.listing(), [""; 0]);
    ada.edit(file, 7);
    assert_eq!(ada.tree.registers().versions_of(file).count(), 1);
    assert_eq!(meet(&mut ada, &mut bo), ["/notes.txt 7"]);
}

#[test]
fn versions_emptied_apart_are_equal_at_once() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "f", 1);
    bo.pull(&ada);
    ada.edit(file, 0);
    bo.edit(file, 0);
    assert_eq!(meet(&mut ada, &mut bo), ["/f 0"]);
}

#[test]
fn a_copy_outlives_the_file_until_its_own_end() {
    let (mut ada, mut bo, file) = edited_apart();
    meet(&mut ada, &mut bo);
    ada.remove(ROOT, "notes.txt");
    let listing = meet(&mut ada, &mut bo);
    assert!(
        listing.len() == 1 && listing[0].contains("conflict"),
        "{listing:?}"
    );
    let (at, _) = bo.tree.list(ROOT).next().unwrap();
    let at = at.to_string();
    bo.remove(ROOT, &at);
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
    assert_eq!(bo.tree.registers().versions_of(file).count(), 2);
}

#[test]
fn a_copy_that_is_renamed_is_a_file_of_its_own() {
    let (mut ada, mut bo, file) = edited_apart();
    meet(&mut ada, &mut bo);
    let (at, copy) = bo.tree.list(ROOT).next().unwrap();
    let at = at.to_string();
    bo.rename(ROOT, &at, ROOT, "mine");
    assert_eq!(meet(&mut ada, &mut bo), ["/mine 3", "/notes.txt 2"]);
    // It is edited, and so is the file, and each goes its way.
    let borrowed = bo.tree.node(copy).unwrap().object.unwrap();
    assert_eq!(borrowed.node, file);
    bo.edit(copy, 30);
    ada.edit(file, 20);
    assert_eq!(meet(&mut ada, &mut bo), ["/mine 30", "/notes.txt 20"]);
    assert_eq!(bo.tree.node(copy).unwrap().object.unwrap().node, copy);
    bo.remove(ROOT, "mine");
    assert_eq!(meet(&mut ada, &mut bo), ["/notes.txt 20"]);
    // The ended copy's version goes with the next edit of the file.
    assert_eq!(ada.tree.registers().versions_of(file).count(), 2);
    ada.edit(file, 21);
    assert_eq!(ada.tree.registers().versions_of(file).count(), 1);
}

#[test]
fn a_late_version_that_was_superseded_is_known() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    let first = ada.made.last().unwrap().clone();
    let object = ada.tree.node(file).unwrap().object.unwrap();
    ada.digest(object, 5);
    let digest = ada.made.last().unwrap().clone();
    ada.edit(file, 2);
    let last = ada.tree.registers().last_arrival();
    ada.edit(file, 3);
    assert_eq!(ada.take(first), Applied::Known);
    assert_eq!(ada.take(digest), Applied::Known);
    assert_eq!(ada.tree.registers().get(RegisterKey::Digest(object)), None);
    let after: Vec<_> = ada.tree.registers().after(last).collect();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].1, ada.made.last().unwrap().clone());
}

#[test]
fn what_is_replaced_is_told_and_arrives_anew() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    let object = ada.tree.node(file).unwrap().object.unwrap();
    ada.digest(object, 5);
    let mut bo = ada.clone();
    ada.edit(file, 2);
    let replaced = vec![RegisterKey::Content(object), RegisterKey::Digest(object)];
    let arrival = ada.tree.registers().last_arrival();
    let applied = bo.take(ada.made.last().unwrap().clone());
    assert_eq!(applied, Applied::Stored { arrival, replaced });
    ada.chmod(file, 0o600);
    let keys = ada.tree.registers().after(Default::default());
    let keys: Vec<_> = keys.map(|(_, register)| register.key()).collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[2], RegisterKey::Attrs(file));
}

#[test]
fn s25_an_edit_beats_a_concurrent_delete() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "f", 1);
    bo.pull(&ada);
    ada.remove(ROOT, "f");
    bo.edit(file, 2);
    assert_eq!(meet(&mut ada, &mut bo), ["/f 2"]);
    // Once it knows the edit, a delete is one.
    ada.remove(ROOT, "f");
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
}

#[test]
fn a_digest_that_the_delete_did_not_know_is_no_edit() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "f", 1);
    bo.pull(&ada);
    bo.remove(ROOT, "f");
    ada.hash(file, 7);
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
}

#[test]
fn an_unseen_change_of_mode_keeps_a_file_and_its_version() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "f", 1);
    bo.pull(&ada);
    ada.remove(ROOT, "f");
    bo.chmod(file, 0o600);
    assert_eq!(meet(&mut ada, &mut bo), ["/f 1"]);
}

#[test]
fn a_delete_ends_the_version_that_it_was_made_on_though_another_survives() {
    let (mut ada, mut bo, file) = edited_apart();
    meet(&mut ada, &mut bo);
    let mut cy = Peer::new(3, "cy");
    cy.pull(&ada);
    // The winner is deleted, and edited at the same time: the edit and the copy are left.
    ada.remove(ROOT, "notes.txt");
    cy.edit(file, 9);
    ada.pull(&cy);
    let listing = meet(&mut ada, &mut bo);
    assert!(
        listing.len() == 2 && listing[1] == "/notes.txt 9",
        "{listing:?}"
    );
    assert!(listing[0].ends_with(" 3"), "{listing:?}");
}

#[test]
fn a_link_that_was_removed_does_not_come_back_when_the_other_is_edited() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "a", 1);
    ada.enter(file, ROOT, "b");
    assert_eq!(ada.tree.node(file).unwrap().nlink, 2);
    assert_eq!(ada.tree.places(file).count(), 2);
    ada.remove(ROOT, "a");
    ada.edit(file, 2);
    assert_eq!(meet(&mut ada, &mut bo), ["/b 2"]);
    ada.remove(ROOT, "b");
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
}

/// Each took one name of two away, and a third had edited what that was made of: both names show the
/// edit, and what the two had left each other is beside it.
#[test]
fn what_each_left_under_the_other_name_stays_beside_an_edit_that_neither_knew() {
    let (mut ada, mut bo) = ada_and_bo();
    let mut cy = Peer::new(3, "cy");
    let file = ada.write(ROOT, "a", 1);
    ada.enter(file, ROOT, "b");
    cy.pull(&ada);
    ada.edit(file, 2);
    bo.pull(&ada);
    for size in [7, 8, 9] {
        cy.edit(file, size);
    }
    ada.remove(ROOT, "a");
    bo.remove(ROOT, "b");
    ada.pull(&cy);
    let listing = meet(&mut ada, &mut bo);
    let ends = |end: &str| listing.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!((ends(" 9"), ends(" 2")), (2, 1), "{listing:?}");
}

/// Each took one name of two away and left the file its other one: nobody deleted the file.
#[test]
fn a_file_of_which_each_removed_one_name_is_kept_and_so_is_an_edit() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "a", 1);
    ada.enter(file, ROOT, "b");
    meet(&mut ada, &mut bo);
    let (mut ada2, mut bo2) = (ada.clone(), bo.clone());
    ada.remove(ROOT, "a");
    bo.remove(ROOT, "b");
    assert_eq!(meet(&mut ada, &mut bo), ["/a 1"]);
    // It is deleted by whoever sees that, for good.
    bo.remove(ROOT, "a");
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
    // bo deletes b, believing that a holds its edit.
    ada2.remove(ROOT, "a");
    bo2.edit(file, 2);
    bo2.remove(ROOT, "b");
    assert_eq!(meet(&mut ada2, &mut bo2), ["/a 2"]);
}

#[test]
fn a_file_of_which_each_removed_both_names_is_gone() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = ada.write(ROOT, "a", 1);
    ada.enter(file, ROOT, "b");
    meet(&mut ada, &mut bo);
    for peer in [&mut ada, &mut bo] {
        peer.remove(ROOT, "a");
        peer.remove(ROOT, "b");
    }
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
}

#[test]
fn s14_made_and_deleted_at_once_is_never_there_again() {
    let mut ada = Peer::new(1, "ada");
    ada.write(ROOT, ".keep", 0);
    ada.remove(ROOT, ".keep");
    let mut made = ada.made.clone();
    // The entry was replaced by its deletion; the old one comes last.
    made.rotate_left(2);
    let mut bo = Peer::new(2, "bo");
    for register in made {
        bo.take(register);
    }
    bo.pull(&ada);
    assert_eq!(bo.listing(), [""; 0]);
}

#[test]
fn a_deleted_directory_is_shown_while_something_lives_in_it() {
    let (mut ada, mut bo) = ada_and_bo();
    let outer = ada.mkdir(ROOT, "outer");
    let inner = ada.mkdir(outer, "inner");
    bo.pull(&ada);
    ada.remove(outer, "inner");
    ada.remove(ROOT, "outer");
    assert_eq!(ada.listing(), [""; 0]);
    bo.write(inner, "f", 1);
    assert_eq!(
        meet(&mut ada, &mut bo),
        ["/outer/", "/outer/inner/", "/outer/inner/f 1"]
    );
    ada.remove(inner, "f");
    assert_eq!(meet(&mut ada, &mut bo), [""; 0]);
}

#[test]
fn s18_each_moves_a_directory_into_the_others() {
    let (mut ada, mut bo) = ada_and_bo();
    let a = ada.mkdir(ROOT, "a");
    let b = ada.mkdir(ROOT, "b");
    ada.write(a, "in-a", 1);
    ada.write(b, "in-b", 2);
    bo.pull(&ada);
    ada.rename(ROOT, "a", b, "a");
    bo.rename(ROOT, "b", a, "b");
    // Both at one Lamport time; ada's dot is the greater, so that hers does not count.
    assert_eq!(
        meet(&mut ada, &mut bo),
        ["/a/", "/a/b/", "/a/b/in-b 2", "/a/in-a 1"]
    );
    // The other moves away, and hers counts.
    bo.rename(a, "b", ROOT, "b2");
    assert_eq!(
        meet(&mut ada, &mut bo),
        ["/b2/", "/b2/a/", "/b2/a/in-a 1", "/b2/in-b 2"]
    );
}

#[test]
fn a_directory_in_itself_is_put_back() {
    let mut ada = Peer::new(1, "ada");
    let d = ada.mkdir(ROOT, "d");
    let e = ada.mkdir(d, "e");
    ada.rename(ROOT, "d", e, "x");
    assert_eq!(ada.listing(), ["/d/", "/d/e/"]);
    // Where it stood before that is in itself too: the root is left.
    ada.rename(ROOT, "d", d, "y");
    assert_eq!(ada.listing(), ["/y/", "/y/e/"]);
    assert_eq!(ada.tree.places(d).next().unwrap().0, ROOT);
}

/// One directory was moved into another that it was one with, and went to stand in itself: the
/// listing that it asked for was looked up before it left.
#[test]
fn a_directory_is_moved_into_one_that_it_was_one_with() {
    let (mut ada, mut bo) = ada_and_bo();
    ada.mkdir(ROOT, "d");
    let other = bo.mkdir(ROOT, "d");
    meet(&mut ada, &mut bo);
    // What both show is bo's; ada's is moved into it, once under a name of its own.
    let mine = ada.tree.merged(other)[0];
    let id = ada.tree.registers().entries_of(mine).next().unwrap().id;
    for (parent, at) in [(other, "d"), (ROOT, "d"), (other, "e")] {
        let entry = ada.tree.registers().entry(id).unwrap().clone();
        let stamp = Stamp {
            lamport: Lamport(entry.stamp.lamport.0 + 10),
            dot: entry.stamp.dot,
        };
        let name = name(at);
        ada.take(Register::Entry(Entry {
            stamp,
            parent,
            name,
            ..entry
        }));
    }
    assert_eq!(ada.listing(), ["/d/", "/d/e/"]);
}

/// An orphan and its parent met under one name in the root, so that for a moment the orphan was
/// one with its parent, and asked to stand in itself. Two directories chased each other for ever
/// while the one that could have ended it waited.
#[test]
fn an_orphan_of_its_parents_name_finds_its_place() {
    let (mut ada, mut cy) = (Peer::new(1, "ada"), Peer::new(3, "cy"));
    let outer = cy.mkdir(ROOT, "c");
    let moved = ada.mkdir(ROOT, "a");
    ada.mkdir(ROOT, "a");
    ada.mkdir(moved, "a");
    ada.write(ROOT, "a", 0);
    ada.pull(&cy);
    ada.write(outer, "a", 0);
    let inner = ada.mkdir(outer, "c");
    ada.rename(ROOT, "a", inner, "c");
    let mut bo = Peer::new(2, "bo");
    for register in ada.made.iter().chain(&cy.made) {
        bo.take(register.clone());
    }
    assert_eq!(bo.listing(), ada.listing());
    assert!(
        bo.listing().contains(&"/c/c/c/a/".into()),
        "{:?}",
        bo.listing()
    );
}

#[test]
fn an_orphan_stands_in_the_root_until_its_parent_comes() {
    let mut ada = Peer::new(1, "ada");
    let dir = ada.mkdir(ROOT, "d");
    ada.write(dir, "f", 1);
    let mut bo = Peer::new(2, "bo");
    for register in ada.made.iter().skip(2) {
        bo.take(register.clone());
    }
    assert_eq!(bo.listing(), ["/f 1"]);
    bo.take(ada.made[1].clone());
    assert_eq!(bo.listing(), ["/f 1"]);
    bo.take(ada.made[0].clone());
    assert_eq!(bo.listing(), ["/d/", "/d/f 1"]);
}

#[test]
fn a_file_is_no_directory() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    ada.write(file, "g", 2);
    assert_eq!(ada.listing(), ["/f 1", "/g 2"]);
}

#[test]
fn directories_of_one_name_are_one_all_the_way_down() {
    let (mut ada, mut bo) = ada_and_bo();
    for (peer, own, size) in [(&mut ada, "ada", 1), (&mut bo, "bo", 2)] {
        let outer = peer.mkdir(ROOT, "outer");
        let inner = peer.mkdir(outer, "inner");
        peer.write(inner, own, size);
    }
    assert_eq!(
        meet(&mut ada, &mut bo),
        [
            "/outer/",
            "/outer/inner/",
            "/outer/inner/ada 1",
            "/outer/inner/bo 2"
        ]
    );
    // bo's is the lower id, and both lead to it.
    let outer = ada.tree.lookup(ROOT, b"outer").unwrap();
    assert_eq!(outer.0.actor, ActorId(0xb0));
    let [other] = ada.tree.merged(outer)[..] else {
        panic!("two are one")
    };
    assert_eq!(
        (ada.tree.canonical(other), ada.tree.node(other)),
        (outer, None)
    );
    assert_eq!(ada.tree.list(other).count(), 1);
    // When one goes elsewhere, each has its own.
    ada.rename(ROOT, "outer", ROOT, "elsewhere");
    assert_eq!(
        meet(&mut ada, &mut bo),
        [
            "/elsewhere/",
            "/elsewhere/inner/",
            "/elsewhere/inner/bo 2",
            "/outer/",
            "/outer/inner/",
            "/outer/inner/ada 1"
        ]
    );
}

#[test]
fn files_of_one_name_are_one_if_they_hold_the_same() {
    let (mut ada, mut bo) = ada_and_bo();
    let mine = ada.write(ROOT, "f", 1);
    let theirs = bo.write(ROOT, "f", 1);
    ada.symlink(ROOT, "l", "to");
    bo.symlink(ROOT, "l", "to");
    let listing = meet(&mut ada, &mut bo);
    assert_eq!(listing.len(), 3, "{listing:?}");
    assert!(
        listing[0].starts_with("/f (conflict from ada 2026-11-23 "),
        "{listing:?}"
    );
    assert_eq!(ada.tree.lookup(ROOT, b"f"), Some(theirs));
    assert!(ada.tree.node(mine).is_some());
    ada.hash(mine, 1);
    bo.hash(theirs, 1);
    assert_eq!(meet(&mut ada, &mut bo), ["/f 1", "/l 2"]);
    assert_eq!(ada.tree.node(mine), None);
    assert_eq!(ada.tree.merged(theirs), [mine]);
}

#[test]
fn a_directory_keeps_its_name_before_a_file() {
    let (mut ada, mut bo) = ada_and_bo();
    let file = bo.write(ROOT, "x.d", 1);
    let dir = ada.mkdir(ROOT, "x.d");
    let listing = meet(&mut ada, &mut bo);
    assert_eq!(ada.tree.lookup(ROOT, b"x.d"), Some(dir));
    assert!(
        listing[0].starts_with("/x (conflict from bo "),
        "{listing:?}"
    );
    // It has an entry, by which it can be renamed.
    let (_, at) = ada.tree.places(file).next().unwrap();
    let at = at.to_string();
    assert!(ada.tree.entry_at(ROOT, at.as_bytes()).is_some());
    ada.rename(ROOT, &at, ROOT, "y");
    assert_eq!(meet(&mut ada, &mut bo), ["/x.d/", "/y 1"]);
}

#[test]
fn a_copy_whose_name_is_taken_gets_a_longer_one() {
    let (mut ada, mut bo, _) = edited_apart();
    meet(&mut ada, &mut bo);
    let (at, copy) = bo.tree.list(ROOT).next().unwrap();
    let at = at.to_string();
    let taken = bo.write(ROOT, &at, 77);
    let listing = meet(&mut ada, &mut bo);
    assert_eq!(listing.len(), 3, "{listing:?}");
    assert_eq!(ada.tree.lookup(ROOT, at.as_bytes()), Some(taken));
    let (_, longer) = ada.tree.places(copy).next().unwrap();
    assert_eq!(longer.as_bytes().len(), at.len() + 4);
    // When the name is free, it is the copy's again.
    ada.remove(ROOT, &at);
    meet(&mut ada, &mut bo);
    assert_eq!(bo.tree.lookup(ROOT, at.as_bytes()), Some(copy));
}

#[test]
fn a_time_set_by_hand_is_shown_until_the_next_edit() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    let by_hand = WallTime { secs: -5, nanos: 7 };
    ada.attrs(file, Kind::File, 0o644, Some(by_hand));
    assert_eq!(ada.tree.node(file).unwrap().mtime, Some(by_hand));
    ada.edit(file, 2);
    assert_ne!(ada.tree.node(file).unwrap().mtime, Some(by_hand));
    let dir = ada.mkdir(ROOT, "d");
    assert_eq!(ada.tree.node(dir).unwrap().mtime, None);
    ada.attrs(dir, Kind::Directory, 0o755, Some(by_hand));
    assert_eq!(ada.tree.node(dir).unwrap().mtime, Some(by_hand));
}

#[test]
fn s31_what_breaks_an_invariant_is_refused_and_changes_nothing() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    let made = ada.made.clone();
    let (Register::Attrs(attrs), Register::Entry(entry), Register::Content(content)) =
        (made[0].clone(), made[1].clone(), made[2].clone())
    else {
        panic!("a file is made of these")
    };
    let dot = |counter| Dot {
        actor: ActorId(9),
        counter,
    };
    let stamp = |counter| Stamp {
        lamport: Lamport(100),
        dot: dot(counter),
    };
    let file_of = |size, chunk_size| Body::File { size, chunk_size };
    let huge: Xattrs = [(XattrName::parse(b"user.x").unwrap(), vec![0; 65_536].into())].into();
    let mut beyond = entry.clone();
    beyond.stamp.lamport = Lamport(1 << 63);
    let mut itself = content.clone();
    itself.stamp = stamp(5);
    itself.context.cover(dot(5));
    let mut crowd = content.clone();
    crowd.stamp = stamp(6);
    crowd.beside = vec![dot(1); 257];
    let of_attrs = |attrs| Register::Attrs(attrs);
    let (a, e, c) = (|| attrs.clone(), || entry.clone(), || content.clone());
    let changed = |base, chunks: &[u32]| {
        let mut runs = Runs::default();
        for ix in chunks {
            runs.insert(ChunkIx(*ix));
        }
        let mut context = c().context;
        context.cover(dot(1));
        Register::Content(Content {
            stamp: stamp(4),
            context,
            body: file_of(1 << 20, 512),
            base: Some(dot(base)),
            changed: Some(runs),
            ..c()
        })
    };
    let many: Vec<u32> = (0..1_025).map(|ix| ix * 2).collect();
    let refused = [
        of_attrs(Attrs {
            stamp: stamp(1),
            kind: Kind::Symlink,
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1),
            node: ROOT,
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(0),
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1 << 63),
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1),
            mode: 0o10_000,
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1),
            xattrs: huge,
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1),
            mtime: Some(WallTime {
                secs: 0,
                nanos: 1_000_000_000,
            }),
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1),
            kind: Kind::Directory,
            node: conflict::copy_of(dot(3)),
            ..a()
        }),
        of_attrs(Attrs {
            stamp: stamp(1),
            node: NodeId(dot(0)),
            ..a()
        }),
        Register::Entry(Entry {
            stamp: stamp(1),
            node: NodeId(dot(1)),
            ..e()
        }),
        Register::Entry(Entry {
            id: EntryId(dot(1)),
            node: ROOT,
            ..e()
        }),
        Register::Entry(Entry {
            id: EntryId(dot(0)),
            ..e()
        }),
        Register::Entry(Entry {
            parent: NodeId(dot(0)),
            ..e()
        }),
        Register::Entry(beyond),
        Register::Content(itself),
        Register::Content(crowd),
        Register::Content(Content { node: ROOT, ..c() }),
        Register::Content(Content {
            stamp: stamp(4),
            node: conflict::copy_of(dot(4)),
            ..c()
        }),
        Register::Content(Content {
            stamp: stamp(4),
            body: file_of(u64::MAX, 4096),
            ..c()
        }),
        Register::Content(Content {
            stamp: stamp(4),
            body: file_of(1, 4097),
            ..c()
        }),
        Register::Content(Content {
            stamp: stamp(4),
            body: file_of(1, 256),
            ..c()
        }),
        // A base that it does not supersede; and what changed: of nothing, beyond the end, or in
        // too many places.
        changed(5, &[]),
        changed(1, &[2_048]),
        changed(1, &many),
        Register::Content(Content {
            stamp: stamp(4),
            changed: Some(Runs::default()),
            ..c()
        }),
    ];
    let before = ada.tree.registers().last_arrival();
    for register in refused {
        let applied = ada.take(register.clone());
        assert!(
            matches!(applied, Applied::Refused(_)),
            "{applied:?} {register:?}"
        );
    }
    assert_eq!(ada.tree.registers().last_arrival(), before);
    assert_eq!(ada.tree.registers().len(), 3);
    // A directory has no versions, whichever comes first.
    let dir = ada.mkdir(ROOT, "d");
    let on_directory = Content {
        stamp: stamp(4),
        node: dir,
        ..c()
    };
    assert!(matches!(
        ada.take(Register::Content(on_directory)),
        Applied::Refused(_)
    ));
    assert!(ada.tree.node(file).is_some());
    let sound = ada.take(changed(1, &[0, 2_047]));
    assert!(matches!(sound, Applied::Stored { .. }));
}

#[test]
fn p6_versions_side_by_side_are_bounded() {
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    let Some(Register::Content(content)) = ada.made.last().cloned() else {
        panic!("a file is made of its version last")
    };
    let mut tree = ada.tree;
    let mut changes = Vec::new();
    for n in 1..300 {
        let mut other = content.clone();
        other.stamp.dot = Dot {
            actor: ActorId(100 + n),
            counter: 1,
        };
        let stored = matches!(
            tree.apply(Register::Content(other), &mut changes),
            Applied::Stored { .. }
        );
        assert_eq!(stored, n < 256, "{n}");
    }
    assert_eq!(tree.registers().versions_of(file).count(), 256);
}

#[test]
fn histories_that_go_round_in_copies_of_copies_end() {
    // Somebody makes a version of the copy of another version, and the other way round.
    let mut ada = Peer::new(1, "ada");
    let file = ada.write(ROOT, "f", 1);
    let Some(Register::Content(content)) = ada.made.last().cloned() else {
        panic!("a file is made of its version last")
    };
    let dot = |counter| Dot {
        actor: ActorId(9),
        counter,
    };
    let mut version = |node, counter, lamport| {
        let mut version = content.clone();
        version.node = node;
        version.stamp.dot = dot(counter);
        version.stamp.lamport = Lamport(lamport);
        ada.take(Register::Content(version));
    };
    for n in 1..=4 {
        version(conflict::copy_of(dot(n % 4 + 1)), n, 50 + n);
        version(conflict::copy_of(dot(n % 4 + 1)), 10 + n, 60 - n);
        version(file, n, 70 + n);
    }
    for n in 1..=4 {
        ada.enter(conflict::copy_of(dot(n)), ROOT, &format!("g{n}"));
    }
    assert!(ada.tree.count() > 4);
}
