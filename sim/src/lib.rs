//! Tandem sim.
