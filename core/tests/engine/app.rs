//! What an application does on bo's machine, and what it sees there.

use tandem_core::action::FsReply;
use tandem_core::edit::{Edit, Making, SetAttr};
use tandem_core::engine::Last;
use tandem_core::event::{Event, FsCall};
use tandem_core::ids::{AskId, ChunkIx, Fh, Ino, LinkId, ObjectId, PayloadId, ReqId};
use tandem_core::message::Want;
use tandem_core::time::{Duration, WallTime};
use tandem_core::tree::register::{Body, Content, Register};

use crate::stage::{Stage, photo};

pub(crate) const MAKING: Making = Making {
    mode: 0o640,
    uid: 1000,
    gid: 100,
    wall: wall(100),
};

pub(crate) const fn wall(secs: i64) -> WallTime {
    WallTime { secs, nanos: 0 }
}

/// Bo, who may write, is alone.
pub(crate) fn alone() -> Stage {
    let mut stage = Stage::new(&["bo"]);
    stage.side("bo").config.writable = true;
    stage.side("bo").config.chunk_size = 512;
    stage.start("bo", Last::Clean);
    stage
}

/// Bo, who may write, has joined ada, who shares `photo` and hears of nothing that he does.
pub(crate) fn met() -> Stage {
    let mut stage = both();
    stage.deaf = &["ada"];
    stage
}

/// Bo, who may write, has joined ada, who shares `photo` and takes what he changes.
pub(crate) fn both() -> Stage {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("photo", &photo());
    stage.side("bo").config.writable = true;
    stage.side("bo").config.chunk_size = 512;
    stage.side("ada").config.writable = true;
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    stage
}

pub(crate) fn create(stage: &mut Stage, name: &str) -> (Ino, Fh) {
    let edit = Edit::Create {
        parent: Ino::ROOT,
        name: name.into(),
        making: MAKING,
        exclusive: true,
    };
    let req = stage.call("bo", FsCall::Edit(edit));
    match stage.answer("bo", req) {
        Some(Ok(FsReply::Created { shown, fh, .. })) => (shown.ino, fh),
        other => panic!("{name} was not made: {other:?}"),
    }
}

pub(crate) fn open(stage: &mut Stage, name: &str) -> (Ino, Fh) {
    let ino = stage.lookup("bo", name);
    let req = stage.call("bo", FsCall::Open { ino, write: true });
    match stage.answer("bo", req) {
        Some(Ok(FsReply::Opened { fh, .. })) => (ino, fh),
        other => panic!("{name} does not open: {other:?}"),
    }
}

pub(crate) fn write(stage: &mut Stage, fh: Fh, offset: u64, bytes: &[u8], secs: i64) -> ReqId {
    write_as(stage, fh, (offset, false), bytes, secs)
}

/// Bo appends, taking it that the file ends there.
pub(crate) fn append(stage: &mut Stage, fh: Fh, end: u64, bytes: &[u8], secs: i64) -> ReqId {
    write_as(stage, fh, (end, true), bytes, secs)
}

fn write_as(
    stage: &mut Stage,
    fh: Fh,
    (offset, append): (u64, bool),
    bytes: &[u8],
    secs: i64,
) -> ReqId {
    let payload = PayloadId(stage.draw());
    stage.side("bo").payloads.insert(payload, bytes.to_vec());
    let edit = Edit::Write {
        fh,
        offset,
        append,
        payload,
        len: u32::try_from(bytes.len()).unwrap(),
        wall: wall(secs),
    };
    stage.call("bo", FsCall::Edit(edit))
}

pub(crate) fn written(stage: &mut Stage, fh: Fh, offset: u64, bytes: &[u8], secs: i64) {
    let req = write(stage, fh, offset, bytes, secs);
    let len = u32::try_from(bytes.len()).unwrap();
    assert_eq!(
        stage.answer("bo", req),
        Some(Ok(FsReply::Written { len })),
        "a write is answered without the network"
    );
}

pub(crate) fn resize(stage: &mut Stage, ino: Ino, size: u64, secs: i64) -> ReqId {
    let set = SetAttr {
        size: Some(size),
        ..SetAttr::default()
    };
    let edit = Edit::SetAttr {
        ino,
        fh: None,
        set,
        wall: wall(secs),
    };
    stage.call("bo", FsCall::Edit(edit))
}

