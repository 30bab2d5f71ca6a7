//! `sockway doctor`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use sockway_common::config::DEFAULT_BACKLOG_LIMIT;

use crate::doctor::report::Report;
use crate::doctor::scene;
use crate::exit::Exit;
use crate::options::{CgroupArgs, OutputArgs, PinArgs, RunDirArgs};
use crate::ui::Paint;

/// Say whether Sockway can run on this node and how well, and prove it on its kernel
#[derive(Args, Debug)]
#[command(after_help = "\
The proof is a short accelerated exchange in a network namespace, a cgroup, a bpffs and maps of its own,
which are gone afterwards: bytes have to be redirected (counted, and none on lo), a sender whose peer does
not read has to stop, every byte has to arrive in order across redirection and TCP and back, a half-closed
connection has to live on, and applications that block have to be left alone. It takes about a second and
touches nothing that is in use. `install` and `run` do the same first, and refuse a node where it fails.

The exit code is 0 where Sockway can run here, with or without limits, 6 where it cannot, and 1 where the
answer could not be written.

Examples:
  sockway doctor
  sockway doctor -o json | jq -r '.verdict, .reasons[]'
  sockway doctor --cgroup /sys/fs/cgroup/unified")]
pub struct DoctorArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    cgroup: CgroupArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// The limit to prove, as for install: redirected bytes that may wait at a reader
    #[arg(long, value_name = "BYTES", env = "SOCKWAY_BACKLOG_LIMIT",
          default_value_t = DEFAULT_BACKLOG_LIMIT,
          value_parser = clap::value_parser!(u32).range(65_536..=67_108_864))]
    backlog_limit: u32,

    /// A process of the proof itself
    #[arg(long, hide = true, requires = "parent")]
    stage: Option<Stage>,
    #[arg(long, hide = true)]
    parent: Option<u32>,
}

/// The processes of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Makes the place and takes it away.
    Scene,
    /// Runs the exchange in it.
    Exchange,
}

impl DoctorArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where nothing can be written to standard output.
    pub fn run(&self) -> Result<Exit> {
        if let (Some(stage), Some(parent)) = (self.stage, self.parent) {
            let (cgroup, limit) = (&self.cgroup.cgroup, self.backlog_limit);
            match stage {
                Stage::Scene => scene::set_up(cgroup, limit, parent)?,
                Stage::Exchange => scene::exchange(cgroup, limit, parent)?,
            }
            return Ok(Exit::Done);
        }
        let report = Report::gather(&self.pins, &self.cgroup, &self.run_dir, self.backlog_limit);
        self.output.print(&report, || report.text(Paint::auto()))?;
        Ok(report.exit())
    }
}
