//! A fixed range of seeds: none may fail, and together they must reach what they are there for.

mod range;

use tandem_sim::reach::expected;

const SEEDS: u64 = 4000;

#[test]
fn no_seed_of_the_range_breaks_a_promise() {
    range::met(&range::hold(SEEDS), expected());
}
