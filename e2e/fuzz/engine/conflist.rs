//! `cargo fuzz run conflist`, see [`sockway_fuzz::conflist`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::conflist::check(data));
