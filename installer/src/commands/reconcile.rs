//! `sockway reconcile`.

use anyhow::Result;
use clap::Args;

use crate::cni::CniArgs;
use crate::exit::Exit;
use crate::node;
use crate::options::{OutputArgs, PinArgs};
use crate::reconcile::{self, Report, SourceArgs};
use crate::ui;

/// Register pods that are older than the install, and forget those that are gone
#[derive(Args, Debug)]
#[command(after_help = "\
Pods are taken from libcni's result cache and checked against their network namespaces. No pod is
restarted; new connections of the pods registered are accelerated from then on.

Examples:
  sockway reconcile
  sockway reconcile --all        # also pods that are registered, after settings were changed
  sockway install --percent 50 && sockway reconcile --all")]
pub struct ReconcileArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    cni: CniArgs,
    #[command(flatten)]
    sources: SourceArgs,

    /// Register pods again that are registered, with the settings of the conflist: scope, percent, the
    /// lists of namespaces. What was switched off stays off
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    output: OutputArgs,
}

impl ReconcileArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where maps, conflist or cache cannot be read.
    pub fn run(&self) -> Result<Exit> {
        node::require_root()?;
        let report = reconcile::run(&self.pins.pins(), &self.cni, &self.sources, self.all)?;
        self.output.print(&report, || text(&report))?;
        Ok(if report.failed.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

fn text(report: &Report) -> String {
    let Report {
        live,
        registered,
        removed,
        given_back,
        shared,
        in_doubt,
        failed,
        young: _,
    } = report;
    let mut lines = vec![("Pods", format!("{live} live in the runtime's cache"))];
    let all = [
        ("Registered", registered),
        ("Removed", removed),
        ("Given back", given_back),
        ("Shared", shared),
        ("Failed", failed),
    ];
    for (what, names) in all {
        lines.extend(names.iter().map(|name| (what, name.clone())));
    }
    if *in_doubt > 0 {
        let line = format!(
            "{in_doubt} registered pods of which neither a cache nor a namespace can be seen stay: \
             name their places with --cni-cache-dir and --netns-dir"
        );
        lines.push(("In doubt", line));
    }
    if [registered, removed, given_back, failed]
        .iter()
        .all(|names| names.is_empty())
    {
        lines.push(("Changed", "nothing: the registered set is right".to_owned()));
    }
    ui::facts(&lines)
}
