//! Puts the eBPF object where the loader includes it from: `OUT_DIR/sockway.o`.
//!
//! `make build` names the object in `SOCKWAY_EBPF_OBJECT`. Without it the file is
//! empty, so that checks, lints and unit tests need no BPF toolchain; a release
//! build refuses that, because it would install programs that are not there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

const OBJECT: &str = "SOCKWAY_EBPF_OBJECT";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(sockway_object)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={OBJECT}");
    if env::var_os("CARGO_FEATURE_LOADER").is_none() {
        return;
    }
    let copy = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("sockway.o");
    let content = match env::var_os(OBJECT).filter(|path| !path.is_empty()) {
        Some(object) => {
            let content = read(&PathBuf::from(object));
            println!("cargo::rustc-cfg=sockway_object");
            content
        }
        None if env::var("PROFILE").is_ok_and(|profile| profile == "release") => {
            panic!(
                "a release build needs the eBPF object: use `make build`, or set {OBJECT} to \
                 the absolute path of an object made by `cargo xtask ebpf`"
            );
        }
        None => Vec::new(),
    };
    fs::write(&copy, content)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", copy.display()));
}

fn read(object: &Path) -> Vec<u8> {
    assert!(
        object.is_absolute(),
        "{OBJECT}={} is not an absolute path, and cargo runs build scripts in another directory",
        object.display()
    );
    println!("cargo::rerun-if-changed={}", object.display());
    let content = fs::read(object).unwrap_or_else(|error| {
        panic!(
            "cannot read {OBJECT}={}: {error}; `cargo xtask ebpf` makes it",
            object.display()
        )
    });
    assert!(
        content.starts_with(b"\x7fELF"),
        "{OBJECT}={} is no ELF object; `cargo xtask ebpf` makes one",
        object.display()
    );
    content
}
