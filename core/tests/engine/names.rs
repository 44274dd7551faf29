//! Names and attributes are changed on a joiner, whether or not anybody hears of it.

use tandem_core::action::{FsReply, Shown};
use tandem_core::edit::{Edit, Make, Making, RenameHow, SetAttr, XattrHow};
use tandem_core::engine::Last;
use tandem_core::error::FsError;
use tandem_core::event::FsCall;
use tandem_core::ids::{ActorId, Arrival, Dot, EntryId, Fh, Ino, Lamport, NodeId, ReqId};
use tandem_core::label::Label;
use tandem_core::message::{Batch, FolderId, Hello, Message, PROTOCOL, Role};
use tandem_core::time::{Duration, WallTime};
use tandem_core::tree::name::Name;
use tandem_core::tree::register::{Attrs, Body, Content, Entry, Kind, Register, Stamp};
use tandem_core::version::VersionVector;

use crate::app;
use crate::stage::{Held, Side, Stage};

const WALL: WallTime = WallTime {
    secs: 1_700_000_000,
    nanos: 5,
};

const MAKING: Making = Making {
    mode: 0o640,
    uid: 1000,
    gid: 100,
    wall: WALL,
};

/// Bo, who may write, is alone: nobody answers what he dials.
fn bo_alone() -> Stage {
    let mut stage = Stage::new(&["bo"]);
    stage.side("bo").config.writable = true;
    stage.start("bo", Last::Clean);
    stage
}

fn edit(stage: &mut Stage, edit: Edit) -> Result<FsReply, FsError> {
    let req = ask(stage, edit);
    stage.answer("bo", req).expect("it is answered at once")
}

fn ask(stage: &mut Stage, edit: Edit) -> ReqId {
    stage.call("bo", FsCall::Edit(edit))
}

fn make(stage: &mut Stage, parent: Ino, name: &str, what: Make) -> Result<Shown, FsError> {
    let made = edit(
        stage,
        Edit::Make {
            parent,
            name: name.into(),
            what,
            making: MAKING,
        },
    )?;
    match made {
        FsReply::Entry(shown) => Ok(shown),
        other => panic!("{other:?} is no entry"),
    }
}

fn create(stage: &mut Stage, name: &str, exclusive: bool) -> Result<(Shown, Fh), FsError> {
    let created = edit(
        stage,
        Edit::Create {
            parent: Ino::ROOT,
            name: name.into(),
            making: MAKING,
            exclusive,
        },
    )?;
    match created {
        FsReply::Created { shown, fh, .. } => Ok((shown, fh)),
        other => panic!("{other:?} is no file"),
    }
}

fn rename(stage: &mut Stage, from: (Ino, &str), to: (Ino, &str), how: RenameHow) -> FsError {
    let renamed = edit(
        stage,
        Edit::Rename {
            parent: from.0,
            name: from.1.into(),
            to_parent: to.0,
            to_name: to.1.into(),
            how,
        },
    );
    renamed.err().unwrap_or(FsError::NotSupported)
}

/// What `rename` returns where nothing is wrong.
const FINE: FsError = FsError::NotSupported;

fn unlink(stage: &mut Stage, parent: Ino, name: &str) -> Result<FsReply, FsError> {
    let name = name.into();
    edit(stage, Edit::Unlink { parent, name })
}

fn set(stage: &mut Stage, ino: Ino, set: SetAttr) -> Result<Shown, FsError> {
    let wall = WALL;
    let fh = None;
    match edit(stage, Edit::SetAttr { ino, fh, set, wall })? {
        FsReply::Attr(shown) => Ok(shown),
        other => panic!("{other:?} are no attributes"),
    }
}

fn names(stage: &mut Stage) -> Vec<String> {
    stage.shown("bo").into_iter().collect()
}

#[test]
fn what_is_made_is_there_and_stays() {
    let mut stage = bo_alone();
    let dir = make(&mut stage, Ino::ROOT, "dir", Make::Directory).unwrap();
    assert_eq!(
        (dir.kind, dir.mode, dir.mtime),
        (Kind::Directory, 0o640, WALL)
    );
    let file = make(&mut stage, dir.ino, "file", Make::File).unwrap();
    assert_eq!((file.kind, file.size, file.uid), (Kind::File, 0, 1000));
    let link = make(&mut stage, dir.ino, "link", Make::Symlink(b"file".to_vec())).unwrap();
    assert_eq!((link.kind, link.size), (Kind::Symlink, 4));
    let again = make(&mut stage, dir.ino, "file", Make::Directory);
    assert_eq!(again, Err(FsError::Exists));
    let before = names(&mut stage);
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    assert_eq!(names(&mut stage), before);
    assert_eq!(before.len(), 3);
}

