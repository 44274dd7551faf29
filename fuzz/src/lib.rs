//! Tandem fuzz.
