//! What holds of every message: a round trip loses nothing, and no bytes do harm.
#![expect(clippy::unwrap_used, reason = "what a test can't make stops the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use tandem_core::ids::{
    ActorId, Arrival, ChunkHash, ChunkIx, Dot, EntryId, Lamport, NodeId, ObjectId,
};
use tandem_core::label::Label;
use tandem_core::limits::{ACTORS_MAX, BATCH_REGISTERS_MAX, FILE_SIZE_MAX, XATTR_BYTES_MAX};
use tandem_core::message::{
    Batch, Cursor, FolderId, Have, Hello, Message, PROTOCOL, Refusal, Role, Secret, Want,
};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, NameError, TargetPath, XattrName};
use tandem_core::tree::register::{Attrs, Body, Content, Digest, Entry, Kind, Register, Stamp};
use tandem_core::tree::runs::{Run, Runs, RunsError};
use tandem_core::version::VersionVector;
use tandem_proto::error::WireError;
use tandem_proto::lane::{LaneAnswer, LaneAsk, LaneReply};
use tandem_proto::v1::frame::Said;
use tandem_proto::{FRAME_BYTES_MAX, convert, fuzz, v1};

fn dot() -> impl Strategy<Value = Dot> {
    (0..4u64, 0..1000u64).prop_map(|(actor, counter)| Dot {
        actor: ActorId(actor),
        counter,
    })
}

fn update() -> impl Strategy<Value = Dot> {
    (any::<u64>(), 1..=u64::MAX).prop_map(|(actor, counter)| Dot {
        actor: ActorId(actor),
        counter,
    })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), update()).prop_map(|(lamport, dot)| Stamp {
        lamport: Lamport(lamport),
        dot,
    })
}

fn vector() -> impl Strategy<Value = VersionVector> {
    btree_map(any::<u64>().prop_map(ActorId), 1..=u64::MAX, 0..8)
        .prop_map(|pairs| pairs.into_iter().collect())
}

fn time() -> impl Strategy<Value = WallTime> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(secs, nanos)| WallTime { secs, nanos })
}

fn label() -> impl Strategy<Value = Label> {
    any::<String>().prop_map(|text| Label::lossy(&text))
}

fn name() -> impl Strategy<Value = Name> {
    vec(any::<u8>(), 1..40).prop_map(|mut bytes| {
        bytes.retain(|byte| *byte != b'/' && *byte != 0);
        Name::parse(&bytes).unwrap_or_else(|_| Name::parse(b"x").unwrap())
    })
}

fn target() -> impl Strategy<Value = TargetPath> {
    vec(1..=u8::MAX, 1..40).prop_map(|bytes| TargetPath::parse(&bytes).unwrap())
}

fn xattr_name() -> impl Strategy<Value = XattrName> {
    vec(1..=u8::MAX, 1..20)
        .prop_map(|tail| XattrName::parse(&[b"user.", &tail[..]].concat()).unwrap())
}