#[test]
fn names_that_can_not_be_are_refused() {
    let mut stage = bo_alone();
    let mut try_name = |name: &str| make(&mut stage, Ino::ROOT, name, Make::File).unwrap_err();
    assert_eq!(try_name(".tandem"), FsError::NotPermitted);
    assert_eq!(try_name(&"x".repeat(256)), FsError::NameTooLong);
    assert_eq!(try_name("a/b"), FsError::Invalid);
    assert_eq!(try_name(".."), FsError::Invalid);
}

#[test]
fn a_replica_that_takes_no_changes_says_so() {
    let mut stage = Stage::met();
    let made = make(&mut stage, Ino::ROOT, "file", Make::File);
    assert_eq!(made, Err(FsError::ReadOnly));
}

/// P2: an answer that is out before the commit is stored would be taken back by a kill.
#[test]
fn an_edit_is_answered_when_it_is_stored() {
    let mut stage = bo_alone();
    stage.hold("bo", Held::Commits);
    let req = ask(
        &mut stage,
        Edit::Make {
            parent: Ino::ROOT,
            name: b"file".to_vec(),
            what: Make::File,
            making: MAKING,
        },
    );
    assert_eq!(stage.answer("bo", req), None);
    stage.release("bo", Held::Commits);
    assert!(matches!(
        stage.answer("bo", req),
        Some(Ok(FsReply::Entry(_)))
    ));
}

/// P9: a store that has no room answers, and what was asked for is stored once there is.
#[test]
fn a_full_store_is_an_error_and_no_wait() {
    let mut stage = bo_alone();
    stage.side("bo").full = 1;
    let made = make(&mut stage, Ino::ROOT, "file", Make::File);
    assert_eq!(made, Err(FsError::NoSpace));
    stage.wait(Duration::from_secs(2));
    assert!(make(&mut stage, Ino::ROOT, "other", Make::File).is_ok());
}

/// P7: the application has no handle that it could close; the file was open for ever.
#[test]
fn what_a_full_store_refused_to_create_is_open_nowhere() {
    let mut stage = bo_alone();
    stage.side("bo").full = 1;
    let req = ask(
        &mut stage,
        Edit::Create {
            parent: Ino::ROOT,
            name: b"file".to_vec(),
            making: MAKING,
            exclusive: true,
        },
    );
    assert_eq!(stage.answer("bo", req), Some(Err(FsError::NoSpace)));
    stage.wait(Duration::from_secs(2));
    assert_eq!(names(&mut stage).len(), 1, "it is there by now");
    let (_, fh) = app::open(&mut stage, "file");
    app::written(&mut stage, fh, 0, b"bytes", 101);
    app::close(&mut stage, fh);
    stage.wait(Duration::from_secs(3));
    assert_eq!(stage.side("bo").objects.drafts(), 0, "nobody has it open");
}

/// S12: a peer that has the first half of a rename over a name would show neither.
#[test]
fn a_rename_over_a_name_is_told_in_one_piece() {
    let mut stage = bo_alone();
    make(&mut stage, Ino::ROOT, "config", Make::File).unwrap();
    let new = make(&mut stage, Ino::ROOT, "config.lock", Make::File).unwrap();
    let to = (Ino::ROOT, "config");
    let from = (Ino::ROOT, "config.lock");
    assert_eq!(
        rename(&mut stage, from, to, RenameHow::NoReplace),
        FsError::Exists
    );
    assert_eq!(rename(&mut stage, from, to, RenameHow::Replace), FINE);
    assert_eq!(names(&mut stage).len(), 1);
    assert_eq!(stage.lookup("bo", "config"), new.ino);
    let registers = stage.side("bo").registers();
    let mut moves: Vec<_> = registers
        .iter()
        .filter_map(|register| match register {
            Register::Entry(entry) => Some(entry.stamp),
            Register::Attrs(_) | Register::Content(_) | Register::Digest(_) => None,
        })
        .collect();
    moves.sort();
    assert_eq!(moves.len(), 2);
    assert_eq!(moves[0].lamport, moves[1].lamport, "they are one edit");
}

