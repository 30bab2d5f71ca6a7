//! The verbs, one per file.

pub mod bench;
pub mod build;
pub mod check;
pub mod check_tree;
pub mod cluster;
pub mod demo;
pub mod doc;
pub mod ebpf;
pub mod fmt;
pub mod fuzz;
pub mod image;
pub mod kernels;
pub mod lint;
pub mod soak;
pub mod switches;
pub mod test;
pub mod test_conformance;
pub mod test_e2e;
pub mod test_node;
pub mod test_privileged;
pub mod test_programs;
pub mod test_semantics;
pub mod test_speed;
pub mod test_unit;
pub mod toolchain;
pub mod unsafe_code;

use anyhow::{Result, bail};

use crate::Workspace;

/// One `cargo xtask` command.
#[derive(Debug)]
pub struct Verb {
    /// As typed.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Runs it with the arguments behind its name.
    pub run: fn(&Workspace, &[String]) -> Result<()>,
}

const VERBS: &[Verb] = &[
    ebpf::VERB,
    build::VERB,
    demo::VERB,
    check::VERB,
    test::VERB,
    lint::VERB,
    test_unit::VERB,
    test_privileged::VERB,
    test_e2e::VERB,
    test_programs::VERB,
    test_semantics::VERB,
    test_conformance::VERB,
    test_node::VERB,
    test_speed::VERB,
    image::VERB,
    cluster::UP,
    cluster::DOWN,
    cluster::TEST,
    kernels::VERB,
    soak::VERB,
    switches::VERB,
    bench::VERB,
    fuzz::VERB,
    fmt::VERB,
    doc::VERB,
    unsafe_code::VERB,
    check_tree::VERB,
    toolchain::VERB,
];

/// The verb of that name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// The list of verbs for a person.
pub fn usage() -> String {
    let verbs: Vec<String> = VERBS
        .iter()
        .map(|Verb { name, help, run: _ }| format!("  {name:<17} {help}"))
        .collect();
    format!(
        "usage: cargo xtask VERB [ARGUMENTS]\n\n{}",
        verbs.join("\n")
    )
}

/// Refuses arguments, for verbs that take none.
fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        Some(first) => bail!("this verb takes no arguments, but got {first:?}"),
        None => Ok(()),
    }
}
