//! `cargo xtask test`: all rings, from the fastest to the slowest.

use anyhow::Result;

use super::{
    Verb, lint, no_arguments, test_conformance, test_e2e, test_privileged, test_programs,
    test_semantics, test_speed, test_unit,
};
use crate::Workspace;
use crate::ring::Ring;

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "test",
    help: "all rings: lint, unit, privileged, conformance, semantics, e2e, programs, speed",
    run,
};

/// A selection, and no bars for what share is redirected: a busy machine's late joining takes its
/// time. All programs, their bars and a download of a gibibyte are for `test-programs`.
const SHORT: [&str; 5] = [
    "--no-bars",
    "--download",
    "1",
    "channel for life",
    "nginx, files",
];

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    Ring::finish(&[
        lint::ring(workspace),
        test_unit::ring(workspace),
        test_privileged::ring(workspace),
        test_conformance::ring(workspace, &[]),
        test_semantics::ring(workspace, &[]),
        test_e2e::ring(workspace, &[]),
        test_programs::ring(workspace, &SHORT.map(str::to_owned)),
        test_speed::ring(workspace, &[]),
    ])
}
