//! `cargo fuzz run kconfig`, see [`sockway_fuzz::kconfig`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::kconfig::check(data));
