//! Tandem io.
