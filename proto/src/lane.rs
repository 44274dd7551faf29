//! Asks and replies of a lane between the wire and the core.
//!
//! Law: a chunk's bytes are passed on as they arrived, uncopied; a reply with more of them than
//! the largest chunk has is refused.

use bytes::Bytes;
use tandem_core::ids::{ChunkHash, ChunkIx};
use tandem_core::message::Want;

use crate::error::{WireError, at_most};
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
            },
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
        let max = usize::try_from(CHUNK_SIZE_MAX).unwrap_or(usize::MAX);
        Ok(Self {
            request: reply.request,
            reply: match reply.answer {
                Some(Wire::Chunk(chunk)) => {
                    at_most("reply.chunk.data", chunk.data.len(), max)?;
                    LaneReply::Data {
                        hash: ChunkHash(hash_in("reply.chunk.hash", &chunk.hash)?),
                        data: chunk.data,
                    }
                }
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
