//! Messages of a control stream between the wire and the core.
//!
//! Law: a frame that becomes a [`Message`] is within every bound of [`tandem_core::limits`];
//! one that does not names the field and the rule. On the way out nothing can fail.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message as _;
use tandem_core::ids::{ActorId, Arrival};
use tandem_core::label::Label;
use tandem_core::limits::BATCH_REGISTERS_MAX;
use tandem_core::message::{
    Batch, Cursor, FolderId, Hello, Message, PROTOCOL, Refusal, Role, Secret,
};
use tandem_core::version::VersionVector;

use crate::error::{WireError, array, within};
use crate::register::{label_in, register_in, register_out, vector_in, vector_out};
use crate::v1;
use crate::v1::frame::Said;

impl From<&Message> for v1::Frame {
    fn from(message: &Message) -> Self {
        Self {
            said: Some(match message {
                Message::Hello(hello) => Said::Hello(hello_out(hello)),
                Message::Refused(why) => Said::Refused(v1::Refused {
                    why: refusal_out(*why).into(),
                }),
                Message::Registers(batch) => Said::Registers(batch_out(batch)),
                Message::Ack(upto) => Said::Ack(v1::Ack { upto: upto.0 }),
                Message::Ping => Said::Ping(v1::Ping {}),
                Message::Pong => Said::Pong(v1::Pong {}),
                Message::Bye => Said::Bye(v1::Bye {}),
            }),
        }
    }
}

impl TryFrom<v1::Frame> for Message {
    type Error = WireError;

    fn try_from(frame: v1::Frame) -> Result<Self, WireError> {
        match frame.said {
            Some(Said::Hello(hello)) => hello_in(hello).map(Self::Hello),
            Some(Said::Refused(refused)) => refusal_in(refused.why).map(Self::Refused),
            Some(Said::Registers(batch)) => batch_in(batch).map(Self::Registers),
            Some(Said::Ack(ack)) => Ok(Self::Ack(Arrival(ack.upto))),
            Some(Said::Ping(v1::Ping {})) => Ok(Self::Ping),
            Some(Said::Pong(v1::Pong {})) => Ok(Self::Pong),
            Some(Said::Bye(v1::Bye {})) => Ok(Self::Bye),
            None => Err(WireError::UnknownKind { field: "frame" }),
        }
    }
}

fn hello_out(hello: &Hello) -> v1::Hello {
    v1::Hello {
        protocol: hello.protocol,
        folder: hello.folder.map(|id| Bytes::copy_from_slice(&id.0)),
        role: role_out(hello.role).into(),
        name: hello.name.as_str().to_owned(),
        secret: hello.secret.map(|secret| v1::Secret {
            value: Bytes::copy_from_slice(&secret.0),
        }),
        session: hello.session,
        actor: hello.actor.0,
        epoch: hello.epoch,
        knowledge: Some(vector_out(&hello.knowledge)),
        cursor: hello.cursor.map(|cursor| v1::Cursor {
            epoch: cursor.epoch,
            upto: cursor.upto.0,
        }),
        takes_changes: hello.takes_changes,
        pushes: hello.pushes,
    }
}

fn hello_in(hello: v1::Hello) -> Result<Hello, WireError> {
    if hello.protocol != PROTOCOL {
        return Ok(foreign(&hello));
    }
    Ok(Hello {
        protocol: hello.protocol,
        folder: hello
            .folder
            .map(|id| array("hello.folder", &id).map(FolderId))
            .transpose()?,
        role: role_in(hello.role)?,
        name: label_in("hello.name", &hello.name)?,
        secret: hello
            .secret
            .map(|secret| array("hello.secret", &secret.value).map(Secret))
            .transpose()?,
        session: hello.session,
        actor: ActorId(hello.actor),
        epoch: hello.epoch,
        knowledge: match &hello.knowledge {
            Some(vector) => vector_in("hello.knowledge", vector)?,
            None => VersionVector::new(),
        },
        cursor: hello.cursor.map(|cursor| Cursor {
            epoch: cursor.epoch,
            upto: Arrival(cursor.upto),
        }),
        takes_changes: hello.takes_changes,
        pushes: hello.pushes,
    })
}

