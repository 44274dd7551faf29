//! What needs no names of peers or files to be said in words.

use std::collections::BTreeMap;

use tandem_core::action::{Besides, Record, Shown};
use tandem_core::draft_wish::DraftWish;
use tandem_core::edit::{Edit, Make};
use tandem_core::event::{DiskDone, FsCall, Seen, Sighting};
use tandem_core::fetch::sidecar::Sidecar;
use tandem_core::place_wish::{PlaceWish, Whereabouts};
use tandem_core::trash::TrashWish;
use tandem_core::tree::name::Name;
use tandem_core::tree::register::Kind;

pub(super) fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn path(names: &[Name]) -> String {
    let parts: Vec<_> = names.iter().map(|part| name(part.as_bytes())).collect();
    format!("/{}", parts.join("/"))
}

pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
    }
}

pub(super) fn shown(shown: &Shown) -> String {
    let Shown {
        ino,
        mode,
        nlink,
        size,
        ..
    } = shown;
    let links = if *nlink == 0 { ", nameless" } else { "" };
    format!(
        "{ino}, {} {mode:03o}, {size} bytes{links}",
        kind(shown.kind)
    )
}

pub(super) fn sighting(seen: &Sighting) -> String {
    match &seen.what {
        Seen::File => format!("file {:03o} {} bytes", seen.mode, seen.print.size),
        Seen::Directory => "directory".to_owned(),
        Seen::Symlink(target) => format!("symlink to {}", name(target.as_bytes())),
        Seen::Local => "of this machine only".to_owned(),
    }
}

pub(super) fn call(call: &FsCall) -> String {
    match call {
        FsCall::Lookup {
            parent,
            name: called,
        } => format!("look up {} in {parent}", name(called)),
        FsCall::Forget { ino, lookups } => format!("forget {ino}, {lookups} lookups"),
        FsCall::GetAttr { ino } => format!("attributes of {ino}"),
        FsCall::ReadLink { ino } => format!("target of {ino}"),
        FsCall::Open { ino, write } => {
            format!("open {ino}{}", if *write { " to write" } else { "" })
        }
        FsCall::Read { fh, offset, len } => {
            format!("read {len} bytes at {offset} through {fh}")
        }
        FsCall::Release { fh } => format!("close {fh}"),
        FsCall::OpenDir { ino } => format!("open directory {ino}"),
        FsCall::ReadDir {
            fh,
            from,
            count,
            plus,
        } => {
            let plus = if *plus { ", with attributes" } else { "" };
            format!("list {count} of {fh} from {from}{plus}")
        }
        FsCall::ReleaseDir { fh } => format!("close directory {fh}"),
        FsCall::GetXattr { ino, name: called } => {
            format!("attribute {} of {ino}", name(called))
        }
        FsCall::ListXattr { ino } => format!("attribute names of {ino}"),
        FsCall::StatFs => "space".to_owned(),
        FsCall::Edit(made) => edit(made),
    }
}

fn edit(edit: &Edit) -> String {
    match edit {
        Edit::Create {
            parent,
            name: called,
            ..
        } => format!("create {} in {parent}", name(called)),
        Edit::Make {
            parent,
            name: called,
            what,
            ..
        } => match what {
            Make::File => format!("make {} in {parent}", name(called)),
            Make::Directory => format!("make directory {} in {parent}", name(called)),
            Make::Symlink(target) => {
                format!(
                    "make symlink {} to {} in {parent}",
                    name(called),
                    name(target)
                )
            }
        },
        Edit::Link {
            ino,
            parent,
            name: called,
        } => format!("link {ino} as {} in {parent}", name(called)),
        Edit::Unlink {
            parent,
            name: called,
        } => format!("unlink {} in {parent}", name(called)),
        Edit::RemoveDir {
            parent,
            name: called,
        } => format!("remove directory {} in {parent}", name(called)),
        Edit::Rename {
            parent,
            name: called,
            to_parent,
            to_name,
            how,
        } => {
            let (from, to) = (name(called), name(to_name));
            format!("rename {from} in {parent} to {to} in {to_parent} ({how:?})")
        }
        Edit::SetAttr { ino, set, .. } => format!("set {set:?} of {ino}"),
        Edit::SetXattr {
            ino, name: called, ..
        } => format!("set attribute {} of {ino}", name(called)),
        Edit::RemoveXattr { ino, name: called } => {
            format!("remove attribute {} of {ino}", name(called))
        }
        Edit::Write {
            fh, offset, len, ..
        } => format!("write {len} bytes at {offset} through {fh}"),
        Edit::Flush { fh, .. } => format!("flush {fh}"),
        Edit::Sync { fh, .. } => format!("sync {fh}"),
        Edit::SyncDir { ino } => format!("sync directory {ino}"),
    }
}

pub(super) fn draft(wish: &DraftWish) -> String {
    match wish {
        DraftWish::Open { from, .. } => format!("open a draft ({from:?}) of"),
        DraftWish::Write { offset, .. } => format!("write at {offset} to the draft of"),
        DraftWish::Resize { size, .. } => format!("resize to {size} bytes the draft of"),
        DraftWish::Fill { offset, .. } => format!("fill at {offset} the draft of"),
        DraftWish::Touch { .. } => "set the time of the draft of".to_owned(),
        DraftWish::Mark { .. } => "mark the draft of".to_owned(),
        DraftWish::Sync { .. } => "sync the draft of".to_owned(),
        DraftWish::Load => "load the draft of".to_owned(),
        DraftWish::Settle { .. } => "settle the draft of".to_owned(),
        DraftWish::Remove => "remove the draft of".to_owned(),
    }
}

