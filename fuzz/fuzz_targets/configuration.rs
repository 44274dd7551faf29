//! See [`tandem_fuzz::configuration`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::configuration(bytes);
});
