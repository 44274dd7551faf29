//! Asks and replies of a lane between the wire and the core.
//!
//! Law: a chunk's bytes are passed on as they arrived, uncopied; a reply with more of them than
//! the largest chunk has is refused.

use bytes::Bytes;
use tandem_core::ids::{ChunkHash, ChunkIx};
use tandem_core::message::{Have, Want};

use crate::error::{WireError, at_most, within};
use crate::register::{CHUNK_SIZE_MAX, hash_in, hash_out, object_in, object_out};
use crate::v1;
use crate::v1::lane_reply::Answer as Wire;

/// What is asked on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneAsk {
    /// Drawn by the asker, each once on its lane.
    pub request: u64,
    /// What it wants.
    pub want: Want,
    /// How many bytes that has, as the asker knows: at most 16 MiB; 0 if it does not say.
    pub len: u32,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneAnswer {
    /// Whose request this answers.
    pub request: u64,
    /// The answer.
    pub reply: LaneReply,
}

/// The core's `Answer`, with the bytes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneReply {
    /// Here it is.
    Data {
        /// The hash that its owner has on record.
        hash: ChunkHash,
        /// The bytes, at most 16 MiB.
        data: Bytes,
    },
    /// It is exactly what the asker named.
    Same,
    /// It has nothing but zeros.
    Hole,
    /// It begins with what the asker named.
    Tail {
        /// The hash of all of it that its owner has on record.
        hash: ChunkHash,
        /// The bytes behind those that were named, at most 16 MiB.
        data: Bytes,
    },
    /// This chunk of this version is nowhere any more.
    Gone,
    /// The one asked does not have it.
    NotHeld,
    /// The one asked could not read it.
    Failed,
}

impl From<LaneAsk> for v1::LaneRequest {
    fn from(ask: LaneAsk) -> Self {
        Self {
            request: ask.request,
            object: Some(object_out(ask.want.object)),
            chunk: ask.want.chunk.0,
            have: ask.want.have.map(|have| v1::Have {
                len: have.len,
                hash: hash_out(have.hash.0),
            }),
            len: ask.len,
        }
    }
}

impl TryFrom<v1::LaneRequest> for LaneAsk {
    type Error = WireError;

    fn try_from(request: v1::LaneRequest) -> Result<Self, WireError> {
        Ok(Self {
            request: request.request,
            want: Want {
                object: object_in("request.object", request.object)?,
                chunk: ChunkIx(request.chunk),
                have: request.have.map(have_in).transpose()?,
            },
            len: within("request.len", request.len.into(), 0, CHUNK_SIZE_MAX.into())
                .map(|_| request.len)?,
        })
    }
}

impl From<LaneAnswer> for v1::LaneReply {
    fn from(answer: LaneAnswer) -> Self {
        Self {
            request: answer.request,
            answer: Some(match answer.reply {
                LaneReply::Data { hash, data } => Wire::Chunk(v1::Chunk {
                    hash: hash_out(hash.0),
                    data,
                }),
                LaneReply::Same => Wire::Same(v1::Same {}),
                LaneReply::Hole => Wire::Hole(v1::Hole {}),
                LaneReply::Tail { hash, data } => Wire::Tail(v1::Chunk {
                    hash: hash_out(hash.0),
                    data,
                }),
                LaneReply::Gone => Wire::Gone(v1::Gone {}),
                LaneReply::NotHeld => Wire::NotHeld(v1::NotHeld {}),
                LaneReply::Failed => Wire::Failed(v1::Failed {}),
            }),
        }
    }
}

impl TryFrom<v1::LaneReply> for LaneAnswer {
    type Error = WireError;

    fn try_from(reply: v1::LaneReply) -> Result<Self, WireError> {
        Ok(Self {
            request: reply.request,
            reply: match reply.answer {
                Some(Wire::Chunk(chunk)) => {
                    let (hash, data) = chunk_in(chunk)?;
                    LaneReply::Data { hash, data }
                }
                Some(Wire::Tail(chunk)) => {
                    let (hash, data) = chunk_in(chunk)?;
                    LaneReply::Tail { hash, data }
                }
                Some(Wire::Same(v1::Same {})) => LaneReply::Same,
                Some(Wire::Hole(v1::Hole {})) => LaneReply::Hole,
                Some(Wire::Gone(v1::Gone {})) => LaneReply::Gone,
                Some(Wire::NotHeld(v1::NotHeld {})) => LaneReply::NotHeld,
                Some(Wire::Failed(v1::Failed {})) => LaneReply::Failed,
                None => {
                    return Err(WireError::UnknownKind {
                        field: "reply.answer",
                    });
                }
            },
        })
    }
}

fn have_in(have: v1::Have) -> Result<Have, WireError> {
    within(
        "request.have.len",
        have.len.into(),
        1,
        CHUNK_SIZE_MAX.into(),
    )?;
    Ok(Have {
        len: have.len,
        hash: ChunkHash(hash_in("request.have.hash", &have.hash)?),
    })
}

fn chunk_in(chunk: v1::Chunk) -> Result<(ChunkHash, Bytes), WireError> {
    let max = usize::try_from(CHUNK_SIZE_MAX).unwrap_or(usize::MAX);
    at_most("reply.chunk.data", chunk.data.len(), max)?;
    let hash = ChunkHash(hash_in("reply.chunk.hash", &chunk.hash)?);
    Ok((hash, chunk.data))
}
