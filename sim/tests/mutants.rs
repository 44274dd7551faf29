//! Every planted fault is found: a build with `--features mutants`.
#![cfg(feature = "mutants")]

use tandem_core::mutant::Mutant;
use tandem_sim::mutants::{SEEDS_MAX, find};

#[test]
fn every_mutant_is_found() {
    for mutant in Mutant::ALL {
        let found = find(mutant, 2);
        assert!(
            found.is_some(),
            "{mutant:?} lives through {SEEDS_MAX} seeds: the oracles or generators are too weak"
        );
    }
}
