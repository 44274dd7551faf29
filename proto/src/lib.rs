//! Tandem proto.
