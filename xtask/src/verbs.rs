//! The verbs, one per file.

pub mod ebpf;

use anyhow::Result;

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

const VERBS: &[Verb] = &[Verb {
    name: "ebpf",
    help: "build the eBPF object into target/bpf/sockway.o [--features LIST]",
    run: ebpf::run,
}];

/// The verb of that name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// The list of verbs for a person.
pub fn usage() -> String {
    let verbs: Vec<String> = VERBS
        .iter()
        .map(|Verb { name, help, run: _ }| format!("  {name:<16} {help}"))
        .collect();
    format!(
        "usage: cargo xtask VERB [ARGUMENTS]\n\n{}",
        verbs.join("\n")
    )
}
