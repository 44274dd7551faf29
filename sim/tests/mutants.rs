//! Every planted fault is found: a build with `--features mutants`.
#![cfg(feature = "mutants")]

use tandem_core::mutant::Mutant;
use tandem_sim::mutants::{SEEDS_MAX, expected, find};

#[test]
fn every_mutant_is_found() {
    for mutant in Mutant::ALL {
        let found = find(mutant, 2).and_then(|found| found.failure);
        let promise = found.map(|failure| failure.promise);
        let expected = expected(mutant);
        assert!(
            promise.is_some_and(|promise| expected.contains(&promise)),
            "{mutant:?}: within {SEEDS_MAX} seeds {promise:?} was found broken, not {expected:?}"
        );
    }
}
