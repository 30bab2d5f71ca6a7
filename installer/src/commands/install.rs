//! `sockway install`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use sockway_common::config::DEFAULT_BACKLOG_LIMIT;
use sockway_common::layout::MAX_CONNECTIONS;
use sockway_datapath::host;

use crate::build::Facts;
use crate::cni::CniArgs;
use crate::cni::settings::Settings;
use crate::exit::Exit;
use crate::keep::lock;
use crate::node::components::{self, Scene, Step};
use crate::node::layouts::Retired;
use crate::node::{Host, Report, Wanted};
use crate::options::{CgroupArgs, OutputArgs, PinArgs, RunDirArgs, StateDirArgs};
use crate::reconcile::SourceArgs;
use crate::sys::files::Written;
use crate::ui;

/// How long another process may take to finish what it changes.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Put Sockway onto this node, or bring what is there up to date
#[derive(Args, Debug)]
#[command(after_help = "\
Everything is checked before anything is changed, and the kernel has to prove itself (see `sockway doctor`;
exit code 6 where it does not). With --force a node is installed on all the same: what the refusal says is at
risk then happens to applications. Pods that are there already are registered without
being restarted; their new connections are accelerated. May be run again at any time: programs are
replaced in place, accelerated connections go on, and what is as it should be is not written.

Examples:
  sockway install
  sockway install --dry-run      # what would be done, and why
  sockway install --scope proxy --exclude-namespace kube-system,istio-system
  sockway install --cni-conf-dir /etc/cni/net.d --conf-name 10-terway.conflist -o json")]
pub struct InstallArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    sources: SourceArgs,

    /// Print what would be done, and why, and change nothing; the proof on the kernel is left out
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    wanted: WantedArgs,
}

/// What the node should be like; `run` takes the same.
#[derive(Args, Debug)]
pub struct WantedArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    cni: CniArgs,
    #[command(flatten)]
    cgroup: CgroupArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    state_dir: StateDirArgs,

    /// The plugin's binary [default: sockway-cni beside this program]
    #[arg(long, value_name = "FILE", env = "SOCKWAY_PLUGIN")]
    plugin: Option<PathBuf>,

    /// Redirected bytes that may wait at a reader before a direction goes by TCP
    #[arg(long, value_name = "BYTES", env = "SOCKWAY_BACKLOG_LIMIT",
          default_value_t = DEFAULT_BACKLOG_LIMIT,
          value_parser = clap::value_parser!(u32).range(65_536..=67_108_864))]
    backlog_limit: u32,

    /// Accelerated connections at a time; those above it go by TCP. Takes effect where the maps
    /// are made: on a first install, or after an uninstall
    #[arg(long, value_name = "N", env = "SOCKWAY_MAX_CONNECTIONS",
          default_value_t = MAX_CONNECTIONS,
          value_parser = clap::value_parser!(u32).range(16..=4_194_304))]
    max_connections: u32,

    /// Seconds after which one message of a redirected direction goes by TCP: so conntrack does not
    /// forget the connection, and a network policy that changed is applied; 0: never [default: a
    /// quarter of the node's conntrack timeout, at most an hour]
    #[arg(long, value_name = "SECONDS", env = "SOCKWAY_TCP_EVERY",
          value_parser = clap::value_parser!(u32).range(0..=32_767))]
    tcp_every: Option<u32>,

    /// Keep the node switched off: everything is in place, and goes by TCP
    #[arg(long, env = "SOCKWAY_OFF", value_parser = clap::builder::BoolishValueParser::new())]
    off: bool,

    /// Go on where the proof fails (see doctor), or Sockway would see only a part of this node's sockets
    #[arg(long, env = "SOCKWAY_FORCE", value_parser = clap::builder::BoolishValueParser::new())]
    force: bool,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Serialize)]
struct Document<'a> {
    host: &'a Facts,
    #[serde(flatten)]
    report: &'a Report,
}

#[derive(Serialize)]
struct Plan<'a> {
    host: &'a Facts,
    steps: &'a [Step],
}

impl WantedArgs {
    /// What the node should be like.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            cni: self.cni.clone(),
            cgroup: self.cgroup.clone(),
            run_dir: self.run_dir.clone(),
            state_dir: self.state_dir.state_dir.clone(),
            off: self.off,
            pins: self.pins.pins(),
            settings: self.settings.clone(),
            plugin: self.plugin.clone(),
            backlog_limit: self.backlog_limit,
            max_connections: self.max_connections,
            tcp_every: self.tcp_every.unwrap_or_else(host::tcp_every),
            force: self.force,
        }
    }
}

