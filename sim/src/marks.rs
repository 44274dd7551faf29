//! What counts as reached: every event, every action and every outcome by its kind, and every
//! fault in every state in which it can meet a peer.
//!
//! Law: the matches are total, so that a new event, action or job needs a mark; and what
//! [`crate::reach::expected`] lists, the default range of seeds must reach.

use tandem_core::action::{Action, DiskWish, FsReply, Invalidation, WantState};
use tandem_core::conflicts::{Keep, Unsettled};
use tandem_core::draft_wish::DraftWish;
use tandem_core::edit::Edit;
use tandem_core::error::{DiskError, Fault, FsError};
use tandem_core::event::{DiskDone, Event, Fetched, FsCall, Hint, LinkDown};
use tandem_core::message::{Answer, Message, Refusal};
use tandem_core::peers::Unremoved;
use tandem_core::status::LinkState;
use tandem_core::trash::{TrashWish, Unrestored};

use crate::world::World;

/// Faults that can meet a peer in any state.
pub const FAULTS: [&str; 8] = [
    "kill",
    "power loss",
    "stop",
    "cut",
    "stall",
    "sleep",
    "slow disk",
    "throttle",
];

/// States of a joiner in which a fault can meet it.
pub const STATES: [&str; 14] = [
    "loading",
    "creating",
    "cutting a sidecar",
    "storing",
    "marking",
    "syncing",
    "hashing",
    "finishing",
    "removing",
    "committing",
    "dialling",
    "greeting",
    "live",
    "suspect",
];

/// States of a host in which a fault can meet it.
pub const HOST_STATES: [&str; 3] = ["listing", "looking", "reading a chunk"];

/// States of a peer in which a fault can meet it only where joiners write.
pub const WRITING_STATES: [&str; 11] = [
    "placing",
    "opening a draft",
    "writing a draft",
    "resizing a draft",
    "filling a draft",
    "touching a draft",
    "marking a draft",
    "syncing a draft",
    "loading a draft",
    "settling a draft",
    "removing a draft",
];

/// Returns what a peer does while a job is under way.
pub(crate) fn job(wish: &DiskWish) -> &'static str {
    match wish {
        DiskWish::List { .. } => "listing",
        DiskWish::Look { .. } => "looking",
        DiskWish::Place(_) => "placing",
        DiskWish::Trash(TrashWish::List) => "listing the trash",
        DiskWish::Trash(TrashWish::Remove { .. }) => "emptying the trash",
        DiskWish::Trash(TrashWish::Restore { .. }) => "restoring",
        DiskWish::ReadChunk { .. } | DiskWish::ReadThrown { .. } => "reading a chunk",
        DiskWish::LoadObject { .. } => "loading",
        DiskWish::CreateObject { .. } => "creating",
        DiskWish::CutSidecar { .. } => "cutting a sidecar",
        DiskWish::StoreChunk { .. } => "storing",
        DiskWish::StoreHole { .. } => "storing a hole",
        DiskWish::MarkSidecar { .. } => "marking",
        DiskWish::SyncObject { .. } => "syncing",
        DiskWish::HashChunk { .. } => "hashing",
        DiskWish::FinishObject { .. } => "finishing",
        DiskWish::RemoveObject { .. } => "removing",
        DiskWish::ReadStored { .. } => "reading an object",
        DiskWish::Draft { wish, .. } => match wish {
            DraftWish::Open { .. } => "opening a draft",
            DraftWish::Write { .. } => "writing a draft",
            DraftWish::Resize { .. } => "resizing a draft",
            DraftWish::Fill { .. } => "filling a draft",
            DraftWish::Touch { .. } => "touching a draft",
            DraftWish::Mark { .. } => "marking a draft",
            DraftWish::Sync { .. } => "syncing a draft",
            DraftWish::Load => "loading a draft",
            DraftWish::Settle { .. } => "settling a draft",
            DraftWish::Remove => "removing a draft",
        },
    }
}

fn link(state: LinkState) -> &'static str {
    match state {
        LinkState::Dialling => "dialling",
        LinkState::Greeting => "greeting",
        LinkState::Live => "live",
        LinkState::Suspect => "suspect",
        LinkState::Gone => "gone",
    }
}

