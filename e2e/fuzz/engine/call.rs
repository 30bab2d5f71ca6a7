//! `cargo fuzz run call`, see [`sockway_fuzz::call`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::call::check(data));
