//! `cargo xtask doc`: the public items of every crate, as pages.

use anyhow::Result;

use super::{Verb, no_arguments};
use crate::{Workspace, cargo, command};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "doc",
    help: "cargo doc, warnings denied; the front page is target/doc/sockway_datapath/index.html",
    run,
};

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let mut doc = cargo::cargo(workspace);
    doc.args(["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings");
    command::run(&mut doc)
}