fn message(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Refused(why) => match why {
            Refusal::NotPaired => "refused: not paired",
            Refusal::Protocol => "refused: protocol",
            Refusal::OtherFolder => "refused: other folder",
            Refusal::Busy => "refused: busy",
            Refusal::Broken => "refused: broken",
            Refusal::Removed => "refused: removed",
        },
        Message::Registers(batch) if batch.knowledge.is_none() => "registers, to be continued",
        Message::Registers(_) => "registers",
        Message::Ack(_) => "ack",
        Message::Ping => "ping",
        Message::Pong => "pong",
        Message::Bye => "bye",
    }
}

fn call(call: &FsCall) -> &'static str {
    match call {
        FsCall::Lookup { .. } => "lookup",
        FsCall::Forget { .. } => "forget",
        FsCall::GetAttr { .. } => "getattr",
        FsCall::ReadLink { .. } => "readlink",
        FsCall::Open { .. } => "open",
        FsCall::Read { .. } => "read",
        FsCall::Release { .. } => "release",
        FsCall::OpenDir { .. } => "opendir",
        FsCall::ReadDir { .. } => "readdir",
        FsCall::ReleaseDir { .. } => "releasedir",
        FsCall::GetXattr { .. } => "getxattr",
        FsCall::ListXattr { .. } => "listxattr",
        FsCall::StatFs => "statfs",
        FsCall::Edit(edit) => match edit {
            Edit::Create { .. } => "create",
            Edit::Make { .. } => "make",
            Edit::Link { .. } => "link",
            Edit::Unlink { .. } => "unlink",
            Edit::RemoveDir { .. } => "rmdir",
            Edit::Rename { .. } => "rename",
            Edit::SetAttr { .. } => "setattr",
            Edit::SetXattr { .. } => "setxattr",
            Edit::RemoveXattr { .. } => "removexattr",
            Edit::Write { .. } => "write",
            Edit::Flush { .. } => "flush",
            Edit::Sync { .. } => "fsync",
            Edit::SyncDir { .. } => "fsyncdir",
        },
    }
}

/// Returns what kind of event this is, in two words.
pub(crate) fn event(event: &Event) -> (&'static str, &'static str) {
    match event {
        Event::Tick => ("tick", ""),
        Event::Fs { call: made, .. } => ("call", call(made)),
        Event::Dialled { .. } => ("link", "dialled"),
        Event::Accepted { .. } => ("link", "accepted"),
        Event::Said { message: said, .. } => ("heard", message(said)),
        Event::LinkDown { why, .. } => match why {
            LinkDown::Unreachable => ("link down", "unreachable"),
            LinkDown::WrongKey => ("link down", "wrong key"),
            LinkDown::Lost => ("link down", "lost"),
            LinkDown::Garbled => ("link down", "garbled"),
        },
        Event::Fetched { outcome, .. } => match outcome {
            Fetched::Data {
                computed, recorded, ..
            } if computed != recorded => ("fetched", "damaged"),
            Fetched::Data { .. } => ("fetched", "data"),
            Fetched::Same => ("fetched", "the same"),
            Fetched::Hole { .. } => ("fetched", "a hole"),
            Fetched::Tail { .. } => ("fetched", "a tail"),
            Fetched::Gone => ("fetched", "gone"),
            Fetched::NotHeld => ("fetched", "not held"),
            Fetched::Failed => ("fetched", "failed"),
        },
        Event::Asked { .. } => ("asked", ""),
        Event::Disk { outcome, .. } => match outcome {
            Ok(done) => match done {
                DiskDone::Done => ("disk", "done"),
                DiskDone::Listed { complete: true, .. } => ("disk", "listed"),
                DiskDone::Listed { .. } => ("disk", "listed in part"),
                DiskDone::Looked { sighting: None, .. } => ("disk", "nothing seen"),
                DiskDone::Looked { .. } => ("disk", "seen"),
                DiskDone::Trash { .. } => ("disk", "trash listed"),
                DiskDone::Chunk { before, after, .. } if before != after => {
                    ("disk", "chunk, changed meanwhile")
                }
                DiskDone::Chunk { .. } => ("disk", "chunk"),
                DiskDone::Hashed { .. } => ("disk", "hashed"),
                DiskDone::Read { .. } => ("disk", "read"),
                DiskDone::Draft { .. } => ("disk", "draft"),
                DiskDone::Prepared(_) => ("disk", "made ready"),
                DiskDone::Loaded {
                    sidecar,
                    partial,
                    complete,
                } => match (sidecar, partial, complete) {
                    (_, _, Some(_)) => ("loaded", "complete"),
                    (Some(_), Some(_), None) => ("loaded", "partial"),
                    (Some(_), None, None) => ("loaded", "a sidecar alone"),
                    (None, Some(_), None) => ("loaded", "a partial file alone"),
                    (None, None, None) => ("loaded", "nothing"),
                },
            },
            Err(why) => match why {
                DiskError::NotFound => ("disk", "not found"),
                DiskError::WrongKind => ("disk", "of the wrong kind"),
                DiskError::NoSpace => ("disk", "full"),
                DiskError::Denied => ("disk", "denied"),
                DiskError::Exists => ("disk", "taken"),
                DiskError::NotEmpty => ("disk", "not empty"),
                DiskError::Changed => ("disk", "changed"),
                DiskError::Io => ("disk", "error"),
            },
        },
        Event::Committed { outcome, .. } => match outcome {
            Ok(()) => ("commit", "done"),
            Err(_) => ("commit", "failed"),
        },
        Event::Hint(Hint::Path { settled: true, .. }) => ("hint", "settled"),
        Event::Hint(Hint::Path { .. }) => ("hint", "growing"),
        Event::Hint(Hint::Subtree { .. }) => ("hint", "subtree"),
        Event::Unreadable { .. } => ("disk", "can't be read"),
        Event::Stop => ("stop", ""),
        Event::Want { .. } => ("want", ""),
        Event::Settle { keep, .. } => match keep {
            Keep::Mine => ("settle", "mine"),
            Keep::Theirs => ("settle", "theirs"),
            Keep::Both => ("settle", "both"),
        },
        Event::Invited(_) => ("invite", ""),
        Event::Remove { .. } => ("remove", ""),
        Event::Restore { .. } => ("restore", ""),
    }
}