pub(crate) fn flush(stage: &mut Stage, fh: Fh) -> ReqId {
    let wall = wall(200);
    stage.call("bo", FsCall::Edit(Edit::Flush { fh, wall }))
}

pub(crate) fn sync(stage: &mut Stage, fh: Fh) -> ReqId {
    let wall = wall(200);
    stage.call("bo", FsCall::Edit(Edit::Sync { fh, wall }))
}

pub(crate) fn close(stage: &mut Stage, fh: Fh) {
    flush(stage, fh);
    stage.call("bo", FsCall::Release { fh });
}

pub(crate) fn is_done(stage: &mut Stage, req: ReqId) -> bool {
    match stage.answer("bo", req) {
        None => false,
        Some(Ok(_)) => true,
        Some(Err(why)) => panic!("{req}: {why}"),
    }
}

/// Returns the size that a file shows.
pub(crate) fn size(stage: &mut Stage, ino: Ino) -> u64 {
    let req = stage.call("bo", FsCall::GetAttr { ino });
    match stage.answer("bo", req) {
        Some(Ok(FsReply::Attr(shown))) => shown.size,
        other => panic!("it shows nothing: {other:?}"),
    }
}

/// Reads all of a file.
pub(crate) fn read(stage: &mut Stage, name: &str) -> Vec<u8> {
    let fh = stage.open("bo", name);
    let req = stage.read("bo", fh, 0, 100_000);
    let bytes = match stage.answer("bo", req) {
        Some(Ok(FsReply::Eof)) => Vec::new(),
        _bytes => stage.bytes("bo", req),
    };
    stage.call("bo", FsCall::Release { fh });
    bytes
}

/// Returns the versions of files that bo's store holds.
pub(crate) fn versions(stage: &mut Stage) -> Vec<Content> {
    let is_file = |register| match register {
        Register::Content(content) => Some(content),
        Register::Entry(_) | Register::Attrs(_) | Register::Digest(_) => None,
    };
    stage
        .side("bo")
        .registers()
        .into_iter()
        .filter_map(is_file)
        .filter(|content| matches!(content.body, Body::File { .. }))
        .collect()
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn pattern(len: usize, with: u8) -> Vec<u8> {
    (0..len)
        .map(|at| with ^ u8::try_from(at % 251).unwrap())
        .collect()
}

/// Returns the version of a file that bo's store holds which was made last.
pub(crate) fn newest(stage: &mut Stage) -> ObjectId {
    let all = versions(stage);
    let newest = all.iter().max_by_key(|content| content.stamp);
    newest.unwrap().object()
}

/// Asks `name`, on this link, for a chunk of a version; returns how it was answered at once.
pub(crate) fn asked_on(
    stage: &mut Stage,
    (name, link): (&str, LinkId),
    object: ObjectId,
    chunk: u32,
) -> String {
    let want = Want {
        object,
        chunk: ChunkIx(chunk),
        have: None,
    };
    stage.trace();
    let ask = AskId(stage.draw());
    stage.event(
        name,
        Event::Asked {
            link,
            ask,
            want,
            len: 0,
        },
    );
    stage.wait(Duration::from_millis(10));
    answers(stage, name).pop().unwrap_or("nothing".to_owned())
}

/// Asks bo for a chunk of a version; returns how it was answered at once.
pub(crate) fn asked(stage: &mut Stage, object: ObjectId, chunk: u32) -> String {
    let link = stage.links("bo")[0];
    asked_on(stage, ("bo", link), object, chunk)
}

/// Returns how `name` has answered asks since the trace was last taken.
pub(crate) fn answers(stage: &mut Stage, name: &str) -> Vec<String> {
    let mut who = String::new();
    let mut found = Vec::new();
    for line in stage.trace().lines() {
        if !line.starts_with(' ') {
            who = line.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some(answer) = line.trim().strip_prefix("answer: ")
            && who == name
        {
            found.push(answer.to_owned());
        }
    }
    found
}

/// Returns the name of the one conflict copy that bo sees.
pub(crate) fn copy_of(stage: &mut Stage) -> String {
    let shown = stage.shown("bo");
    let copy = shown.iter().find(|name| name.contains("conflict"));
    let copy = copy.unwrap_or_else(|| panic!("there is none: {shown:?}"));
    copy.trim_start_matches('/').to_owned()
}

/// The photo with a word in its second chunk.
pub(crate) fn greeting() -> Vec<u8> {
    let mut bytes = photo();
    bytes[600..605].copy_from_slice(b"HELLO");
    bytes
}
