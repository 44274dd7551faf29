//! See [`tandem_fuzz::journal_decode`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::journal_decode(bytes);
});