/// Returns what kind of action this is, in two words.
pub(crate) fn action(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::Reply { result, .. } => match result {
            Ok(reply) => ("reply", replied(reply)),
            Err(error) => ("reply", refused(*error)),
        },
        Action::Dial { .. } => ("does", "dial"),
        Action::Send { message: said, .. } => ("says", message(said)),
        Action::Close { .. } => ("does", "close"),
        Action::Fetch { .. } => ("does", "fetch"),
        Action::CloseLanes { .. } => ("does", "close lanes"),
        Action::Answer { answer, .. } => match answer {
            Answer::Data { .. } => ("answer", "data"),
            Answer::Same => ("answer", "the same"),
            Answer::Hole => ("answer", "a hole"),
            Answer::Tail { .. } => ("answer", "a tail"),
            Answer::Gone => ("answer", "gone"),
            Answer::NotHeld => ("answer", "not held"),
            Answer::Failed => ("answer", "failed"),
        },
        Action::Drop { .. } => ("does", "drop a payload"),
        Action::Disk { wish, .. } => ("job", job(wish)),
        Action::Commit { sync: true, .. } => ("does", "commit for good"),
        Action::Commit { .. } => ("does", "commit"),
        Action::Invalidate(what) => match what {
            Invalidation::Inode { data: true, .. } => ("invalidate", "pages"),
            Invalidation::Inode { .. } => ("invalidate", "attributes"),
            Invalidation::Entry { .. } => ("invalidate", "entry"),
            Invalidation::Delete { .. } => ("invalidate", "delete"),
        },
        Action::Fault(fault) => match fault {
            Fault::MuchMissing { .. } => ("fault", "much missing"),
            Fault::Protocol { .. } => ("fault", "protocol"),
            Fault::Refused { .. } => ("fault", "refused"),
            Fault::Turned { .. } => ("fault", "turned away"),
            Fault::ChunkMissing { .. } => ("fault", "chunk missing"),
            Fault::ChunkCorrupt { .. } => ("fault", "chunk corrupt"),
            Fault::ChunkRotten { .. } => ("fault", "chunk rotten"),
            Fault::Unreadable { .. } => ("fault", "unreadable"),
            Fault::Forgot { .. } => ("fault", "we forgot"),
            Fault::HostForgot { .. } => ("fault", "the host forgot"),
            Fault::Disk { .. } => ("fault", "disk"),
            Fault::Store { .. } => ("fault", "store"),
            Fault::Sidecar { .. } => ("fault", "sidecar"),
            Fault::Draft { .. } => ("fault", "draft"),
        },
        Action::Wanted { state, .. } => match state {
            WantState::Progress { .. } => ("wanted", "progress"),
            WantState::Done { .. } => ("wanted", "done"),
            WantState::NotFound => ("wanted", "not found"),
            WantState::IsDirectory => ("wanted", "a directory"),
            WantState::IsSymlink => ("wanted", "a symlink"),
            WantState::NoSpace => ("wanted", "no space"),
            WantState::Failed => ("wanted", "failed"),
        },
        Action::Settled { result, .. } => match result {
            Ok(_) => ("settled", ""),
            Err(why) => match why {
                Unsettled::Starting => ("unsettled", "starting"),
                Unsettled::Stopping => ("unsettled", "stopping"),
                Unsettled::ReadOnly => ("unsettled", "read-only"),
                Unsettled::NotFound => ("unsettled", "not found"),
                Unsettled::NoConflict => ("unsettled", "no conflict"),
                Unsettled::Directory => ("unsettled", "a directory"),
                Unsettled::OneSided { .. } => ("unsettled", "one-sided"),
                Unsettled::BeingWritten { .. } => ("unsettled", "being written"),
                Unsettled::InPart { .. } => ("unsettled", "in part"),
            },
        },
        Action::Removed { result, .. } => match result {
            Ok(_) => ("removed", ""),
            Err(why) => match why {
                Unremoved::Stopping => ("not removed", "stopping"),
                Unremoved::NotShared => ("not removed", "not shared"),
                Unremoved::Oneself => ("not removed", "oneself"),
                Unremoved::Unknown => ("not removed", "unknown"),
                Unremoved::Already => ("not removed", "already"),
            },
        },
        Action::Restored { result, .. } => match result {
            Ok(_) => ("restored", ""),
            Err(why) => match why {
                Unrestored::Stopping => ("not restored", "stopping"),
                Unrestored::NotShared => ("not restored", "not shared"),
                Unrestored::Unknown => ("not restored", "unknown"),
                Unrestored::Busy => ("not restored", "busy"),
                Unrestored::Gone => ("not restored", "gone"),
                Unrestored::Taken => ("not restored", "taken"),
                Unrestored::Disk { .. } => ("not restored", "disk"),
            },
        },
        Action::Stopped => ("does", "stop"),
    }
}

