//! See [`tandem_fuzz::sim_choices`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::sim_choices(bytes);
});
