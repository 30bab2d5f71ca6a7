//! `sockway uninstall`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use sockway_datapath::{Datapath, Error, Pins, host, late, stats, switch};

use crate::cni::CniArgs;
use crate::cni::changes::{self, Outcome};
use crate::doctor::kept;
use crate::exit::Exit;
use crate::keep::lock;
use crate::keep::watch::{Watch, Woken};
use crate::node;
use crate::node::drain;
use crate::node::layouts::{self, Retired};
use crate::node::off;
use crate::options::{OutputArgs, PinArgs, RunDirArgs, StateDirArgs};
use crate::sys::files;
use crate::ui;

/// How long sockets get to leave the sockhash at most: all whose programs read.
const LEAVE: Duration = Duration::from_secs(10);

/// How long another process may take to finish what it changes.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Take Sockway off this node without disturbing a connection
#[derive(Args, Debug)]
#[command(after_help = "\
The entry is taken out of every conflist first, then no connection is joined any more, then those that
are go on by TCP: each socket leaves as soon as its program has read what was redirected to it. Then
programs and maps go. Where programs stand still, their sockets get --drain-timeout to end; what they
need stays then, the exit code is 5, and running it again finishes the job.

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
    #[command(flatten)]
    state_dir: StateDirArgs,

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
    /// Files that name the plugin nevertheless: who loads one calls it.
    still_named: Vec<PathBuf>,
    /// Whether programs and maps were there.
    installed: bool,
    /// Sockets that are still accelerated; what they need stays then.
    sockets_left: usize,
    /// Layouts of other versions that stay, because their sockets live or cannot be counted.
    layouts_left: Vec<Retired>,
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
        let lock = self.lock()?;
        let pins = self.pins.pins();
        let mut conflists = self.take_out_entries()?;
        let installed = pins.dir().exists();
        Datapath::detach(&pins).context("cannot stop joining connections")?;
        let_out(&pins);
        let sockets_left = self.drain(&pins)?;
        let layouts_left = layouts::retire(&pins)?;
        let removed = sockets_left == 0 && layouts_left.is_empty();
        if sockets_left == 0 {
            off::set(&self.state_dir.state_dir, &pins, false)?;
            Datapath::remove(&pins)?;
        }
        // Others make their copies of a list anew, and may have read it before the entry was out.
        if !self.still_named().is_empty() {
            conflists.extend(self.take_out_entries()?);
        }
        let still_named = self.still_named();
        let purged = self.purge(&still_named)?;
        if removed {
            self.unmount(lock)?;
        }
        let report = Report {
            conflists,
            still_named,
            installed,
            sockets_left,
            layouts_left,
            removed,
            purged,
        };
        self.output.print(&report, || text(&report))?;
        ensure!(
            !self.purge || report.still_named.is_empty(),
            "the plugin's binary stays: {} name it, and pods would fail; take the entry out there, then run \
             `sockway uninstall --purge` again",
            ui::paths(&report.still_named)
        );
        if removed && self.stay {
            stay()?;
        }
        Ok(if removed { Exit::Done } else { Exit::Draining })
    }

    /// Held until all is done: what is taken off must not be put back meanwhile.
    fn lock(&self) -> Result<lock::Held> {
        lock::take(&self.run_dir.run_dir, "uninstall", LOCK_WAIT).map_err(|e| {
            match e.downcast_ref::<lock::Taken>() {
                Some(taken) if taken.is_keeper() => e.context(
                    "`sockway run` keeps this node and would put everything back: stop it first \
                     (the DaemonSet, or `systemctl stop sockway`)",
                ),
                _ => e,
            }
        })
    }

    fn still_named(&self) -> Vec<PathBuf> {
        changes::naming(&self.cni.cni_conf_dir).unwrap_or_default()
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
        changes::apply(
            changes::ATTEMPTS,
            || changes::plan_removal(directory),
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

    fn unmount(&self, lock: lock::Held) -> Result<()> {
        let at = self.run_dir.private_cgroup();
        if at.exists() {
            host::unmount(&at)?;
        }
        kept::forget(&self.run_dir.run_dir);
        lock.clear()
    }

    fn purge(&self, still_named: &[PathBuf]) -> Result<Option<PathBuf>> {
        let path = self.cni.plugin_path();
        let wanted = self.purge && still_named.is_empty();
        Ok((wanted && files::remove(&path)?).then_some(path))
    }
}

/// Switches off, and has every socket leave the sockhash: connections go on by TCP. What does
/// not leave is counted by [`UninstallArgs::drain`].
fn let_out(pins: &Pins) {
    let done = switch::node(pins, true).and_then(|()| late::leave_all(pins, LEAVE));
    match done {
        Ok(left) => log::info!("{} sockets left the sockhash", left.out),
        Err(Error::NotInstalled { .. } | Error::OtherLayout { .. }) => {}
        Err(e) => log::warn!("accelerated connections have to end by themselves: {e}"),
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
        still_named,
        installed,
        sockets_left,
        layouts_left,
        removed: _,
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
    if !still_named.is_empty() {
        let paths = ui::paths(still_named);
        lines.push(("Still named", format!("in {paths}: not changed")));
    }
    for Retired {
        layout,
        sockets_left,
    } in layouts_left
    {
        let what = match sockets_left {
            Some(n) => format!("{layout} of another version stays for {n} sockets"),
            None => format!(
                "{layout} of another version stays: its sockets cannot be counted; uninstall with that version"
            ),
        };
        lines.push(("Layout", what));
    }
    lines.push((
        "Programs",
        match (*sockets_left == 0, installed) {
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