fn object() -> impl Strategy<Value = ObjectId> {
    (dot(), update()).prop_map(|(node, version)| ObjectId {
        node: NodeId(node),
        version,
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (9..=24u32, any::<u64>()).prop_map(|(power, size)| Body::File {
            size: size % (1 << (power + 32)).min(FILE_SIZE_MAX),
            chunk_size: 1 << power,
        }),
        target().prop_map(|target| Body::Link { target }),
    ]
}

fn runs() -> impl Strategy<Value = Runs> {
    vec((any::<u32>(), 1..9u32), 0..9).prop_map(|added| {
        let mut runs = Runs::default();
        for (first, count) in added {
            runs.insert_run(Run {
                first: ChunkIx(first),
                count,
            });
        }
        runs
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::File), Just(Kind::Directory), Just(Kind::Symlink)]
}

fn register() -> impl Strategy<Value = Register> {
    let place = || (dot().prop_map(NodeId), name());
    let entry = (
        dot(),
        stamp(),
        dot(),
        place(),
        option::of(place()),
        option::of(vector()),
    );
    let attrs = (
        (dot(), stamp(), kind(), 0..=0o7777u16),
        (any::<u32>(), any::<u32>(), option::of(time())),
        btree_map(xattr_name(), vec(any::<u8>(), 0..20), 0..4),
    );
    let content = (
        (dot(), stamp(), vector(), vec(dot(), 0..4)),
        (label(), 0..=2_932_896u32, time(), body()),
        (option::of(update()), option::of(runs())),
    );
    prop_oneof![
        entry.prop_map(|(id, stamp, node, (parent, name), previous, deleted)| {
            Register::Entry(Entry {
                id: EntryId(id),
                stamp,
                node: NodeId(node),
                parent,
                name,
                previous,
                deleted,
            })
        }),
        attrs.prop_map(
            |((node, stamp, kind, mode), (uid, gid, mtime), xattrs)| Register::Attrs(Attrs {
                node: NodeId(node),
                stamp,
                kind,
                mode,
                uid,
                gid,
                mtime,
                xattrs: xattrs
                    .into_iter()
                    .map(|(name, value)| (name, Arc::from(value)))
                    .collect(),
            })
        ),
        content.prop_map(
            |((node, stamp, context, beside), (author, day, mtime, body), (base, changed))| {
                Register::Content(Content {
                    node: NodeId(node),
                    stamp,
                    context,
                    beside,
                    author,
                    day,
                    mtime,
                    body,
                    base,
                    changed,
                })
            }
        ),
        (object(), stamp(), any::<u128>()).prop_map(|(object, stamp, hash)| {
            Register::Digest(Digest {
                object,
                stamp,
                hash,
            })
        }),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    let role = prop_oneof![Just(Role::Full), Just(Role::Sparse), Just(Role::Guest)];
    let cursor = (any::<u64>(), any::<u64>()).prop_map(|(epoch, upto)| Cursor {
        epoch,
        upto: Arrival(upto),
    });
    (
        (option::of(any::<[u8; 16]>()), role, label()),
        (option::of(any::<[u8; 32]>()), any::<u64>(), any::<u64>()),
        (
            any::<u64>(),
            vector(),
            option::of(cursor),
            any::<[bool; 2]>(),
        ),
    )
        .prop_map(
            |(
                (folder, role, name),
                (secret, session, actor),
                (epoch, knowledge, cursor, [takes, pushes]),
            )| Hello {
                protocol: PROTOCOL,
                folder: folder.map(FolderId),
                role,
                name,
                secret: secret.map(Secret),
                session,
                actor: ActorId(actor),
                epoch,
                knowledge,
                cursor,
                takes_changes: takes,
                pushes,
            },
        )
}

fn message() -> impl Strategy<Value = Message> {
    let refusal = prop_oneof![
        Just(Refusal::NotPaired),
        Just(Refusal::Protocol),
        Just(Refusal::OtherFolder),
        Just(Refusal::Busy),
        Just(Refusal::Broken),
        Just(Refusal::Removed),
    ];
    let batch = (any::<u64>(), vec(register(), 0..12), option::of(vector()));
    prop_oneof![
        hello().prop_map(Message::Hello),
        refusal.prop_map(Message::Refused),
        batch.prop_map(|(upto, registers, knowledge)| Message::Registers(Batch {
            upto: Arrival(upto),
            registers,
            knowledge,
        })),
        any::<u64>().prop_map(|upto| Message::Ack(Arrival(upto))),
        Just(Message::Ping),
        Just(Message::Pong),
        Just(Message::Bye),
    ]
}

fn have() -> impl Strategy<Value = Have> {
    (1..=16 * 1024 * 1024u32, any::<u128>()).prop_map(|(len, hash)| Have {
        len,
        hash: ChunkHash(hash),
    })
}

fn reply() -> impl Strategy<Value = LaneReply> {
    prop_oneof![
        (any::<u128>(), vec(any::<u8>(), 0..100)).prop_map(|(hash, data)| LaneReply::Data {
            hash: ChunkHash(hash),
            data: data.into(),
        }),
        (any::<u128>(), vec(any::<u8>(), 0..100)).prop_map(|(hash, data)| LaneReply::Tail {
            hash: ChunkHash(hash),
            data: data.into(),
        }),
        Just(LaneReply::Same),
        Just(LaneReply::Hole),
        Just(LaneReply::Gone),
        Just(LaneReply::NotHeld),
        Just(LaneReply::Failed),
    ]
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in message()) {
        prop_assert_eq!(convert::decode(convert::encode(&message)), Ok(message));
    }

    #[test]
    fn a_lane_survives_the_wire(
        request in any::<u64>(),
        object in object(),
        chunk in any::<u32>(),
        have in option::of(have()),
        len in 0..=16_u32 << 20,
        reply in reply(),
    ) {
        let ask = LaneAsk { request, want: Want { object, chunk: ChunkIx(chunk), have }, len };
        let bytes = v1::LaneRequest::from(ask).encode_to_vec();
        let again = v1::LaneRequest::decode(&bytes[..]).unwrap();
        prop_assert_eq!(LaneAsk::try_from(again), Ok(ask));

        let answer = LaneAnswer { request, reply };
        let bytes = v1::LaneReply::from(answer.clone()).encode_to_vec();
        let again = v1::LaneReply::decode(&bytes[..]).unwrap();
        prop_assert_eq!(LaneAnswer::try_from(again), Ok(answer));
    }

    #[test]
    fn bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        fuzz::wire_frame(&bytes);
        fuzz::wire_lane(&bytes);
    }

    #[test]
    fn a_flipped_bit_does_no_harm(message in message(), at in any::<usize>(), bit in 0..8u32) {
        let mut bytes = convert::encode(&message).to_vec();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        fuzz::wire_frame(&bytes);
    }

    #[test]
    fn a_cut_does_no_harm(message in message(), at in any::<usize>()) {
        let bytes = convert::encode(&message);
        fuzz::wire_frame(&bytes[..at % (bytes.len() + 1)]);
    }
}

