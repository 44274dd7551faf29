//! Registers, ids and version vectors between the wire and the core.
//!
//! Law: every name, size, count and number is checked on the way in; on the way out nothing can
//! fail.

use std::sync::Arc;

use bytes::Bytes;
use tandem_core::ids::{ActorId, ChunkIx, Dot, EntryId, Lamport, NodeId, ObjectId};
use tandem_core::label::Label;
use tandem_core::limits::{
    ACTORS_MAX, CHANGED_RUNS_MAX, FILE_SIZE_MAX, TARGET_LEN_MAX, XATTR_BYTES_MAX,
    XATTR_NAME_LEN_MAX,
};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath, XattrName};
use tandem_core::tree::register::{
    Attrs, Body, Content, Digest, Entry, Kind, Register, Stamp, Xattrs,
};
use tandem_core::tree::runs::{Run, Runs};
use tandem_core::version::VersionVector;

use crate::error::{WireError, array, at_most, there, within};
use crate::v1;

/// The smallest size of a chunk, in bytes: a sector; below it a manifest outgrows its file.
pub(crate) const CHUNK_SIZE_MIN: u32 = 512;

/// The largest size of a chunk, in bytes: what a stream's window holds.
pub(crate) const CHUNK_SIZE_MAX: u32 = 16 * 1024 * 1024;

/// 9999-12-31, in days from 1970-01-01: the last day that has a year of four digits.
const DAY_MAX: u32 = 2_932_896;

/// Permission bits, set-id and sticky.
const MODE_MAX: u16 = 0o7777;

/// Nanoseconds in a second, less one.
const NANOS_MAX: u32 = 999_999_999;

pub(crate) fn dot_out(dot: Dot) -> v1::Dot {
    v1::Dot {
        actor: dot.actor.0,
        counter: dot.counter,
    }
}

pub(crate) fn dot_in(field: &'static str, dot: Option<v1::Dot>) -> Result<Dot, WireError> {
    there(field, dot).map(|dot| Dot {
        actor: ActorId(dot.actor),
        counter: dot.counter,
    })
}

/// Reads the dot of an update, which is counted from 1.
fn update_in(field: &'static str, dot: Option<v1::Dot>) -> Result<Dot, WireError> {
    let dot = dot_in(field, dot)?;
    within(field, dot.counter, 1, u64::MAX)?;
    Ok(dot)
}

fn node_in(field: &'static str, dot: Option<v1::Dot>) -> Result<NodeId, WireError> {
    dot_in(field, dot).map(NodeId)
}

pub(crate) fn object_out(object: ObjectId) -> v1::Object {
    v1::Object {
        node: Some(dot_out(object.node.0)),
        version: Some(dot_out(object.version)),
    }
}

pub(crate) fn object_in(
    field: &'static str,
    object: Option<v1::Object>,
) -> Result<ObjectId, WireError> {
    let object = there(field, object)?;
    Ok(ObjectId {
        node: node_in(field, object.node)?,
        version: update_in(field, object.version)?,
    })
}

pub(crate) fn vector_out(vector: &VersionVector) -> v1::VersionVector {
    let (actors, counters) = vector.iter().map(|(actor, n)| (actor.0, n)).unzip();
    v1::VersionVector { actors, counters }
}

pub(crate) fn vector_in(
    field: &'static str,
    vector: &v1::VersionVector,
) -> Result<VersionVector, WireError> {
    let v1::VersionVector { actors, counters } = vector;
    at_most(field, actors.len(), ACTORS_MAX)?;
    even(field, actors.len(), counters.len())?;
    if let Some(at) = actors.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(WireError::Order { field, at: at + 1 });
    }
    for &counter in counters {
        within(field, counter, 1, u64::MAX)?;
    }
    Ok(actors
        .iter()
        .zip(counters)
        .map(|(&actor, &counter)| (ActorId(actor), counter))
        .collect())
}

fn even(field: &'static str, left: usize, right: usize) -> Result<(), WireError> {
    if left == right {
        Ok(())
    } else {
        Err(WireError::Uneven { field, left, right })
    }
}

