//! A joiner that edits while nobody is there: what it was acknowledged survives every kill, and
//! what it synced every power loss (P2).

use tandem_sim::run::run_alone;

/// Seeds that are played; by eye: some seconds.
const SEEDS: u64 = 1000;

#[test]
fn what_is_edited_while_nobody_is_there_survives() {
    let mut failed = Vec::new();
    let (mut judged, mut skewed) = (0, 0);
    for seed in 0..SEEDS {
        let outcome = run_alone(seed, &[], false);
        judged += outcome.reach.count("judged: edits after a crash");
        skewed += outcome.reach.count("clock: an application's is off");
        if let Some(failure) = outcome.failure {
            failed.push(format!("{seed:#x}: {failure}"));
        }
    }
    assert!(judged > SEEDS, "only {judged} crashes were judged");
    assert!(skewed > 0, "no application's clock was off the host's");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
