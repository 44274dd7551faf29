//! The simulator, with the fuzzer's bytes for its choices.

use tandem_sim::run;

/// Runs what the bytes choose: a short run, with its faults, its healing and its judges.
///
/// # Panics
///
/// When a promise is broken; then with the trace, whose end tells how.
pub fn sim_choices(bytes: &[u8]) {
    let outcome = run::run_bytes(bytes, false);
    if let Some(failure) = outcome.failure {
        let lines = run::run_bytes(bytes, true).lines;
        panic!("{}\n{failure}", lines.join("\n"));
    }
}
