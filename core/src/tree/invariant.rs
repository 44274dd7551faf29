//! What must hold of a register by itself, whoever made it.
//!
//! Law (P6): what passes can be stored, shown and sent on without a further check. Names,
//! targets and labels were checked when they were parsed.

use crate::ids::{Dot, NodeId};
use crate::limits::{
    ACTORS_MAX, CHANGED_RUNS_MAX, CHUNK_SIZES, COUNTER_MAX, FILE_SIZE_MAX, SIBLINGS_MAX,
    XATTR_BYTES_MAX,
};
use crate::time::WallTime;
use crate::tree::conflict;
use crate::tree::register::{Attrs, Body, Content, Digest, Entry, Kind, Register};

/// Tells what `register` breaks, if anything.
pub(super) fn hold(register: &Register) -> Result<(), &'static str> {
    let stamp = register.stamp();
    check(is_update(stamp.dot), "a dot's counter is zero or too large")?;
    check(
        stamp.lamport.0 <= COUNTER_MAX,
        "a Lamport time is too large",
    )?;
    match register {
        Register::Entry(entry) => entry_holds(entry),
        Register::Attrs(attrs) => attrs_hold(attrs),
        Register::Content(content) => content_holds(content),
        Register::Digest(digest) => digest_holds(digest),
    }
}

fn entry_holds(entry: &Entry) -> Result<(), &'static str> {
    check(
        is_update(entry.id.0),
        "an entry's id is not the dot of an update",
    )?;
    check(
        is_made(entry.node),
        "an entry names a node that nobody made",
    )?;
    check(
        entry.parent == NodeId::ROOT || is_made(entry.parent),
        "an entry stands in a node that nobody made",
    )?;
    let knows = entry
        .deleted
        .as_ref()
        .map_or(0, |knowledge| knowledge.actors());
    check(knows <= ACTORS_MAX, "a delete knows too many actors")
}

fn attrs_hold(attrs: &Attrs) -> Result<(), &'static str> {
    match attrs.kind {
        Kind::Directory => check(
            conflict::copied(attrs.node).is_none(),
            "a conflict copy is a directory",
        )?,
        Kind::File | Kind::Symlink => {
            check(attrs.node != NodeId::ROOT, "the root is not a directory")?;
        }
    }
    check(
        attrs.node == NodeId::ROOT || is_made(attrs.node),
        "attributes are of a node that nobody made",
    )?;
    check(attrs.mode <= 0o7777, "a mode has bits that are none")?;
    check(attrs.mtime.is_none_or(is_time), "a time has too many ns")?;
    let bytes: usize = attrs
        .xattrs
        .iter()
        .map(|(name, value)| name.as_bytes().len() + value.len())
        .sum();
    check(
        bytes <= XATTR_BYTES_MAX,
        "extended attributes have too many bytes",
    )
}

fn content_holds(content: &Content) -> Result<(), &'static str> {
    let dot = content.stamp.dot;
    check(
        is_made(content.node),
        "a version is of a node that nobody made",
    )?;
    check(
        content.node != conflict::copy_of(dot),
        "a version is of its own conflict copy",
    )?;
    check(
        !content.supersedes(dot),
        "a version was made knowing itself",
    )?;
    check(
        content.context.actors() <= ACTORS_MAX,
        "a version knows too many actors",
    )?;
    check(
        content.beside.len() <= SIBLINGS_MAX,
        "a version stands beside too many",
    )?;
    check(is_time(content.mtime), "a time has too many ns")?;
    check(
        content.base.is_none_or(|base| content.supersedes(base)),
        "a version's base is none that it supersedes",
    )?;
    match content.body {
        Body::File { size, chunk_size } => {
            check(size <= FILE_SIZE_MAX, "a file is too large")?;
            check(
                CHUNK_SIZES.contains(&chunk_size) && chunk_size.is_power_of_two(),
                "a chunk size is none",
            )?;
            let Some(changed) = &content.changed else {
                return Ok(());
            };
            check(content.base.is_some(), "what changed has no base")?;
            check(
                changed.runs().len() <= CHANGED_RUNS_MAX,
                "too many runs of chunks changed",
            )?;
            check(
                changed.end() <= size.div_ceil(u64::from(chunk_size)),
                "a chunk changed that is beyond the end",
            )
        }
        Body::Link { .. } => check(content.changed.is_none(), "chunks of a symlink changed"),
    }
}

fn digest_holds(digest: &Digest) -> Result<(), &'static str> {
    check(
        is_made(digest.object.node) && is_update(digest.object.version),
        "a digest is of a version that nobody made",
    )
}

/// Tells whether a dot can be that of an update.
fn is_update(dot: Dot) -> bool {
    (1..=COUNTER_MAX).contains(&dot.counter)
}

/// Tells whether a node was made by an update, or is a copy of a version that was.
pub(crate) fn is_made(node: NodeId) -> bool {
    is_update(conflict::copied(node).unwrap_or(node.0))
}

fn is_time(time: WallTime) -> bool {
    time.nanos < 1_000_000_000
}

fn check(holds: bool, broken: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(broken) }
}
