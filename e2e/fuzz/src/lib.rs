//! What must hold for any input that a runtime, another plugin or a half-written
//! file hands over. One module for each parser: `check` panics where it does not hold.
//!
//! `cargo test -p sockway-fuzz` replays the kept corpus and mutations of it;
//! `cargo xtask fuzz` lets libFuzzer look for more (both need no root).
#![forbid(unsafe_code)]

pub mod btf;
pub mod call;
pub mod cni_args;
pub mod conflist;
pub mod kconfig;
pub mod prev_result;
pub mod result_cache;

mod plugin;

/// A parser's check.
pub type Check = fn(&[u8]);

/// Every target: its name, which is also its directory in `corpus/`, and its check.
pub const TARGETS: [(&str, Check); 7] = [
    ("btf", btf::check),
    ("call", call::check),
    ("cni_args", cni_args::check),
    ("conflist", conflist::check),
    ("kconfig", kconfig::check),
    ("prev_result", prev_result::check),
    ("result_cache", result_cache::check),
];