#[test]
fn renames_keep_the_rules_of_their_kind() {
    let mut stage = bo_alone();
    let dir = make(&mut stage, Ino::ROOT, "dir", Make::Directory).unwrap();
    let below = make(&mut stage, dir.ino, "below", Make::Directory).unwrap();
    let other = make(&mut stage, Ino::ROOT, "other", Make::Directory).unwrap();
    make(&mut stage, Ino::ROOT, "file", Make::File).unwrap();
    let root = Ino::ROOT;
    let replace = RenameHow::Replace;
    let stage = &mut stage;
    assert_eq!(
        rename(stage, (root, "dir"), (below.ino, "dir"), replace),
        FsError::Invalid
    );
    assert_eq!(
        rename(stage, (root, "dir"), (root, "file"), replace),
        FsError::NotDirectory
    );
    assert_eq!(
        rename(stage, (root, "file"), (root, "dir"), replace),
        FsError::IsDirectory
    );
    assert_eq!(
        rename(stage, (root, "other"), (root, "dir"), replace),
        FsError::NotEmpty
    );
    assert_eq!(
        rename(stage, (root, "gone"), (root, "dir"), replace),
        FsError::NoEntry
    );
    assert_eq!(rename(stage, (root, "dir"), (root, "dir"), replace), FINE);
    let exchange = RenameHow::Exchange;
    assert_eq!(
        rename(stage, (root, "file"), (root, "none"), exchange),
        FsError::NoEntry
    );
    assert_eq!(
        rename(stage, (root, "dir"), (below.ino, "x"), exchange),
        FsError::NoEntry
    );
    assert_eq!(
        rename(stage, (root, "dir"), (dir.ino, "below"), exchange),
        FsError::Invalid
    );
    assert_eq!(
        rename(stage, (root, "file"), (dir.ino, "below"), exchange),
        FINE
    );
    assert_eq!(stage.lookup("bo", "file"), below.ino);
    assert_eq!(
        rename(stage, (root, "dir"), (other.ino, "dir"), replace),
        FINE
    );
    assert_eq!(names(stage).len(), 4);
}

#[test]
fn directories_go_when_they_are_empty_and_files_at_once() {
    let mut stage = bo_alone();
    let dir = make(&mut stage, Ino::ROOT, "dir", Make::Directory).unwrap();
    make(&mut stage, dir.ino, "file", Make::File).unwrap();
    let parent = Ino::ROOT;
    let name = b"dir".to_vec();
    let remove = Edit::RemoveDir { parent, name };
    assert_eq!(edit(&mut stage, remove.clone()), Err(FsError::NotEmpty));
    assert_eq!(unlink(&mut stage, parent, "dir"), Err(FsError::IsDirectory));
    assert_eq!(unlink(&mut stage, dir.ino, "file"), Ok(FsReply::Done));
    assert_eq!(unlink(&mut stage, dir.ino, "file"), Err(FsError::NoEntry));
    assert_eq!(edit(&mut stage, remove), Ok(FsReply::Done));
    assert!(names(&mut stage).is_empty());
}

#[test]
fn a_file_has_several_names_and_ends_with_the_last() {
    let mut stage = bo_alone();
    let (file, fh) = create(&mut stage, "one", true).unwrap();
    let linked = edit(
        &mut stage,
        Edit::Link {
            ino: file.ino,
            parent: Ino::ROOT,
            name: b"two".to_vec(),
        },
    );
    assert!(matches!(linked, Ok(FsReply::Entry(shown)) if shown.nlink == 2));
    unlink(&mut stage, Ino::ROOT, "one").unwrap();
    assert_eq!(stage.lookup("bo", "two"), file.ino);
    unlink(&mut stage, Ino::ROOT, "two").unwrap();
    // It has no name, and is there for whoever has it open.
    let mode = Some(0o600);
    let shown = set(
        &mut stage,
        file.ino,
        SetAttr {
            mode,
            ..SetAttr::default()
        },
    )
    .unwrap();
    assert_eq!((shown.nlink, shown.mode), (0, 0o600));
    assert!(
        names(&mut stage).is_empty(),
        "its attributes do not bring it back"
    );
    stage.call("bo", FsCall::Release { fh });
}

#[test]
fn a_file_that_is_there_is_opened_unless_it_must_be_new() {
    let mut stage = bo_alone();
    let (made, first) = create(&mut stage, "file", true).unwrap();
    assert_eq!(
        create(&mut stage, "file", true).map(|_| ()),
        Err(FsError::Exists)
    );
    let (there, second) = create(&mut stage, "file", false).unwrap();
    assert_eq!(there.ino, made.ino);
    assert_ne!(first, second);
}

