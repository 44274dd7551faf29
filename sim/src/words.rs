//! A few words for each event and action, for a page that has little room.

use tandem_core::action::{Action, DiskWish, FsReply, Invalidation, WantState};
use tandem_core::draft_wish::DraftWish;
use tandem_core::edit::Edit;
use tandem_core::event::{DiskDone, Event, Fetched, FsCall, Hint};
use tandem_core::message::{Answer, Message};
use tandem_core::place_wish::PlaceWish;
use tandem_core::trash::TrashWish;
use tandem_core::tree::name::Name;

use crate::chaos::What;
use crate::tale::Topic;

/// What a tick is called.
pub(crate) const TICK: &str = "time passes";

/// Returns an event's topic and words.
pub(crate) fn event(event: &Event) -> (Topic, String) {
    match event {
        Event::Tick => (Topic::Link, TICK.to_owned()),
        Event::Fs { call, .. } => (Topic::Call, self::call(call)),
        Event::Dialled { link } => (Topic::Link, format!("dialled {link}")),
        Event::Accepted { link, .. } => (Topic::Link, format!("accepted {link}")),
        Event::Said { message, .. } => (Topic::Link, format!("hears {}", self::message(message))),
        Event::LinkDown { link, why } => (Topic::Link, format!("{link} is down: {why:?}")),
        Event::Fetched { outcome, .. } => {
            let outcome = match outcome {
                Fetched::Data { len, .. } => format!("got {len} B"),
                Fetched::Same => "told: the same".to_owned(),
                Fetched::Hole { .. } => "told: a hole".to_owned(),
                Fetched::Tail { len, .. } => format!("got the last {len} B"),
                Fetched::Gone => "told: gone".to_owned(),
                Fetched::NotHeld => "told: not held".to_owned(),
                Fetched::Failed => "told: failed".to_owned(),
            };
            (Topic::Chunk, outcome)
        }
        Event::Asked { want, .. } => (Topic::Chunk, format!("asked for chunk {}", want.chunk.0)),
        Event::Disk {
            outcome: Ok(done), ..
        } => {
            let done = match done {
                DiskDone::Done => "disk: done".to_owned(),
                DiskDone::Listed { items, .. } => format!("disk: listed {}", items.len()),
                DiskDone::Looked { .. } => "disk: looked".to_owned(),
                DiskDone::Trash { found, .. } => format!("disk: {} in the trash", found.len()),
                DiskDone::Chunk { len, .. } => format!("disk: read {len} B"),
                DiskDone::Hashed { len, .. } => format!("disk: hashed {len} B"),
                DiskDone::Loaded { .. } => "disk: loaded".to_owned(),
                DiskDone::Read { len, .. } => format!("disk: read {len} B of an object"),
                DiskDone::Draft { .. } => "disk: found a draft".to_owned(),
                DiskDone::Prepared(files) => format!("disk: made {} ready", files.len()),
            };
            (Topic::Disk, done)
        }
        Event::Disk {
            outcome: Err(error),
            ..
        } => (Topic::Disk, format!("disk: {error:?}")),
        Event::Committed {
            outcome: Ok(()), ..
        } => (Topic::Disk, "committed".to_owned()),
        Event::Committed {
            outcome: Err(error),
            ..
        } => (Topic::Disk, format!("commit: {error:?}")),
        Event::Hint(Hint::Path { path, .. }) => (Topic::Disk, format!("hint: {}", joined(path))),
        Event::Hint(Hint::Subtree { path }) => (Topic::Disk, format!("rescan: /{}", joined(path))),
        Event::Unreadable { offset, .. } => (Topic::Disk, format!("can't be read: @{offset}")),
        Event::Stop => (Topic::Call, "asked to stop".to_owned()),
        Event::Want { path, .. } => (Topic::Call, format!("wants all of {}", joined(path))),
        Event::Settle { path, keep, .. } => {
            (Topic::Call, format!("settles {}: {keep:?}", joined(path)))
        }
        Event::Invited(invite) => (Topic::Call, format!("invites: {}", invite.id)),
        Event::Remove { peer, .. } => (Topic::Call, format!("removes {peer}")),
        Event::Restore { number, .. } => (Topic::Call, format!("wants {number} back")),
    }
}