fn frame(said: Said) -> Result<Message, WireError> {
    convert::decode(v1::Frame { said: Some(said) }.encode_to_vec().into())
}

fn plain_hello() -> v1::Hello {
    v1::Hello {
        protocol: PROTOCOL,
        role: v1::Role::Sparse.into(),
        name: "bo".to_owned(),
        ..v1::Hello::default()
    }
}

fn some_dot() -> Option<v1::Dot> {
    Some(v1::Dot {
        actor: 1,
        counter: 1,
    })
}

fn some_stamp() -> Option<v1::Stamp> {
    Some(v1::Stamp {
        lamport: 1,
        dot: some_dot(),
    })
}

fn batch_of(registers: &[v1::register::Register]) -> Result<Message, WireError> {
    let mut bytes = Vec::new();
    for register in registers {
        let register = v1::Register {
            register: Some(register.clone()),
        };
        bytes.extend(register.encode_length_delimited_to_vec());
    }
    frame(Said::Registers(v1::Batch {
        upto: 1,
        registers: bytes.into(),
        knowledge: None,
    }))
}

fn entry_named(name: &[u8]) -> v1::register::Register {
    let place = v1::Place {
        parent: some_dot(),
        name: Bytes::copy_from_slice(name),
    };
    v1::register::Register::Entry(v1::Entry {
        id: some_dot(),
        stamp: some_stamp(),
        node: some_dot(),
        place: Some(place),
        previous: None,
        deleted: None,
    })
}

fn attrs() -> v1::Attrs {
    v1::Attrs {
        node: some_dot(),
        stamp: some_stamp(),
        kind: v1::Kind::File.into(),
        ..v1::Attrs::default()
    }
}

fn file(size: u64, chunk_size: u32) -> v1::register::Register {
    v1::register::Register::Content(v1::Content {
        node: some_dot(),
        stamp: some_stamp(),
        context: Some(v1::VersionVector::default()),
        author: "ada".to_owned(),
        mtime: Some(v1::WallTime::default()),
        body: Some(v1::content::Body::File(v1::FileBody { size, chunk_size })),
        ..v1::Content::default()
    })
}

#[test]
fn names_that_leave_the_folder_are_refused_s30() {
    for name in [
        &b""[..],
        b".",
        b"..",
        b"a/b",
        b"a\0",
        b".Tandem",
        &[b'x'; 256],
    ] {
        let why = Name::parse(name).unwrap_err();
        let field = "entry.place";
        assert_eq!(
            batch_of(&[entry_named(name)]),
            Err(WireError::Name { field, why })
        );
    }
    assert!(batch_of(&[entry_named(b"fine")]).is_ok());
}