/// Returns what a hello of another version of the protocol says: its version, and whose it is. It
/// will be refused, and whoever is refused should hear why.
fn foreign(hello: &v1::Hello) -> Hello {
    Hello {
        protocol: hello.protocol,
        folder: None,
        role: Role::Guest,
        name: Label::lossy(&hello.name),
        secret: None,
        session: 0,
        actor: ActorId(0),
        epoch: 0,
        knowledge: VersionVector::new(),
        cursor: None,
        takes_changes: false,
        pushes: false,
    }
}

fn role_out(role: Role) -> v1::Role {
    match role {
        Role::Full => v1::Role::Full,
        Role::Sparse => v1::Role::Sparse,
        Role::Guest => v1::Role::Guest,
    }
}

fn role_in(value: i32) -> Result<Role, WireError> {
    match v1::Role::try_from(value) {
        Ok(v1::Role::Full) => Ok(Role::Full),
        Ok(v1::Role::Sparse) => Ok(Role::Sparse),
        Ok(v1::Role::Guest) => Ok(Role::Guest),
        Ok(v1::Role::Unspecified) | Err(_) => Err(WireError::UnknownValue {
            field: "hello.role",
            value,
        }),
    }
}

fn refusal_out(why: Refusal) -> v1::Refusal {
    match why {
        Refusal::NotPaired => v1::Refusal::NotPaired,
        Refusal::Protocol => v1::Refusal::Protocol,
        Refusal::OtherFolder => v1::Refusal::OtherFolder,
        Refusal::Busy => v1::Refusal::Busy,
        Refusal::Broken => v1::Refusal::Broken,
        Refusal::Removed => v1::Refusal::Removed,
    }
}

fn refusal_in(value: i32) -> Result<Refusal, WireError> {
    match v1::Refusal::try_from(value) {
        Ok(v1::Refusal::NotPaired) => Ok(Refusal::NotPaired),
        Ok(v1::Refusal::Protocol) => Ok(Refusal::Protocol),
        Ok(v1::Refusal::OtherFolder) => Ok(Refusal::OtherFolder),
        Ok(v1::Refusal::Busy) => Ok(Refusal::Busy),
        Ok(v1::Refusal::Broken) => Ok(Refusal::Broken),
        Ok(v1::Refusal::Removed) => Ok(Refusal::Removed),
        Ok(v1::Refusal::Unspecified) | Err(_) => Err(WireError::UnknownValue {
            field: "refused.why",
            value,
        }),
    }
}

fn batch_out(batch: &Batch) -> v1::Batch {
    let mut registers = BytesMut::new();
    for register in &batch.registers {
        let register = register_out(register);
        registers.reserve(register.encoded_len() + prost::length_delimiter_len(usize::MAX));
        register
            .encode_length_delimited(&mut registers)
            .expect("a growing buffer has room");
    }
    v1::Batch {
        upto: batch.upto.0,
        registers: registers.freeze(),
        knowledge: batch.knowledge.as_ref().map(vector_out),
    }
}

fn batch_in(batch: v1::Batch) -> Result<Batch, WireError> {
    let mut rest = batch.registers;
    let mut registers = Vec::new();
    while rest.has_remaining() {
        let count = u64::try_from(registers.len() + 1).unwrap_or(u64::MAX);
        let max = u64::try_from(BATCH_REGISTERS_MAX).unwrap_or(u64::MAX);
        within("registers", count, 0, max)?;
        registers.push(register_in(v1::Register::decode_length_delimited(
            &mut rest,
        )?)?);
    }
    Ok(Batch {
        upto: Arrival(batch.upto),
        registers,
        knowledge: batch
            .knowledge
            .map(|vector| vector_in("registers.knowledge", &vector))
            .transpose()?,
    })
}

/// Encodes a message as the frame's bytes.
pub fn encode(message: &Message) -> Bytes {
    Bytes::from(v1::Frame::from(message).encode_to_vec())
}

/// Decodes a frame's bytes and checks them. At most [`crate::FRAME_BYTES_MAX`] are taken.
pub fn decode(bytes: Bytes) -> Result<Message, WireError> {
    crate::error::at_most("frame", bytes.len(), crate::FRAME_BYTES_MAX)?;
    Message::try_from(v1::Frame::decode(bytes)?)
}