fn stamp_out(stamp: Stamp) -> v1::Stamp {
    v1::Stamp {
        lamport: stamp.lamport.0,
        dot: Some(dot_out(stamp.dot)),
    }
}

fn stamp_in(field: &'static str, stamp: Option<v1::Stamp>) -> Result<Stamp, WireError> {
    let stamp = there(field, stamp)?;
    Ok(Stamp {
        lamport: Lamport(stamp.lamport),
        dot: update_in(field, stamp.dot)?,
    })
}

fn time_out(time: WallTime) -> v1::WallTime {
    v1::WallTime {
        secs: time.secs,
        nanos: time.nanos,
    }
}

fn time_in(field: &'static str, time: v1::WallTime) -> Result<WallTime, WireError> {
    within(field, time.nanos.into(), 0, NANOS_MAX.into())?;
    Ok(WallTime {
        secs: time.secs,
        nanos: time.nanos,
    })
}

pub(crate) fn label_in(field: &'static str, text: &str) -> Result<Label, WireError> {
    Label::parse(text).map_err(|why| WireError::Label { field, why })
}

fn place_out(parent: NodeId, name: &Name) -> v1::Place {
    v1::Place {
        parent: Some(dot_out(parent.0)),
        name: Bytes::copy_from_slice(name.as_bytes()),
    }
}

fn place_in(field: &'static str, place: v1::Place) -> Result<(NodeId, Name), WireError> {
    let name = Name::parse(&place.name).map_err(|why| WireError::Name { field, why })?;
    Ok((node_in(field, place.parent)?, name))
}

pub(crate) fn register_out(register: &Register) -> v1::Register {
    use v1::register::Register as Wire;
    v1::Register {
        register: Some(match register {
            Register::Entry(entry) => Wire::Entry(entry_out(entry)),
            Register::Attrs(attrs) => Wire::Attrs(attrs_out(attrs)),
            Register::Content(content) => Wire::Content(content_out(content)),
            Register::Digest(digest) => Wire::Digest(v1::Digest {
                object: Some(object_out(digest.object)),
                stamp: Some(stamp_out(digest.stamp)),
                hash: hash_out(digest.hash),
            }),
        }),
    }
}

pub(crate) fn register_in(register: v1::Register) -> Result<Register, WireError> {
    use v1::register::Register as Wire;
    match register.register {
        Some(Wire::Entry(entry)) => entry_in(entry).map(Register::Entry),
        Some(Wire::Attrs(attrs)) => attrs_in(attrs).map(Register::Attrs),
        Some(Wire::Content(content)) => content_in(content).map(Register::Content),
        Some(Wire::Digest(digest)) => Ok(Register::Digest(Digest {
            object: object_in("digest.object", digest.object)?,
            stamp: stamp_in("digest.stamp", digest.stamp)?,
            hash: hash_in("digest.hash", &digest.hash)?,
        })),
        None => Err(WireError::UnknownKind { field: "register" }),
    }
}

pub(crate) fn hash_out(hash: u128) -> Bytes {
    Bytes::copy_from_slice(&hash.to_be_bytes())
}

pub(crate) fn hash_in(field: &'static str, bytes: &[u8]) -> Result<u128, WireError> {
    array(field, bytes).map(u128::from_be_bytes)
}

fn entry_out(entry: &Entry) -> v1::Entry {
    v1::Entry {
        id: Some(dot_out(entry.id.0)),
        stamp: Some(stamp_out(entry.stamp)),
        node: Some(dot_out(entry.node.0)),
        place: Some(place_out(entry.parent, &entry.name)),
        previous: entry
            .previous
            .as_ref()
            .map(|(parent, name)| place_out(*parent, name)),
        deleted: entry.deleted.as_ref().map(vector_out),
    }
}