pub(super) fn done(done: &DiskDone) -> String {
    match done {
        DiskDone::Done => String::new(),
        DiskDone::Listed { items, .. } => {
            let item = |(called, seen): &(Name, Sighting)| {
                format!("{} ({})", name(called.as_bytes()), sighting(seen))
            };
            let items: Vec<_> = items.iter().map(item).collect();
            format!(
                ": {}",
                if items.is_empty() {
                    "empty".to_owned()
                } else {
                    items.join(", ")
                }
            )
        }
        DiskDone::Looked { sighting: seen, .. } => {
            format!(
                ": {}",
                seen.as_ref().map_or("nothing there".to_owned(), sighting)
            )
        }
        DiskDone::Trash { found, .. } => format!(": {} things", found.len()),
        DiskDone::Prepared(files) => format!(": {} files", files.len()),
        DiskDone::Chunk { len, .. } => format!(": {len} bytes"),
        DiskDone::Hashed { len, .. } | DiskDone::Read { len, .. } => format!(": {len} bytes"),
        DiskDone::Draft { file, .. } => match file {
            Some((len, _)) => format!(": a draft of {len} bytes"),
            None => ": no draft".to_owned(),
        },
        DiskDone::Loaded {
            sidecar,
            partial,
            complete,
        } => match (complete, partial, sidecar) {
            (Some(len), _, _) => format!(": complete, {len} bytes"),
            (None, Some(len), Some(sidecar)) => {
                let found = Sidecar::decode(sidecar, None);
                let claims = found.map_or("no good".to_owned(), |found| {
                    format!(
                        "{} chunks durable, {} claimed",
                        found.durable().have(),
                        found.claims().have()
                    )
                });
                format!(": partial, {len} bytes, sidecar: {claims}")
            }
            (None, Some(len), None) => format!(": partial, {len} bytes, no sidecar"),
            (None, None, _) => ": nothing there".to_owned(),
        },
    }
}

pub(super) fn records(records: &[Record]) -> String {
    let mut count: BTreeMap<(&str, bool), u32> = BTreeMap::new();
    for record in records {
        let what = match record.key[0] {
            b'm' => "self",
            b'r' => "register",
            b'i' => "inode",
            b'p' => "peer",
            b'b' => "binding",
            b'o' => "object",
            b'f' => "place",
            b'n' => "name",
            b'k' => "parked",
            b'w' => "intent",
            b'h' => "hash",
            b'd' => "draft",
            b'u' => "doubt",
            b't' => "trash",
            b'x' => "removed peer",
            b'v' => "thrown",
            other => panic!("a record of kind {other}"),
        };
        *count.entry((what, record.value.is_none())).or_default() += 1;
    }
    let one = |(&(what, is_removed), &count): (&(&str, bool), &u32)| {
        let many = if count > 1 {
            format!(" x{count}")
        } else {
            String::new()
        };
        let gone = if is_removed { " removed" } else { "" };
        format!("{what}{many}{gone}")
    };
    let parts: Vec<_> = count.iter().map(one).collect();
    if parts.is_empty() {
        "nothing new".to_owned()
    } else {
        parts.join(", ")
    }
}

fn at(at: &Whereabouts) -> String {
    match at.parked {
        Some(node) => format!("what lies out of the way of {node:?} {}", path(&at.names)),
        None => path(&at.names),
    }
}

pub(super) fn place(wish: &PlaceWish) -> String {
    match wish {
        PlaceWish::Prepare { files } => format!("make {} files ready", files.len()),
        PlaceWish::Put { to, over, .. } => {
            let over = if over.is_some() {
                " over what is there"
            } else {
                ""
            };
            format!("put a file down at {}{over}", at(to))
        }
        PlaceWish::MakeDirectory { at: to, .. } => format!("make the directory {}", at(to)),
        PlaceWish::MakeSymlink { at: to, .. } => format!("make the symlink {}", at(to)),
        PlaceWish::Link { from, to, .. } => format!("link {} to {}", at(from), at(to)),
        PlaceWish::Move { from, to, .. } => format!("move {} to {}", at(from), at(to)),
        PlaceWish::Trash { at: from, .. } => format!("throw {} away", at(from)),
        PlaceWish::RemoveDirectory { at: from, .. } => format!("remove {}", at(from)),
        PlaceWish::Dress { at: on, .. } => format!("dress {}", at(on)),
        PlaceWish::Look { at: on } => format!("look for {}", at(on)),
        PlaceWish::List { at: on } => format!("list {}", at(on)),
        PlaceWish::Harden => "sync the folder".to_owned(),
    }
}

pub(super) fn trash(wish: &TrashWish) -> String {
    match wish {
        TrashWish::List => "list the trash".to_owned(),
        TrashWish::Remove { files } => format!("remove {} things from the trash", files.len()),
        TrashWish::Restore { to, .. } => format!("copy a thing from the trash to {}", path(to)),
    }
}

/// Says what else is done with bytes that are read.
pub(super) fn besides(besides: Besides) -> String {
    match besides {
        Besides::Nothing => String::new(),
        Besides::Prefix(len) => format!(", hashing the first {len} too"),
        Besides::Join(_) => ", and what came behind them".to_owned(),
    }
}
