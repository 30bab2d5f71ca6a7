//! Test suites that are programs of their own, built and run like the release binaries.

use crate::Workspace;
use crate::ring::{Ring, count_tests, total_line};
use crate::verbs::build;

/// A suite's program and how it is run.
#[derive(Debug)]
pub struct Suite {
    /// Name of the ring.
    pub name: &'static str,
    /// Package and binary.
    pub package: &'static str,
    /// Arguments of each run, one after the other.
    pub runs: &'static [&'static [&'static str]],
}

impl Suite {
    /// Builds it with everything it drives and runs it; `arguments`, where there
    /// are any, make one run of their own.
    pub fn ring(&self, workspace: &Workspace, arguments: &[String]) -> Ring {
        let Self {
            name,
            package,
            runs,
        } = self;
        Ring::run(name, |count| {
            build::build_with(workspace, &[package])?;
            let mut one = |arguments: &[&str]| {
                let mut command =
                    std::process::Command::new(build::directory(workspace).join(package));
                workspace.tools().export(&mut command);
                command.current_dir(workspace.root()).args(arguments);
                count_tests(&mut command, count, total_line)
            };
            if !arguments.is_empty() {
                return one(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            }
            // Every run is made, also after one that failed.
            let results: Vec<_> = runs.iter().map(|arguments| one(arguments)).collect();
            results.into_iter().collect()
        })
    }
}
