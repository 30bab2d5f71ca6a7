//! `sockway install`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use sockway_common::config::DEFAULT_BACKLOG_LIMIT;
use sockway_common::layout::MAX_CONNECTIONS;
use sockway_datapath::host;

use crate::build::Facts;
use crate::exit::Exit;
use crate::files::Written;
use crate::layouts::Retired;
use crate::node::{Report, Wanted};
use crate::options::{CgroupArgs, CniArgs, Output, OutputArgs, PinArgs, RunDirArgs};
use crate::reconcile::{self, SourceArgs};
use crate::settings::Settings;
use crate::ui;

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
  sockway install --scope proxy --exclude-namespace kube-system,istio-system
  sockway install --cni-conf-dir /etc/cni/net.d --conf-name 10-terway.conflist -o json")]
pub struct InstallArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    sources: SourceArgs,
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

    /// Seconds without a packet after which Envoy's end of an accelerated connection probes its peer,
    /// so that conntrack does not forget it; 0: never [default: a quarter of the node's conntrack
    /// timeout, at most an hour]
    #[arg(long, value_name = "SECONDS", env = "SOCKWAY_KEEPALIVE_IDLE",
          value_parser = clap::value_parser!(u32).range(0..=32_767))]
    keepalive_idle: Option<u32>,

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
    pods: Option<&'a reconcile::Report>,
}

impl WantedArgs {
    /// What the node should be like.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            cni: self.cni.clone(),
            cgroup: self.cgroup.clone(),
            run_dir: self.run_dir.clone(),
            pins: self.pins.pins(),
            settings: self.settings.clone(),
            plugin: self.plugin.clone(),
            backlog_limit: self.backlog_limit,
            max_connections: self.max_connections,
            keepalive_idle: self.keepalive_idle.unwrap_or_else(host::keepalive_idle),
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
        wanted.plan_conflists().context("nothing was changed")?;
        wanted.prove(&mut host).context("nothing was changed")?;
        let report = wanted.install(&host)?;
        let pods = match reconcile::run(&wanted.pins, &wanted.cni, &self.sources, false) {
            Ok(pods) => Some(pods),
            Err(e) => {
                log::warn!("pods that are older than the install are not registered: {e:#}");
                None
            }
        };
        match self.output.output {
            Output::Json => ui::print_json(&Document {
                host: &facts,
                report: &report,
                pods: pods.as_ref(),
            })?,
            Output::Text => ui::print(&text(&report, pods.as_ref()))?,
        }
        Ok(Exit::Done)
    }
}

fn text(report: &Report, pods: Option<&reconcile::Report>) -> String {
    let Report {
        cgroup,
        mounted,
        replaced,
        limits,
        plugin,
        plugin_written,
        conflists,
        retired,
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
        lines.extend(pods.existing.iter().map(|e| ("Existing", e.line())));
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
