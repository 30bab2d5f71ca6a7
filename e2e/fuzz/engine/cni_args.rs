//! `cargo fuzz run cni_args`, see [`sockway_fuzz::cni_args`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway_fuzz::cni_args::check(data));