fn replied(reply: &FsReply) -> &'static str {
    match reply {
        FsReply::Entry(_) => "entry",
        FsReply::Absent => "absent",
        FsReply::Attr(_) => "attributes",
        FsReply::Target(_) => "target",
        FsReply::Opened { .. } => "opened",
        FsReply::Created { .. } => "created",
        FsReply::Written { .. } => "written",
        FsReply::OpenedDir { .. } => "directory opened",
        FsReply::Data(_) => "data",
        FsReply::Eof => "end of file",
        FsReply::Items(_) => "items",
        FsReply::Value(_) => "value",
        FsReply::Names(_) => "names",
        FsReply::StatFs { .. } => "statfs",
        FsReply::Done => "done",
    }
}

fn refused(error: FsError) -> &'static str {
    match error {
        FsError::NoEntry => "no entry",
        FsError::NotDirectory => "not a directory",
        FsError::IsDirectory => "is a directory",
        FsError::ReadOnly => "read-only",
        FsError::Io => "i/o error",
        FsError::BadHandle => "bad handle",
        FsError::Stale => "stale",
        FsError::Invalid => "invalid",
        FsError::NoAttribute => "no such attribute",
        FsError::NameTooLong => "name too long",
        FsError::TooManyHandles => "too many handles",
        FsError::NotSupported => "not supported",
        FsError::Exists => "exists",
        FsError::NotEmpty => "not empty",
        FsError::NoSpace => "no space",
        FsError::TooLarge => "too large",
        FsError::NotPermitted => "not permitted",
        FsError::TooManyLinks => "too many links",
    }
}

impl World {
    /// Notes that a fault meets a peer, in the states in which it is.
    pub(crate) fn met(&mut self, fault: &'static str, p: usize) {
        let peer = &self.peers[p];
        let clock = peer.clock(self.now);
        for waiting in peer.jobs.values() {
            self.reach.hit_in(fault, job(&waiting.wish));
        }
        if !peer.commits.is_empty() {
            self.reach.hit_in(fault, "committing");
        }
        if let Some(engine) = &peer.engine {
            for peer in engine.status(clock).peers {
                self.reach.hit_in(fault, link(peer.link));
            }
        }
    }
}