/// S20: a mode that forbids writing is kept, and times and attributes too.
#[test]
fn attributes_are_set_and_stay() {
    let mut stage = bo_alone();
    let file = make(&mut stage, Ino::ROOT, "file", Make::File).unwrap();
    let then = WallTime { secs: 9, nanos: 7 };
    let wanted = SetAttr {
        mode: Some(0o444),
        uid: Some(5),
        gid: Some(6),
        mtime: None,
        size: None,
    };
    let shown = set(&mut stage, file.ino, wanted).unwrap();
    assert_eq!((shown.mode, shown.uid, shown.gid), (0o444, 5, 6));
    let xattr = |how| Edit::SetXattr {
        ino: file.ino,
        name: b"user.colour".to_vec(),
        value: b"red".to_vec(),
        how,
    };
    assert_eq!(
        edit(&mut stage, xattr(XattrHow::Replace)),
        Err(FsError::NoAttribute)
    );
    assert_eq!(edit(&mut stage, xattr(XattrHow::Create)), Ok(FsReply::Done));
    assert_eq!(
        edit(&mut stage, xattr(XattrHow::Create)),
        Err(FsError::Exists)
    );
    // Of a symlink the shared folder could not hold it, and the other side would not show it.
    let link = Make::Symlink(b"file".to_vec());
    let link = make(&mut stage, Ino::ROOT, "link", link).unwrap();
    let on_link = Edit::SetXattr {
        ino: link.ino,
        name: b"user.colour".to_vec(),
        value: b"red".to_vec(),
        how: XattrHow::Set,
    };
    assert_eq!(edit(&mut stage, on_link), Err(FsError::NotPermitted));
    let dir = make(&mut stage, Ino::ROOT, "dir", Make::Directory).unwrap();
    let mtime = Some(then);
    set(
        &mut stage,
        dir.ino,
        SetAttr {
            mtime,
            ..SetAttr::default()
        },
    )
    .unwrap();
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    let ino = stage.lookup("bo", "file");
    let shown = set(&mut stage, ino, SetAttr::default()).unwrap();
    assert_eq!((shown.mode, shown.uid, shown.gid), (0o444, 5, 6));
    let name = b"user.colour".to_vec();
    let got = stage.call(
        "bo",
        FsCall::GetXattr {
            ino,
            name: name.clone(),
        },
    );
    let red = FsReply::Value(b"red"[..].into());
    assert_eq!(stage.answer("bo", got), Some(Ok(red)));
    assert_eq!(
        edit(
            &mut stage,
            Edit::RemoveXattr {
                ino,
                name: name.clone()
            }
        ),
        Ok(FsReply::Done)
    );
    let again = edit(&mut stage, Edit::RemoveXattr { ino, name });
    assert_eq!(again, Err(FsError::NoAttribute));
    let dir = stage.lookup("bo", "dir");
    let shown = set(&mut stage, dir, SetAttr::default()).unwrap();
    assert_eq!(shown.mtime, then);
}

#[test]
fn what_is_made_in_a_set_group_directory_has_its_group() {
    let mut stage = bo_alone();
    let dir = make(&mut stage, Ino::ROOT, "dir", Make::Directory).unwrap();
    let mode = Some(0o2775);
    let gid = Some(77);
    set(
        &mut stage,
        dir.ino,
        SetAttr {
            mode,
            gid,
            ..SetAttr::default()
        },
    )
    .unwrap();
    let file = make(&mut stage, dir.ino, "file", Make::File).unwrap();
    assert_eq!((file.gid, file.mode), (77, 0o640));
    let below = make(&mut stage, dir.ino, "below", Make::Directory).unwrap();
    assert_eq!((below.gid, below.mode), (77, 0o2640));
}

pub(crate) fn adas_hello() -> Message {
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder: Some(FolderId([9; 16])),
        role: Role::Full,
        name: Label::parse("ada").unwrap(),
        secret: None,
        session: 1,
        actor: ActorId(5),
        epoch: 6,
        knowledge: VersionVector::new(),
        cursor: None,
        takes_changes: true,
        pushes: false,
    })
}

/// The stamp of what ada made.
fn adas(counter: u64) -> Stamp {
    Stamp {
        lamport: Lamport(counter),
        dot: Dot {
            actor: ActorId(5),
            counter,
        },
    }
}

/// Makes a node of ada's, and the two that follow it: its content (of so many bytes, if it is a
/// file) and its name.
fn adas_node(counter: u64, name: &str, size: Option<u64>) -> Vec<Register> {
    let node = NodeId(adas(counter).dot);
    let attrs = Register::Attrs(Attrs {
        node,
        stamp: adas(counter),
        kind: size.map_or(Kind::Directory, |_| Kind::File),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: None,
        xattrs: [].into(),
    });
    let content = size.map(|size| {
        Register::Content(Content {
            node,
            stamp: adas(counter + 1),
            context: VersionVector::new(),
            beside: Vec::new(),
            author: Label::parse("ada").unwrap(),
            day: 1,
            mtime: WALL,
            body: Body::File {
                size,
                chunk_size: 4096,
            },
            base: None,
            changed: None,
        })
    });
    let entry = Register::Entry(Entry {
        id: EntryId(adas(counter + 2).dot),
        stamp: adas(counter + 2),
        node,
        parent: NodeId::ROOT,
        name: Name::parse(name.as_bytes()).unwrap(),
        previous: None,
        deleted: None,
    });
    [attrs].into_iter().chain(content).chain([entry]).collect()
}

