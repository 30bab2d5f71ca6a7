//! `cargo fuzz run prev_result`, see [`sockway_fuzz::prev_result`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::prev_result::check(data));
