//! See [`tandem_fuzz::wire_frame`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::wire_frame(bytes);
});