fn entry_in(entry: v1::Entry) -> Result<Entry, WireError> {
    let (parent, name) = place_in("entry.place", there("entry.place", entry.place)?)?;
    Ok(Entry {
        id: EntryId(dot_in("entry.id", entry.id)?),
        stamp: stamp_in("entry.stamp", entry.stamp)?,
        node: node_in("entry.node", entry.node)?,
        parent,
        name,
        previous: entry
            .previous
            .map(|place| place_in("entry.previous", place))
            .transpose()?,
        deleted: entry
            .deleted
            .map(|vector| vector_in("entry.deleted", &vector))
            .transpose()?,
    })
}

fn kind_out(kind: Kind) -> v1::Kind {
    match kind {
        Kind::File => v1::Kind::File,
        Kind::Directory => v1::Kind::Directory,
        Kind::Symlink => v1::Kind::Symlink,
    }
}

fn kind_in(field: &'static str, value: i32) -> Result<Kind, WireError> {
    match v1::Kind::try_from(value) {
        Ok(v1::Kind::File) => Ok(Kind::File),
        Ok(v1::Kind::Directory) => Ok(Kind::Directory),
        Ok(v1::Kind::Symlink) => Ok(Kind::Symlink),
        Ok(v1::Kind::Unspecified) | Err(_) => Err(WireError::UnknownValue { field, value }),
    }
}

fn attrs_out(attrs: &Attrs) -> v1::Attrs {
    v1::Attrs {
        node: Some(dot_out(attrs.node.0)),
        stamp: Some(stamp_out(attrs.stamp)),
        kind: kind_out(attrs.kind).into(),
        mode: attrs.mode.into(),
        uid: attrs.uid,
        gid: attrs.gid,
        mtime: attrs.mtime.map(time_out),
        xattr_names: attrs
            .xattrs
            .keys()
            .map(|name| Bytes::copy_from_slice(name.as_bytes()))
            .collect(),
        xattr_values: attrs
            .xattrs
            .values()
            .map(|value| Bytes::copy_from_slice(value))
            .collect(),
    }
}

fn attrs_in(attrs: v1::Attrs) -> Result<Attrs, WireError> {
    Ok(Attrs {
        node: node_in("attrs.node", attrs.node)?,
        stamp: stamp_in("attrs.stamp", attrs.stamp)?,
        kind: kind_in("attrs.kind", attrs.kind)?,
        mode: mode_in("attrs.mode", attrs.mode)?,
        uid: attrs.uid,
        gid: attrs.gid,
        mtime: attrs
            .mtime
            .map(|time| time_in("attrs.mtime", time))
            .transpose()?,
        xattrs: xattrs_in(&attrs.xattr_names, &attrs.xattr_values)?,
    })
}

fn mode_in(field: &'static str, mode: u32) -> Result<u16, WireError> {
    u16::try_from(mode)
        .ok()
        .filter(|&mode| mode <= MODE_MAX)
        .ok_or(WireError::Range {
            field,
            value: mode.into(),
            min: 0,
            max: MODE_MAX.into(),
        })
}

fn xattrs_in(names: &[Bytes], values: &[Bytes]) -> Result<Xattrs, WireError> {
    let field = "attrs.xattr_names";
    even(field, names.len(), values.len())?;
    if let Some(at) = names.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(WireError::Order { field, at: at + 1 });
    }
    let bytes = names.iter().chain(values).map(Bytes::len).sum();
    at_most("attrs.xattrs", bytes, XATTR_BYTES_MAX)?;
    names
        .iter()
        .zip(values)
        .map(|(name, value)| {
            let name = XattrName::parse(name).map_err(|why| WireError::Name { field, why })?;
            Ok((name, Arc::from(&value[..])))
        })
        .collect()
}

