//! See [`tandem_fuzz::sidecar_decode`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::sidecar_decode(bytes);
});