#[test]
fn runs_of_chunks_are_checked_s31() {
    let changed = |firsts: &[u32], counts: &[u32]| {
        let v1::register::Register::Content(content) = file(1 << 40, 512) else {
            unreachable!("a file is content")
        };
        let runs = v1::Runs {
            firsts: firsts.to_vec(),
            counts: counts.to_vec(),
        };
        let changed = Some(runs);
        batch_of(&[v1::register::Register::Content(v1::Content {
            changed,
            ..content
        })])
    };
    let field = "content.changed";
    let refused = |why| Err(WireError::Runs { field, why });
    assert!(changed(&[], &[]).is_ok() && changed(&[3, 9], &[5, 1]).is_ok());
    assert_eq!(changed(&[3, 9], &[6, 1]), refused(RunsError::Order));
    assert_eq!(changed(&[3], &[0]), refused(RunsError::Empty));
    assert_eq!(changed(&[u32::MAX], &[1]), refused(RunsError::End));
    let (left, right) = (2, 1);
    assert_eq!(
        changed(&[3, 9], &[1]),
        Err(WireError::Uneven { field, left, right })
    );
    let many: Vec<u32> = (0..=1_024).map(|ix| ix * 2).collect();
    assert!(changed(&many, &vec![1; many.len()]).is_err());
    assert!(changed(&many[1..], &vec![1; 1_024]).is_ok());
}

#[test]
fn names_of_attributes_are_checked_s30() {
    let named = |names: &[&'static [u8]], values: usize| {
        batch_of(&[v1::register::Register::Attrs(v1::Attrs {
            xattr_names: names.iter().map(|name| Bytes::from_static(name)).collect(),
            xattr_values: vec![Bytes::from_static(b"v"); values],
            ..attrs()
        })])
    };
    let field = "attrs.xattr_names";
    let why = NameError::Namespace;
    assert_eq!(
        named(&[b"security.capability"], 1),
        Err(WireError::Name { field, why })
    );
    assert_eq!(
        named(&[b"user.a", b"user.a"], 2),
        Err(WireError::Order { field, at: 1 })
    );
    let (left, right) = (1, 2);
    assert_eq!(
        named(&[b"user.a"], 2),
        Err(WireError::Uneven { field, left, right })
    );
    assert!(named(&[b"user.a", b"user.b"], 2).is_ok());
}

#[test]
fn absurd_sizes_and_counts_are_refused_s31() {
    let range = |field, value, min, max| {
        Err(WireError::Range {
            field,
            value,
            min,
            max,
        })
    };
    assert_eq!(
        batch_of(&[file(u64::MAX, 512 * 1024)]),
        range("content.file.size", u64::MAX, 0, FILE_SIZE_MAX)
    );
    let most = u64::from(u32::MAX) * 512;
    assert_eq!(
        batch_of(&[file(most + 1, 512)]),
        range("content.file.size", most + 1, 0, most)
    );
    assert!(batch_of(&[file(most, 512)]).is_ok());
    assert_eq!(
        batch_of(&[file(1, 1 << 25)]),
        range("content.file.chunk_size", 1 << 25, 512, 1 << 24)
    );
    assert_eq!(
        batch_of(&[file(1, 513)]),
        Err(WireError::PowerOfTwo {
            field: "content.file.chunk_size",
            value: 513
        })
    );
    let mode = v1::register::Register::Attrs(v1::Attrs {
        mode: 0o10000,
        ..attrs()
    });
    assert_eq!(batch_of(&[mode]), range("attrs.mode", 0o10000, 0, 0o7777));

    let registers = vec![entry_named(b"x"); BATCH_REGISTERS_MAX + 1];
    assert!(batch_of(&registers[1..]).is_ok());
    let (count, max) = (BATCH_REGISTERS_MAX as u64 + 1, BATCH_REGISTERS_MAX as u64);
    assert_eq!(batch_of(&registers), range("registers", count, 0, max));

    let hello = v1::Hello {
        knowledge: Some(v1::VersionVector {
            actors: (0..=ACTORS_MAX as u64).collect(),
            counters: vec![1; ACTORS_MAX + 1],
        }),
        ..plain_hello()
    };
    let (count, max) = (ACTORS_MAX as u64 + 1, ACTORS_MAX as u64);
    assert_eq!(
        frame(Said::Hello(hello)),
        range("hello.knowledge", count, 0, max)
    );

    let long = vec![0; FRAME_BYTES_MAX + 1];
    let (len, max) = (long.len() as u64, FRAME_BYTES_MAX as u64);
    assert_eq!(convert::decode(long.into()), range("frame", len, 0, max));

    let reply = v1::LaneReply {
        request: 1,
        answer: Some(v1::lane_reply::Answer::Chunk(v1::Chunk {
            hash: Bytes::from_static(&[0; 16]),
            data: vec![0; (1 << 24) + 1].into(),
        })),
    };
    assert_eq!(
        LaneAnswer::try_from(reply),
        Err(WireError::Range {
            field: "reply.chunk.data",
            value: (1 << 24) + 1,
            min: 0,
            max: 1 << 24
        })
    );
}

