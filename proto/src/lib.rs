//! What peers say to each other, as bytes: `tandem.proto`, what prost makes of it, and the one
//! way between it and the core's messages.
//!
//! Law: whatever passes [`convert`] towards the core is within the core's bounds; whatever does
//! not is refused with an error that says which field is wrong, and why.
//!
//! The service itself needs tonic and is behind the feature `grpc`.

#[cfg(feature = "grpc")]
pub mod codec;
pub mod convert;
pub mod error;
pub mod fuzz;
pub mod lane;
mod register;
pub mod v1;

/// The largest message on a control stream, in bytes: a batch (512 KiB), one register over it and
/// a knowledge, each at most some 1.3 MiB (65,536 actors at up to 20 bytes).
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest reply on a lane, in bytes: the largest chunk, and what stands around it.
pub const LANE_REPLY_BYTES_MAX: usize = register::CHUNK_SIZE_MAX as usize + 1024;
