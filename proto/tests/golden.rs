//! The bytes of one frame of each kind, which no later version may change.
//!
//! Each file in `golden/` holds, in hexadecimal, what the message of that name is on the wire.
#![expect(clippy::unwrap_used, reason = "what a test can't make stops the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use prost::Message as _;
use tandem_core::ids::{
    ActorId, Arrival, ChunkHash, ChunkIx, Dot, EntryId, Lamport, NodeId, ObjectId,
};
use tandem_core::label::Label;
use tandem_core::message::{
    Batch, Cursor, FolderId, Have, Hello, Message, PROTOCOL, Refusal, Role, Secret, Want,
};
use tandem_core::time::WallTime;
use tandem_core::tree::name::{Name, TargetPath, XattrName};
use tandem_core::tree::register::{Attrs, Body, Content, Digest, Entry, Kind, Register, Stamp};
use tandem_core::tree::runs::{Run, Runs};
use tandem_proto::lane::{LaneAnswer, LaneAsk, LaneReply};
use tandem_proto::{convert, v1};

fn dot(actor: u64, counter: u64) -> Dot {
    Dot {
        actor: ActorId(actor),
        counter,
    }
}

fn stamp(lamport: u64, dot: Dot) -> Stamp {
    Stamp {
        lamport: Lamport(lamport),
        dot,
    }
}

fn object() -> ObjectId {
    ObjectId {
        node: NodeId(dot(0xada, 1)),
        version: dot(0xada, 4),
    }
}

fn hello() -> Message {
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder: Some(FolderId([0xf0; 16])),
        role: Role::Sparse,
        name: Label::parse("bo").unwrap(),
        secret: Some(Secret([0x5e; 32])),
        session: 7,
        actor: ActorId(0xb0),
        epoch: 9,
        knowledge: [(ActorId(0xada), 300), (ActorId(0xb0), 2)]
            .into_iter()
            .collect(),
        cursor: Some(Cursor {
            epoch: 11,
            upto: Arrival(12),
        }),
        takes_changes: true,
        pushes: false,
    })
}

fn hello_of_who_pushes() -> Message {
    let Message::Hello(hello) = hello() else {
        panic!("it is one");
    };
    let (role, secret, pushes) = (Role::Full, None, true);
    Message::Hello(Hello {
        role,
        secret,
        pushes,
        ..hello
    })
}

fn registers() -> Message {
    let time = WallTime {
        secs: -1,
        nanos: 999_999_999,
    };
    Message::Registers(Batch {
        upto: Arrival(6),
        registers: vec![
            Register::Entry(Entry {
                id: EntryId(dot(0xada, 2)),
                stamp: stamp(2, dot(0xada, 2)),
                node: NodeId(dot(0xada, 1)),
                parent: NodeId::ROOT,
                name: Name::parse(b"caf\xe9").unwrap(),
                previous: Some((NodeId::ROOT, Name::parse(b"old").unwrap())),
                deleted: Some([(ActorId(0xada), 1)].into_iter().collect()),
            }),
            Register::Attrs(Attrs {
                node: NodeId(dot(0xada, 1)),
                stamp: stamp(3, dot(0xada, 3)),
                kind: Kind::File,
                mode: 0o644,
                uid: 1000,
                gid: 100,
                mtime: Some(time),
                xattrs: BTreeMap::from([(
                    XattrName::parse(b"user.tag").unwrap(),
                    Arc::from(&b"\x00"[..]),
                )]),
            }),
            Register::Content(Content {
                node: NodeId(dot(0xada, 1)),
                stamp: stamp(4, dot(0xada, 4)),
                context: [(ActorId(0xada), 3), (ActorId(0xb0), 1)]
                    .into_iter()
                    .collect(),
                beside: vec![dot(0xb0, 1)],
                author: Label::parse("ada").unwrap(),
                day: 20_000,
                mtime: time,
                body: Body::File {
                    size: 1 << 32,
                    chunk_size: 512 * 1024,
                },
                base: None,
                changed: None,
            }),
            Register::Content(Content {
                node: NodeId(dot(0xada, 5)),
                stamp: stamp(5, dot(0xada, 5)),
                context: [].into_iter().collect(),
                beside: vec![],
                author: Label::parse("ada").unwrap(),
                day: 0,
                mtime: WallTime::default(),
                body: Body::Link {
                    target: TargetPath::parse(b"../up").unwrap(),
                },
                base: None,
                changed: None,
            }),
            Register::Digest(Digest {
                object: object(),
                stamp: stamp(6, dot(0xada, 6)),
                hash: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
            }),
        ],
        knowledge: Some([(ActorId(0xada), 6)].into_iter().collect()),
    })
}