fn content_out(content: &Content) -> v1::Content {
    let (beside_actors, beside_counters) = content
        .beside
        .iter()
        .map(|dot| (dot.actor.0, dot.counter))
        .unzip();
    v1::Content {
        node: Some(dot_out(content.node.0)),
        stamp: Some(stamp_out(content.stamp)),
        context: Some(vector_out(&content.context)),
        beside_actors,
        beside_counters,
        author: content.author.as_str().to_owned(),
        day: content.day,
        mtime: Some(time_out(content.mtime)),
        body: Some(match &content.body {
            Body::File { size, chunk_size } => v1::content::Body::File(v1::FileBody {
                size: *size,
                chunk_size: *chunk_size,
            }),
            Body::Link { target } => {
                v1::content::Body::Link(Bytes::copy_from_slice(target.as_bytes()))
            }
        }),
        base: content.base.map(dot_out),
        changed: content.changed.as_ref().map(runs_out),
    }
}

fn runs_out(runs: &Runs) -> v1::Runs {
    let (firsts, counts) = runs
        .runs()
        .iter()
        .map(|run| (run.first.0, run.count))
        .unzip();
    v1::Runs { firsts, counts }
}

fn runs_in(field: &'static str, runs: v1::Runs) -> Result<Runs, WireError> {
    let v1::Runs { firsts, counts } = runs;
    at_most(field, firsts.len(), CHANGED_RUNS_MAX)?;
    even(field, firsts.len(), counts.len())?;
    let runs = firsts.into_iter().zip(counts).map(|(first, count)| Run {
        first: ChunkIx(first),
        count,
    });
    Runs::parse(runs.collect()).map_err(|why| WireError::Runs { field, why })
}

fn content_in(content: v1::Content) -> Result<Content, WireError> {
    let beside = "content.beside";
    at_most(beside, content.beside_actors.len(), ACTORS_MAX)?;
    even(
        beside,
        content.beside_actors.len(),
        content.beside_counters.len(),
    )?;
    within("content.day", content.day.into(), 0, DAY_MAX.into())?;
    Ok(Content {
        node: node_in("content.node", content.node)?,
        stamp: stamp_in("content.stamp", content.stamp)?,
        context: vector_in(
            "content.context",
            &there("content.context", content.context)?,
        )?,
        beside: content
            .beside_actors
            .into_iter()
            .zip(content.beside_counters)
            .map(|(actor, counter)| Dot {
                actor: ActorId(actor),
                counter,
            })
            .collect(),
        author: label_in("content.author", &content.author)?,
        day: content.day,
        mtime: time_in("content.mtime", there("content.mtime", content.mtime)?)?,
        body: body_in(content.body)?,
        base: content
            .base
            .map(|dot| update_in("content.base", Some(dot)))
            .transpose()?,
        changed: content
            .changed
            .map(|runs| runs_in("content.changed", runs))
            .transpose()?,
    })
}

fn body_in(body: Option<v1::content::Body>) -> Result<Body, WireError> {
    match body {
        Some(v1::content::Body::File(file)) => file_in(file),
        Some(v1::content::Body::Link(target)) => Ok(Body::Link {
            target: TargetPath::parse(&target).map_err(|why| WireError::Name {
                field: "content.link",
                why,
            })?,
        }),
        None => Err(WireError::UnknownKind {
            field: "content.body",
        }),
    }
}

fn file_in(file: v1::FileBody) -> Result<Body, WireError> {
    let v1::FileBody { size, chunk_size } = file;
    let field = "content.file.chunk_size";
    within(
        field,
        chunk_size.into(),
        CHUNK_SIZE_MIN.into(),
        CHUNK_SIZE_MAX.into(),
    )?;
    if !chunk_size.is_power_of_two() {
        return Err(WireError::PowerOfTwo {
            field,
            value: chunk_size,
        });
    }
    // A bitmap counts its chunks in 32 bits, whatever their size.
    let max = FILE_SIZE_MAX.min(u64::from(u32::MAX) * u64::from(chunk_size));
    within("content.file.size", size, 0, max)?;
    Ok(Body::File { size, chunk_size })
}

// A register with names and attributes at their bounds, and without vectors, fits in a batch.
const _: () = assert!(
    TARGET_LEN_MAX + XATTR_BYTES_MAX + XATTR_NAME_LEN_MAX < tandem_core::limits::BATCH_BYTES_MAX
);
