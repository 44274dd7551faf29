//! How events and actions look in a trace: on one line, bytes as their number and hash.

use std::fmt;

use tandem_core::action::{Action, DiskWish};
use tandem_core::event::{DiskDone, Event};
use tandem_core::message::Message;

use crate::trace::Short;

/// An event that shows itself shortly.
pub(crate) fn event(event: &Event) -> impl fmt::Debug + '_ {
    Lines::Event(event)
}

/// An action that shows itself shortly.
pub(crate) fn action(action: &Action) -> impl fmt::Debug + '_ {
    Lines::Action(action)
}

enum Lines<'a> {
    Event(&'a Event),
    Action(&'a Action),
}

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(Event::Said { link, message }) => {
                write!(f, "Said {link} ")?;
                said(f, message)
            }
            Self::Event(Event::Disk {
                job,
                outcome: Ok(done),
            }) => {
                write!(f, "Disk {job} ")?;
                match done {
                    DiskDone::Loaded {
                        sidecar,
                        partial,
                        complete,
                    } => {
                        let sidecar = sidecar.as_deref().map(Short);
                        write!(f, "Loaded {sidecar:?} {partial:?} {complete:?}")
                    }
                    DiskDone::Listed {
                        items, complete, ..
                    } => {
                        let names = items.iter().map(|(name, _)| name.to_string());
                        let names: Vec<_> = names.collect();
                        write!(f, "Listed {names:?} complete {complete}")
                    }
                    other @ (DiskDone::Done
                    | DiskDone::Looked { .. }
                    | DiskDone::Trash { .. }
                    | DiskDone::Chunk { .. }
                    | DiskDone::Hashed { .. }
                    | DiskDone::Read { .. }
                    | DiskDone::Prepared(_)
                    | DiskDone::Draft { .. }) => write!(f, "{other:?}"),
                }
            }
            Self::Event(event) => write!(f, "{event:?}"),
            Self::Action(Action::Send { link, message }) => {
                write!(f, "Send {link} ")?;
                said(f, message)
            }
            Self::Action(Action::Commit {
                commit,
                records,
                sync,
            }) => {
                let size: usize = records
                    .iter()
                    .map(|record| record.key.len() + record.value.as_ref().map_or(0, Vec::len))
                    .sum();
                let n = records.len();
                write!(f, "Commit {commit} {n} records, {size} B, sync {sync}")
            }
            Self::Action(Action::Disk { job, wish }) => {
                write!(f, "Disk {job} ")?;
                match wish {
                    DiskWish::CreateObject {
                        object,
                        size,
                        sidecar,
                    } => {
                        let sidecar = Short(sidecar);
                        write!(f, "CreateObject {object:?} {size} {sidecar:?}")
                    }
                    DiskWish::StoreChunk {
                        object,
                        offset,
                        payload,
                        record,
                    } => {
                        let record = Short(record);
                        write!(f, "StoreChunk {object:?} @{offset} {payload} {record:?}")
                    }
                    DiskWish::MarkSidecar { object, record } => {
                        let record = Short(record);
                        write!(f, "MarkSidecar {object:?} {record:?}")
                    }
                    other @ (DiskWish::List { .. }
                    | DiskWish::Look { .. }
                    | DiskWish::Place(_)
                    | DiskWish::Trash(_)
                    | DiskWish::ReadChunk { .. }
                    | DiskWish::ReadThrown { .. }
                    | DiskWish::LoadObject { .. }
                    | DiskWish::CutSidecar { .. }
                    | DiskWish::StoreHole { .. }
                    | DiskWish::SyncObject { .. }
                    | DiskWish::HashChunk { .. }
                    | DiskWish::FinishObject { .. }
                    | DiskWish::RemoveObject { .. }
                    | DiskWish::ReadStored { .. }
                    | DiskWish::Draft { .. }) => write!(f, "{other:?}"),
                }
            }
            Self::Action(action) => write!(f, "{action:?}"),
        }
    }
}

fn said(f: &mut fmt::Formatter<'_>, message: &Message) -> fmt::Result {
    match message {
        Message::Registers(batch) => {
            let (n, upto, knows) = (batch.registers.len(), batch.upto, &batch.knowledge);
            write!(f, "Registers {n} up to {upto:?}, knowledge {knows:?}")
        }
        other @ (Message::Hello(_)
        | Message::Refused(_)
        | Message::Ack(_)
        | Message::Ping
        | Message::Pong
        | Message::Bye) => write!(f, "{other:?}"),
    }
}