impl InstallArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where a check or a step fails.
    pub fn run(&self) -> Result<Exit> {
        let wanted = self.wanted.wanted();
        let facts = Facts::gather(&wanted.pins);
        log::info!("{}", facts.line());
        let mut host = wanted.check_host().context("nothing was changed")?;
        wanted
            .require_plugin_directory()
            .and_then(|()| wanted.plan_conflists())
            .context("nothing was changed")?;
        if self.dry_run {
            return self.print_plan(&wanted, &host, &facts);
        }
        wanted.prove(&mut host).context("nothing was changed")?;
        let lock = lock(&wanted).context("nothing was changed")?;
        let report = self.put(&wanted, &host, &facts);
        if let Some(lock) = lock {
            lock.clear()?;
        }
        report?;
        Ok(Exit::Done)
    }

    fn print_plan(&self, wanted: &Wanted, host: &Host, facts: &Facts) -> Result<Exit> {
        let scene = Scene {
            wanted,
            host,
            sources: &self.sources,
        };
        let steps = components::plan(scene).context("it would not be installed")?;
        let plan = Plan {
            host: facts,
            steps: &steps,
        };
        self.output.print(&plan, || plan_text(&steps))?;
        Ok(Exit::Done)
    }

    fn put(&self, wanted: &Wanted, host: &Host, facts: &Facts) -> Result<()> {
        let report = wanted.install(host, &self.sources)?;
        let document = Document {
            host: facts,
            report: &report,
        };
        self.output.print(&document, || text(&report))?;
        Ok(())
    }
}

/// Held until all is done. Beside `sockway run`, which makes small changes only, it is not needed.
fn lock(wanted: &Wanted) -> Result<Option<lock::Held>> {
    match lock::take(&wanted.run_dir.run_dir, "install", LOCK_WAIT) {
        Ok(held) => Ok(Some(held)),
        Err(e) if e.downcast_ref().is_some_and(lock::Taken::is_keeper) => {
            log::warn!("`sockway run` keeps this node, and goes on with its own options");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// One line for each step, and below it how it is now.
fn plan_text(steps: &[Step]) -> String {
    let mut text = String::from("Nothing was changed. This would be done, in this order:\n\n");
    for (
        at,
        Step {
            component,
            what,
            why,
            text: written,
        },
    ) in steps.iter().enumerate()
    {
        let _ = writeln!(text, "{:>2}. {component:<9} {what}", at + 1);
        let _ = writeln!(text, "{:14}now: {why}", "");
        if let Some(written) = written {
            let _ = writeln!(text, "{:14}+ {written}", "");
        }
    }
    let untouched = ["plugin", "conflist", "pods"]
        .into_iter()
        .filter(|name| steps.iter().all(|step| step.component != *name));
    let untouched: Vec<&str> = untouched.collect();
    if !untouched.is_empty() {
        let _ = writeln!(text, "\nAs wanted already: {}.", untouched.join(", "));
    }
    text
}

fn text(report: &Report) -> String {
    let Report {
        cgroup,
        mounted,
        replaced,
        limits,
        plugin,
        plugin_written,
        conflists,
        troubles,
        retired,
        pods,
    } = report;
    let mut lines = vec![
        (
            "Programs",
            format!(
                "{} {}{}",
                if *replaced {
                    "replaced in place at"
                } else {
                    "attached to"
                },
                cgroup.display(),
                if *mounted { " (mounted for it)" } else { "" }
            ),
        ),
        (
            "Plugin",
            format!("{} ({})", plugin.display(), word(*plugin_written)),
        ),
    ];
    for conflist in conflists {
        lines.push((
            "Conflist",
            format!("{} ({})", conflist.path.display(), word(conflist.written)),
        ));
    }
    lines.extend(troubles.iter().map(|line| ("Conflist", line.clone())));
    for limit in limits {
        lines.push(("Limited", (*limit).to_owned()));
    }
    for Retired { layout, .. } in retired {
        let what = format!("{layout} of another version stays while its connections last");
        lines.push(("Layout", what));
    }
    if let Some(pods) = pods {
        let (old, live) = (pods.registered.len(), pods.live);
        lines.push(("Pods", format!("{old} registered now, of {live} live ones")));
        lines.extend(pods.failed.iter().map(|failure| ("Pod", failure.clone())));
    }
    ui::facts(&lines)
}

const fn word(written: Written) -> &'static str {
    match written {
        Written::Changed => "written",
        Written::Unchanged => "was as it should be",
        Written::Overtaken => "being written by another program",
    }
}