/// Returns an action's topic and words.
pub(crate) fn action(action: &Action) -> (Topic, String) {
    match action {
        Action::Reply {
            result: Ok(reply), ..
        } => (Topic::Call, self::reply(reply)),
        Action::Reply {
            result: Err(error), ..
        } => (Topic::Call, format!("replies {error:?}")),
        Action::Dial { link, .. } => (Topic::Link, format!("dials {link}")),
        Action::Send { message, .. } => (Topic::Link, format!("says {}", self::message(message))),
        Action::Close { link } => (Topic::Link, format!("closes {link}")),
        Action::Fetch { want, lane, .. } => {
            let chunk = want.chunk.0;
            (Topic::Chunk, format!("asks for chunk {chunk}, lane {lane}"))
        }
        Action::CloseLanes { .. } => (Topic::Chunk, "closes lanes".to_owned()),
        Action::Answer { answer, .. } => {
            let answer = match answer {
                Answer::Data { .. } => "bytes",
                Answer::Same => "the same",
                Answer::Hole => "a hole",
                Answer::Tail { .. } => "last bytes",
                Answer::Gone => "gone",
                Answer::NotHeld => "not held",
                Answer::Failed => "failed",
            };
            (Topic::Chunk, format!("answers {answer}"))
        }
        Action::Drop { .. } => (Topic::Chunk, "drops bytes".to_owned()),
        Action::Disk { wish, .. } => self::wish(wish),
        Action::Commit { records, sync, .. } => {
            let sync = if *sync { ", synced" } else { "" };
            (Topic::Disk, format!("commits {}{sync}", records.len()))
        }
        Action::Invalidate(what) => {
            let what = match what {
                Invalidation::Inode { ino, .. } => format!("forget {ino}"),
                Invalidation::Entry { .. } | Invalidation::Delete { .. } => {
                    "forget a name".to_owned()
                }
            };
            (Topic::Call, what)
        }
        Action::Fault(fault) => (Topic::Fault, fault.to_string()),
        Action::Wanted { state, .. } => {
            let state = match state {
                WantState::Progress { have, size } => format!("has {have} of {size} B"),
                WantState::Done { size, .. } => format!("has all {size} B"),
                WantState::NotFound => "no such file".to_owned(),
                WantState::IsDirectory => "a directory".to_owned(),
                WantState::IsSymlink => "a symlink".to_owned(),
                WantState::NoSpace => "no space for it".to_owned(),
                WantState::Failed => "can't have it".to_owned(),
            };
            (Topic::Call, state)
        }
        Action::Settled { result, .. } => {
            let result = match result {
                Ok(settled) => format!("settled: {} stays", settled.stays),
                Err(why) => format!("not settled: {why}"),
            };
            (Topic::Call, result)
        }
        Action::Removed { result, .. } => {
            let result = match result {
                Ok(removed) => format!("removed: {}", removed.peer),
                Err(why) => format!("not removed: {why}"),
            };
            (Topic::Call, result)
        }
        Action::Restored { result, .. } => {
            let result = match result {
                Ok(restored) => format!("back: {}", joined(&restored.path)),
                Err(why) => format!("not back: {why}"),
            };
            (Topic::Call, result)
        }
        Action::Stopped => (Topic::Call, "stopped".to_owned()),
    }
}