/// Bo, who may write, and whom ada has told this, though not yet all that she has.
fn bo_who_heard(registers: Vec<Register>) -> Stage {
    let mut stage = Stage::of(vec![Side::joiner(1, "bo")]);
    stage.side("bo").config.writable = true;
    stage.start("bo", Last::Clean);
    let link = stage.puppet.expect("bo has dialled");
    stage.said("bo", link, adas_hello());
    let batch = Batch {
        upto: Arrival(9),
        registers,
        knowledge: None,
    };
    stage.said("bo", link, Message::Registers(batch));
    stage
}

/// A host was still telling what it has, so that none of it counted as known, when a file and a
/// directory were removed: the delete knew nothing of them, and both stood there as before.
#[test]
fn what_is_removed_before_all_was_told_stays_removed() {
    let file = adas_node(1, "file", Some(7));
    let mut stage = bo_who_heard([file, adas_node(4, "dir", None)].concat());
    assert_eq!(names(&mut stage), ["/dir", "/file"]);
    unlink(&mut stage, Ino::ROOT, "file").unwrap();
    let name = b"dir".to_vec();
    let parent = Ino::ROOT;
    edit(&mut stage, Edit::RemoveDir { parent, name }).unwrap();
    assert!(names(&mut stage).is_empty());
}

/// Two files had one name, and a third was renamed onto it, over the one that was shown there. The
/// other of them is shown then, and the third as a conflict copy; but the kernel, which had asked
/// for the rename, was told nothing of that name, and kept the third there.
#[test]
fn whoever_renames_onto_a_name_is_told_what_else_is_shown_there() {
    for how in [RenameHow::Replace, RenameHow::Exchange] {
        let first = adas_node(1, "file", Some(7));
        let mut stage = bo_who_heard([first, adas_node(4, "file", Some(8))].concat());
        let (mine, _) = create(&mut stage, "mine", true).unwrap();
        stage.trace();
        let (from, to) = ((Ino::ROOT, "mine"), (Ino::ROOT, "file"));
        assert_eq!(rename(&mut stage, from, to, how), FINE);
        let trace = stage.trace();
        assert_ne!(stage.lookup("bo", "file"), mine.ino);
        assert!(trace.contains("forget the name file in"), "{trace}");
    }
}

/// A power loss takes back what was not synced; nobody may have heard of it.
#[test]
fn peers_hear_of_an_edit_when_it_is_synced() {
    let mut stage = Stage::of(vec![Side::joiner(1, "bo")]);
    stage.side("bo").config.writable = true;
    stage.start("bo", Last::Clean);
    let link = stage.puppet.expect("bo has dialled");
    stage.said("bo", link, adas_hello());
    make(&mut stage, Ino::ROOT, "file", Make::File).unwrap();
    let told = |stage: &Stage| {
        let sent = stage.traffic.iter().filter(|traffic| traffic.is_sent);
        sent.filter(|traffic| match &traffic.message {
            Message::Registers(batch) => !batch.registers.is_empty(),
            _ => false,
        })
        .count()
    };
    assert_eq!(told(&stage), 0);
    let synced = stage.side("bo").syncs;
    stage.wait(Duration::from_millis(30));
    assert_eq!(stage.side("bo").syncs, synced + 1);
    assert_eq!(told(&stage), 1);
}

/// S35: its joiner used to take changes that the host then hung up on it for, again and again.
#[test]
fn a_joiner_takes_no_changes_that_its_host_would_not_s35() {
    let mut stage = Stage::new(&["bo"]);
    stage.side("bo").config.writable = true;
    stage.side("ada").files.write("photo", b"bytes");
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    let made = make(&mut stage, Ino::ROOT, "file", Make::File);
    assert_eq!(made, Err(FsError::ReadOnly));
    // It knows without being told again.
    stage.kill("ada");
    stage.kill("bo");
    stage.start("bo", Last::Killed);
    let made = make(&mut stage, Ino::ROOT, "file", Make::File);
    assert_eq!(made, Err(FsError::ReadOnly));
    assert_eq!(stage.side("bo").faults, []);
}
