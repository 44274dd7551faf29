//! See [`tandem_fuzz::metadata_records`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::metadata_records(bytes);
});