#[test]
fn attributes_have_a_bound_together_s31() {
    let big = v1::register::Register::Attrs(v1::Attrs {
        xattr_names: vec![Bytes::from_static(b"user.a")],
        xattr_values: vec![vec![0; XATTR_BYTES_MAX - 5].into()],
        ..attrs()
    });
    assert_eq!(
        batch_of(&[big]),
        Err(WireError::Range {
            field: "attrs.xattrs",
            value: XATTR_BYTES_MAX as u64 + 1,
            min: 0,
            max: XATTR_BYTES_MAX as u64,
        })
    );
}

#[test]
fn the_largest_knowledge_fits_in_a_frame() {
    let largest: BTreeMap<_, _> = (0..ACTORS_MAX as u64)
        .map(|actor| (ActorId(u64::MAX - actor), u64::MAX))
        .collect();
    let message = Message::Registers(Batch {
        upto: Arrival(1),
        registers: Vec::new(),
        knowledge: Some(largest.into_iter().collect()),
    });
    let bytes = convert::encode(&message);
    // Beside a batch and one register over it that carries as large a vector.
    assert!(
        2 * bytes.len() + 1024 * 1024 < FRAME_BYTES_MAX,
        "{}",
        bytes.len()
    );
    assert_eq!(convert::decode(bytes), Ok(message));
}

#[test]
fn a_kind_that_is_not_known_is_refused_and_a_field_ignored() {
    // Field 99, two bytes long: a frame of a kind from the future.
    let future = Bytes::from_static(&[0x9a, 0x06, 0x02, 0x08, 0x01]);
    assert_eq!(
        convert::decode(future),
        Err(WireError::UnknownKind { field: "frame" })
    );
    // An ack with a field 2 that this version does not have.
    let grown = Bytes::from_static(&[0x22, 0x04, 0x08, 0x05, 0x10, 0x01]);
    assert_eq!(convert::decode(grown), Ok(Message::Ack(Arrival(5))));
    let refused = v1::Refused { why: 77 };
    assert_eq!(
        frame(Said::Refused(refused)),
        Err(WireError::UnknownValue {
            field: "refused.why",
            value: 77
        })
    );
}

#[test]
fn a_hello_of_another_version_says_whose_it_is() {
    let hello = v1::Hello {
        protocol: PROTOCOL + 1,
        role: 99,
        folder: Some(Bytes::from_static(b"short")),
        ..plain_hello()
    };
    let Ok(Message::Hello(heard)) = frame(Said::Hello(hello)) else {
        panic!("it was not taken");
    };
    assert_eq!(heard.protocol, PROTOCOL + 1);
    assert_eq!(heard.name.as_str(), "bo");
    let same = v1::Hello {
        folder: Some(Bytes::from_static(b"short")),
        ..plain_hello()
    };
    assert_eq!(
        frame(Said::Hello(same)),
        Err(WireError::Length {
            field: "hello.folder",
            len: 5,
            want: 16
        })
    );
}

#[test]
fn a_secret_is_not_printed_s36() {
    let hello = v1::Hello {
        secret: Some(v1::Secret {
            value: Bytes::from_static(b"open sesame open sesame open ses"),
        }),
        ..plain_hello()
    };
    assert!(!format!("{hello:?}").contains("sesame"));
    assert!(format!("{hello:?}").contains("(secret)"));
}
