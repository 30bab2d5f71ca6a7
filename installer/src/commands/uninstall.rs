//! `sockway uninstall`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use sockway_datapath::{Datapath, Error, Pins, host, stats};

use crate::conflists::{self, Outcome};
use crate::exit::Exit;
use crate::keep::lock;
use crate::keep::watch::{Watch, Woken};
use crate::layouts;
use crate::options::{CniArgs, Output, OutputArgs, PinArgs, RunDirArgs};
use crate::{drain, files, node, ui};

/// Take Sockway off this node without disturbing a connection
#[derive(Args, Debug)]
#[command(after_help = "\
The entry is taken out of every conflist first, then no connection is joined any more, then the
accelerated ones get --drain-timeout to end, then programs and maps go. If connections are left,
everything they need stays, the exit code is 5, and running it again finishes the job.

The plugin's binary stays: runtimes call DEL from a configuration they keep in memory, and a binary
that is gone keeps pods from being deleted. It then does nothing and answers success. Remove it with
--purge once every pod that was created with Sockway is gone.

Examples:
  sockway uninstall
  sockway uninstall --drain-timeout 10m
  sockway uninstall --purge -o json")]
pub struct UninstallArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    cni: CniArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,

    /// How long accelerated connections get to end (seconds, or like 30s, 5m, 2h)
    #[arg(long, value_name = "TIME", env = "SOCKWAY_DRAIN_TIMEOUT", default_value = "30s",
          value_parser = drain::duration)]
    drain_timeout: Duration,

    /// Remove the plugin's binary too
    #[arg(long, env = "SOCKWAY_PURGE", value_parser = clap::builder::BoolishValueParser::new())]
    purge: bool,

    /// Once it is done, wait for SIGTERM (for a container that must not end)
    #[arg(long)]
    stay: bool,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    /// Conflists that the entry was taken out of.
    conflists: Vec<Outcome>,
    /// Whether programs and maps were there.
    installed: bool,
    /// Sockets that are still accelerated; what they need stays then.
    sockets_left: usize,
    /// Whether programs and maps are gone.
    removed: bool,
    /// The plugin's binary, where it was removed.
    purged: Option<PathBuf>,
}

impl UninstallArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where a step fails; it can be run again.
    pub fn run(&self) -> Result<Exit> {
        node::require_root()?;
        let run_dir = &self.run_dir.run_dir;
        ensure!(
            !lock::is_taken(run_dir)?,
            "`sockway run` keeps this node and would put everything back: stop it first \
             (the DaemonSet, or `systemctl stop sockway`)"
        );
        let pins = self.pins.pins();
        let conflists = self.take_out_entries()?;
        let installed = pins.dir().exists();
        Datapath::detach(&pins).context("cannot stop joining connections")?;
        let sockets_left = self.drain(&pins)?;
        let removed = sockets_left == 0;
        if removed {
            Datapath::remove(&pins)?;
            self.unmount()?;
        }
        let purged = self.purge()?;
        let report = Report {
            conflists,
            installed,
            sockets_left,
            removed,
            purged,
        };
        match self.output.output {
            Output::Json => ui::print_json(&report)?,
            Output::Text => ui::print(&text(&report))?,
        }
        if removed && self.stay {
            stay()?;
        }
        Ok(if removed { Exit::Done } else { Exit::Draining })
    }

    fn take_out_entries(&self) -> Result<Vec<Outcome>> {
        let directory = &self.cni.cni_conf_dir;
        if !directory.exists() {
            log::warn!(
                "{} is not there: no conflist to change",
                directory.display()
            );
            return Ok(Vec::new());
        }
        let _lock = files::lock_directory(directory, files::LOCK_WAIT)?;
        files::remove_leftovers(directory)?;
        files::remove_leftovers(&self.cni.cni_bin_dir)?;
        conflists::apply(
            conflists::ATTEMPTS,
            || conflists::plan_removal(directory),
            |_| {},
        )
    }

    fn drain(&self, pins: &Pins) -> Result<usize> {
        let count = || {
            let own = match stats::sockets(pins) {
                Ok(sockets) => sockets,
                // Nothing there, or no longer: nothing to wait for.
                Err(Error::NotInstalled { .. } | Error::OtherLayout { .. }) => 0,
                Err(e) => return Err(e.into()),
            };
            // A layout that cannot be read is not removed, and waiting would not change that.
            let others = layouts::retire(pins)?;
            Ok(own
                + others
                    .iter()
                    .filter_map(|other| other.sockets_left)
                    .sum::<usize>())
        };
        drain::wait(self.drain_timeout, count, |left, after| {
            if left > 0 {
                log::info!(
                    "{left} accelerated sockets left after {} s of at most {} s",
                    after.as_secs(),
                    self.drain_timeout.as_secs()
                );
            }
        })
    }

    fn unmount(&self) -> Result<()> {
        let at = self.run_dir.private_cgroup();
        if at.exists() {
            host::unmount(&at)?;
        }
        lock::clear(&self.run_dir.run_dir)?;
        // Empty by now, unless somebody else keeps something there.
        match std::fs::remove_dir(&self.run_dir.run_dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                log::debug!("{} stays: {e}", self.run_dir.run_dir.display());
            }
            _ => {}
        }
        Ok(())
    }

    fn purge(&self) -> Result<Option<PathBuf>> {
        let path = self.cni.plugin_path();
        Ok((self.purge && files::remove(&path)?).then_some(path))
    }
}

fn stay() -> Result<()> {
    let mut watch = Watch::new()?;
    while watch.wait(Duration::from_hours(1))? != Woken::Stop {}
    Ok(())
}

fn text(report: &Report) -> String {
    let Report {
        conflists,
        installed,
        sockets_left,
        removed,
        purged,
    } = report;
    let mut lines = Vec::new();
    for conflist in conflists {
        lines.push((
            "Conflist",
            format!("{} (entry taken out)", conflist.path.display()),
        ));
    }
    if conflists.is_empty() {
        lines.push(("Conflist", "none had the entry".to_owned()));
    }
    lines.push((
        "Programs",
        match (removed, installed) {
            (true, true) => "removed, with their maps".to_owned(),
            (true, false) => "were not there".to_owned(),
            (false, _) => format!(
                "stay for {sockets_left} sockets that are still accelerated; run uninstall again, \
             with a longer --drain-timeout or after restarting the pods of `sockway pods`"
            ),
        },
    ));
    lines.push((
        "Plugin",
        match purged {
            Some(path) => format!("{} removed", path.display()),
            None => "left in place: it answers DEL for pods created with it (--purge removes it)"
                .to_owned(),
        },
    ));
    ui::facts(&lines)
}
