//! See [`tandem_fuzz::hostile_peer`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::hostile_peer(bytes);
});
