//! See [`tandem_fuzz::paths`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::paths(bytes);
});
