//! `cargo fuzz run btf`, see [`sockway_fuzz::btf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::btf::check(data));