fn wish(wish: &DiskWish) -> (Topic, String) {
    match wish {
        DiskWish::List { path } => (Topic::Disk, format!("list /{}", joined(path))),
        DiskWish::Look { path } => (Topic::Disk, format!("look at {}", joined(path))),
        DiskWish::ReadChunk { path, offset, .. } => {
            (Topic::Disk, format!("read {} @{offset}", joined(path)))
        }
        DiskWish::ReadThrown { offset, .. } => {
            (Topic::Disk, format!("read from the trash @{offset}"))
        }
        DiskWish::LoadObject { .. } => (Topic::Disk, "load object".to_owned()),
        DiskWish::CreateObject { size, .. } => (Topic::Disk, format!("create object, {size} B")),
        DiskWish::CutSidecar { len, .. } => (Topic::Disk, format!("cut sidecar to {len} B")),
        DiskWish::StoreChunk { offset, .. } => (Topic::Chunk, format!("store @{offset}")),
        DiskWish::StoreHole { offset, .. } => (Topic::Chunk, format!("hole @{offset}")),
        DiskWish::MarkSidecar { .. } => (Topic::Disk, "mark sidecar".to_owned()),
        DiskWish::SyncObject { .. } => (Topic::Disk, "sync object".to_owned()),
        DiskWish::HashChunk { offset, .. } => (Topic::Disk, format!("hash @{offset}")),
        DiskWish::FinishObject { .. } => (Topic::Disk, "finish object".to_owned()),
        DiskWish::RemoveObject { .. } => (Topic::Disk, "remove object".to_owned()),
        DiskWish::ReadStored { offset, .. } => (Topic::Disk, format!("read object @{offset}")),
        DiskWish::Place(wish) => (Topic::Disk, place(wish)),
        DiskWish::Trash(wish) => (Topic::Disk, trash(wish)),
        DiskWish::Draft { wish, .. } => (Topic::Disk, draft(wish)),
    }
}

fn trash(wish: &TrashWish) -> String {
    match wish {
        TrashWish::List => "list the trash".to_owned(),
        TrashWish::Remove { files } => format!("remove {} from the trash", files.len()),
        TrashWish::Restore { to, .. } => format!("copy from the trash to {}", joined(to)),
    }
}

fn place(wish: &PlaceWish) -> String {
    match wish {
        PlaceWish::Prepare { files } => format!("make {} ready", files.len()),
        PlaceWish::Put { to, .. } => format!("put down {}", joined(&to.names)),
        PlaceWish::MakeDirectory { at, .. } => format!("make {}/", joined(&at.names)),
        PlaceWish::MakeSymlink { at, .. } => format!("make symlink {}", joined(&at.names)),
        PlaceWish::Link { to, .. } => format!("link to {}", joined(&to.names)),
        PlaceWish::Move { from, to, .. } => {
            format!("move {} to {}", joined(&from.names), joined(&to.names))
        }
        PlaceWish::Trash { at, .. } => format!("throw away {}", joined(&at.names)),
        PlaceWish::RemoveDirectory { at, .. } => format!("remove {}/", joined(&at.names)),
        PlaceWish::Dress { at, .. } => format!("dress {}", joined(&at.names)),
        PlaceWish::Look { at } => format!("look for {}", joined(&at.names)),
        PlaceWish::List { at } => format!("list {}/ out of the way", joined(&at.names)),
        PlaceWish::Harden => "sync the folder".to_owned(),
    }
}

fn draft(wish: &DraftWish) -> String {
    match wish {
        DraftWish::Open { .. } => "open draft".to_owned(),
        DraftWish::Write { offset, .. } => format!("write draft @{offset}"),
        DraftWish::Resize { size, .. } => format!("resize draft to {size} B"),
        DraftWish::Fill { offset, .. } => format!("fill draft @{offset}"),
        DraftWish::Touch { .. } => "touch draft".to_owned(),
        DraftWish::Mark { .. } => "mark draft".to_owned(),
        DraftWish::Sync { .. } => "sync draft".to_owned(),
        DraftWish::Load => "load draft".to_owned(),
        DraftWish::Settle { .. } => "settle draft".to_owned(),
        DraftWish::Remove => "remove draft".to_owned(),
    }
}

fn edit(edit: &Edit) -> String {
    let text = String::from_utf8_lossy;
    match edit {
        Edit::Create { name, .. } => format!("create {}", text(name)),
        Edit::Make { name, .. } => format!("make {}", text(name)),
        Edit::Link { ino, name, .. } => format!("link {ino} as {}", text(name)),
        Edit::Unlink { name, .. } => format!("unlink {}", text(name)),
        Edit::RemoveDir { name, .. } => format!("rmdir {}", text(name)),
        Edit::Rename { name, to_name, .. } => format!("rename {} to {}", text(name), text(to_name)),
        Edit::SetAttr { ino, .. } => format!("setattr {ino}"),
        Edit::SetXattr { ino, .. } => format!("setxattr {ino}"),
        Edit::RemoveXattr { ino, .. } => format!("removexattr {ino}"),
        Edit::Write {
            fh,
            offset,
            append,
            len,
            ..
        } => {
            let how = if *append { "append" } else { "write" };
            format!("{how} {fh} @{offset}+{len}")
        }
        Edit::Flush { fh, .. } => format!("flush {fh}"),
        Edit::Sync { fh, .. } => format!("fsync {fh}"),
        Edit::SyncDir { ino } => format!("fsyncdir {ino}"),
    }
}

