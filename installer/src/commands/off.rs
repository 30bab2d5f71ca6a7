//! `sockway off` and `sockway on`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use sockway_common::part::Switched;
use sockway_datapath::late;
use sockway_datapath::{Pins, Registry, switch};

use crate::exit::Exit;
use crate::node;
use crate::node::drain;
use crate::node::off;
use crate::options::{OutputArgs, PinArgs, StateDirArgs};
use crate::ui;
use crate::view::pods;

/// What is switched.
#[derive(Args, Debug)]
pub struct SwitchArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    state_dir: StateDirArgs,

    /// One pod only: its address, NAMESPACE/NAME, or container id
    #[arg(long, value_name = "POD")]
    pod: Option<String>,

    #[command(flatten)]
    output: OutputArgs,
}

/// Send everything by TCP from now on, without disturbing a connection
#[derive(Args, Debug)]
#[command(after_help = "\
Every direction goes by TCP from its next send on, in order. Then the sockets leave the sockhash, each
as soon as its program has read what was redirected to it. The node stays off over restarts, reboots
and upgrades until `sockway on`; a pod until `sockway on --pod` or its end. The exit code is 5 where
sockets are left whose programs do not read: they are sent to by TCP already.

Examples:
  sockway off
  sockway off --pod default/fortio-0")]
pub struct OffArgs {
    #[command(flatten)]
    switch: SwitchArgs,

    /// How long sockets get to leave (seconds, or like 30s, 5m)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = drain::duration)]
    patience: Duration,
}

/// Redirect again what may be redirected
#[derive(Args, Debug)]
#[command(after_help = "\
New connections take part at once, those that are open within seconds where `sockway run` keeps the node.
A node whose keeper is told to keep it off (SOCKWAY_OFF; the chart's switchedOff, or the label
sockway.io/off=true) is switched on there: this command refuses.

Examples:
  sockway on
  sockway on --pod default/fortio-0")]
pub struct OnArgs {
    #[command(flatten)]
    switch: SwitchArgs,

    /// What the keeper was told: see `sockway run`
    #[arg(long, hide = true, env = "SOCKWAY_OFF", value_parser = clap::builder::BoolishValueParser::new())]
    off: bool,
}

#[derive(Serialize)]
struct Report {
    /// `off` or `on`.
    state: &'static str,
    /// The pod; absent for the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    /// Sockets that left the sockhash.
    left: usize,
    /// Sockets that stay in it, because their programs do not read.
    stay: usize,
    /// How long it took until every send that begins goes by TCP, milliseconds.
    effective_ms: u128,
    /// How long it took in all, milliseconds.
    took_ms: u128,
}

impl SwitchArgs {
    /// Switches, and says what was switched: a pod's title, or none for the node.
    fn switch(&self, off: bool) -> Result<Option<String>> {
        node::require_root()?;
        let pins = self.pins.pins();
        let Some(pod) = &self.pod else {
            off::set(&self.state_dir.state_dir, &pins, off)?;
            match switch::node(&pins, off) {
                // It holds as soon as there is something to be switched.
                Err(sockway_datapath::Error::NotInstalled { .. }) => {
                    log::warn!(
                        "Sockway is not installed: it will be {} once it is",
                        word(off)
                    );
                }
                done => {
                    done?;
                    tell_keeper(&pins);
                }
            }
            return Ok(None);
        };
        let found = pods::gather(&pins)?
            .into_iter()
            .find(|known| known.is_called(pod))
            .with_context(|| format!("no registered pod is called {pod}: see `sockway pods`"))?;
        let owner = sockway_common::pod::OwnerKey::new(&found.container_id, &found.ifname);
        if !switch::pod(&pins, &owner, off.then_some(Switched::ByHand))? {
            bail!("{} was unregistered meanwhile", found.title());
        }
        tell_keeper(&pins);
        Ok(Some(found.title()))
    }

    fn tell(&self, report: &Report) -> Result<()> {
        self.output.print(report, || text(report))
    }
}

/// Without it the keeper finds out by its next look at every end.
fn tell_keeper(pins: &Pins) {
    if let Err(e) = late::ask_for_pass(pins) {
        log::debug!("the keeper is not told: {e}");
    }
}

const fn word(off: bool) -> &'static str {
    if off { "off" } else { "on" }
}

impl OffArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where there is nothing to switch, or the kernel refuses.
    pub fn run(&self) -> Result<Exit> {
        let start = Instant::now();
        let pod = self.switch.switch(true)?;
        let effective_ms = start.elapsed().as_millis();
        let pins = self.switch.pins.pins();
        let left = if pod.is_none() && Registry::open(&pins).is_ok() {
            late::leave_all(&pins, self.patience)?
        } else {
            late::Left::default()
        };
        let report = Report {
            state: word(true),
            pod,
            left: left.out,
            stay: left.stay.len(),
            effective_ms,
            took_ms: start.elapsed().as_millis(),
        };
        self.switch.tell(&report)?;
        Ok(if report.stay == 0 {
            Exit::Done
        } else {
            Exit::Draining
        })
    }
}

impl OnArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where there is nothing to switch, or the kernel refuses.
    pub fn run(&self) -> Result<Exit> {
        let start = Instant::now();
        if self.off && self.switch.pod.is_none() {
            bail!(
                "the keeper of this node is told to keep it off (SOCKWAY_OFF) and would switch it off again: \
                 take the label sockway.io/off from the node, or the chart's value switchedOff back"
            );
        }
        let pod = self.switch.switch(false)?;
        let took = start.elapsed().as_millis();
        self.switch.tell(&Report {
            state: word(false),
            pod,
            left: 0,
            stay: 0,
            effective_ms: took,
            took_ms: took,
        })?;
        Ok(Exit::Done)
    }
}

fn text(report: &Report) -> String {
    let Report {
        state,
        pod,
        left,
        stay,
        effective_ms,
        took_ms,
    } = report;
    let who = pod.as_deref().unwrap_or("this node");
    let mut lines = vec![(
        "Switched",
        format!("{who} is {state} after {effective_ms} ms"),
    )];
    if *left + *stay > 0 {
        lines.push((
            "Sockets",
            format!("{left} left the sockhash within {took_ms} ms"),
        ));
    }
    if *stay > 0 {
        lines.push((
            "Stay",
            format!("{stay}: their programs leave bytes unread, or those at the other end stand still in a call; they are sent to by TCP"),
        ));
    }
    ui::facts(&lines)
}
