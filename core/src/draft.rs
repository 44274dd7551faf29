//! Drafts: files of a sparse store while they are being written.
//!
//! A draft is the file of the version on which it began, written in place. What the bytes are is
//! told by three things on disk, and by nothing else: the file itself, the sidecar of the version
//! beneath (where that is not all here), and the draft's own journal.

pub mod journal;
pub mod overlay;
pub mod spans;