fn call(call: &FsCall) -> String {
    match call {
        FsCall::Lookup { name, .. } => format!("lookup {}", String::from_utf8_lossy(name)),
        FsCall::Forget { ino, .. } => format!("forget {ino}"),
        FsCall::GetAttr { ino } => format!("getattr {ino}"),
        FsCall::ReadLink { ino } => format!("readlink {ino}"),
        FsCall::Open { ino, .. } => format!("open {ino}"),
        FsCall::Read { fh, offset, len } => format!("read {fh} @{offset}+{len}"),
        FsCall::Release { fh } => format!("release {fh}"),
        FsCall::OpenDir { ino } => format!("opendir {ino}"),
        FsCall::ReadDir { fh, from, .. } => format!("readdir {fh} from {from}"),
        FsCall::ReleaseDir { fh } => format!("releasedir {fh}"),
        FsCall::GetXattr { ino, .. } => format!("getxattr {ino}"),
        FsCall::ListXattr { ino } => format!("listxattr {ino}"),
        FsCall::StatFs => "statfs".to_owned(),
        FsCall::Edit(made) => edit(made),
    }
}

fn reply(reply: &FsReply) -> String {
    match reply {
        FsReply::Entry(shown) | FsReply::Attr(shown) => format!("replies {}", shown.ino),
        FsReply::Absent => "replies: absent".to_owned(),
        FsReply::Target(_) => "replies: target".to_owned(),
        FsReply::Opened { fh, .. } | FsReply::OpenedDir { fh } => format!("replies {fh}"),
        FsReply::Data(stored) => format!("replies {} B", stored.len),
        FsReply::Eof => "replies: end of file".to_owned(),
        FsReply::Items(items) => format!("replies {} items", items.len()),
        FsReply::Value(_) | FsReply::Names(_) => "replies: xattr".to_owned(),
        FsReply::StatFs { .. } => "replies: statfs".to_owned(),
        FsReply::Created { fh, .. } => format!("replies {fh}, made"),
        FsReply::Written { len } => format!("replies: wrote {len} B"),
        FsReply::Done => "replies: done".to_owned(),
    }
}

/// Returns a message's words.
pub(crate) fn message(message: &Message) -> String {
    match message {
        Message::Hello(_) => "hello".to_owned(),
        Message::Refused(refusal) => format!("refused: {refusal:?}"),
        Message::Registers(batch) => match batch.registers.len() {
            1 => "1 register".to_owned(),
            count => format!("{count} registers"),
        },
        Message::Ack(arrival) => format!("ack {}", arrival.0),
        Message::Ping => "ping".to_owned(),
        Message::Pong => "pong".to_owned(),
        Message::Bye => "bye".to_owned(),
    }
}

/// Returns the words of a planned event, unless what it does has words of its own.
pub(crate) fn planned(what: What) -> Option<&'static str> {
    match what {
        What::Throttle => Some("all wires get slow"),
        What::SlowDisk => Some("a disk gets slow"),
        What::Sleep => Some("a machine sleeps"),
        What::ClockJump => Some("a wall clock jumps"),
        What::Rot => Some("stored bytes rot"),
        What::Vanish => Some("a stored file goes bad"),
        What::Hostile => Some("the hostile peer comes"),
        What::Cut
        | What::Stall
        | What::Partition
        | What::Kill
        | What::PowerLoss
        | What::Stop
        | What::Edit
        | What::Want
        | What::Remove
        | What::Restore
        | What::Settle => None,
    }
}

fn joined(path: &[Name]) -> String {
    let parts: Vec<_> = path
        .iter()
        .map(|name| String::from_utf8_lossy(name.as_bytes()))
        .collect();
    parts.join("/")
}
