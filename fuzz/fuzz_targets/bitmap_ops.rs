//! See [`tandem_fuzz::bitmap_ops`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tandem_fuzz::bitmap_ops(bytes);
});