/// A version whose author says which chunks it changed.
fn changed() -> Message {
    let run = |first, count| Run {
        first: ChunkIx(first),
        count,
    };
    Message::Registers(Batch {
        upto: Arrival(7),
        registers: vec![Register::Content(Content {
            node: NodeId(dot(0xada, 1)),
            stamp: stamp(7, dot(0xb0, 2)),
            context: [(ActorId(0xada), 4)].into_iter().collect(),
            beside: vec![],
            author: Label::parse("bo").unwrap(),
            day: 20_001,
            mtime: WallTime::default(),
            body: Body::File {
                size: 1 << 32,
                chunk_size: 512 * 1024,
            },
            base: Some(dot(0xada, 4)),
            changed: Some(Runs::parse(vec![run(0, 1), run(300, 2)]).unwrap()),
        })],
        knowledge: None,
    })
}

fn ask() -> LaneAsk {
    LaneAsk {
        request: 3,
        want: Want {
            object: object(),
            chunk: ChunkIx(17),
            have: None,
        },
        len: 0,
    }
}

/// An ask that names what is held in the chunk's place.
fn ask_having() -> LaneAsk {
    LaneAsk {
        request: 4,
        want: Want {
            have: Some(Have {
                len: 300,
                hash: ChunkHash(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            }),
            ..ask().want
        },
        len: 0,
    }
}

/// An ask that says how long the chunk is.
fn ask_of_a_length() -> LaneAsk {
    LaneAsk {
        len: 524_288,
        ..ask()
    }
}

fn answers() -> [(&'static str, LaneReply); 7] {
    [
        (
            "reply-chunk",
            LaneReply::Data {
                hash: ChunkHash(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
                data: Bytes::from_static(b"chunk"),
            },
        ),
        ("reply-same", LaneReply::Same),
        ("reply-hole", LaneReply::Hole),
        (
            "reply-tail",
            LaneReply::Tail {
                hash: ChunkHash(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
                data: Bytes::from_static(b"tail"),
            },
        ),
        ("reply-gone", LaneReply::Gone),
        ("reply-not-held", LaneReply::NotHeld),
        ("reply-failed", LaneReply::Failed),
    ]
}

/// Returns the bytes of `golden/NAME.hex`.
fn golden(name: &str) -> Bytes {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text: String = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .split_whitespace()
        .collect();
    Bytes::from(HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap())
}

fn check(name: &str, bytes: &[u8]) {
    assert_eq!(
        HEXLOWER_PERMISSIVE.encode(bytes),
        HEXLOWER_PERMISSIVE.encode(&golden(name)),
        "{name} has changed on the wire"
    );
}

#[test]
fn frames_are_these_bytes() {
    let frames = [
        ("hello", hello()),
        ("hello-of-who-pushes", hello_of_who_pushes()),
        ("refused", Message::Refused(Refusal::Busy)),
        ("registers", registers()),
        ("changed", changed()),
        ("ack", Message::Ack(Arrival(300))),
        ("ping", Message::Ping),
        ("pong", Message::Pong),
        ("bye", Message::Bye),
    ];
    for (name, message) in frames {
        check(name, &convert::encode(&message));
        assert_eq!(convert::decode(golden(name)), Ok(message), "{name}");
    }
}

#[test]
fn lanes_are_these_bytes() {
    let asks = [
        ("request", ask()),
        ("request-having", ask_having()),
        ("request-of-a-length", ask_of_a_length()),
    ];
    for (name, ask) in asks {
        check(name, &v1::LaneRequest::from(ask).encode_to_vec());
        let request = v1::LaneRequest::decode(golden(name)).unwrap();
        assert_eq!(LaneAsk::try_from(request), Ok(ask), "{name}");
    }

    for (name, reply) in answers() {
        let answer = LaneAnswer { request: 3, reply };
        check(name, &v1::LaneReply::from(answer.clone()).encode_to_vec());
        let reply = v1::LaneReply::decode(golden(name)).unwrap();
        assert_eq!(LaneAnswer::try_from(reply), Ok(answer), "{name}");
    }
}
