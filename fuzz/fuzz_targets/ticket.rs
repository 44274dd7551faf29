//! See [`tandem_fuzz::ticket`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::ticket(bytes);
});
