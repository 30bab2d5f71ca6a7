//! `cargo fuzz run result_cache`, see [`sockway_fuzz::result_cache`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::result_cache::check(data));
