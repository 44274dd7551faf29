//! What is here of a file, and what to ask for next.

pub mod backoff;
pub mod bitmap;
pub mod kdbitmap;
