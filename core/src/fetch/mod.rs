//! What is here of a file, and what to ask for next.
//!
//! A file that a peer holds arrives in chunks. The [`bitmap`] says which are here; the
//! [`sidecar`] keeps that on disk beside the bytes, in [`record`]s ([`kdbitmap`] is the older
//! form, and [`error`] what may be wrong with either); [`download`] is the whole state of one
//! version's arrival, and [`backoff`] says when to try again after a failure. None of them knows
//! who reads, who sends, or where the bytes are.

pub mod backoff;
pub mod bitmap;
pub mod download;
pub mod error;
pub mod kdbitmap;
pub mod record;
pub mod sidecar;
