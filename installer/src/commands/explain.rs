//! `sockway explain`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use sockway_datapath::late;

use crate::cni::CniArgs;
use crate::exit::Exit;
use crate::options::{OutputArgs, PinArgs};
use crate::reconcile::{self, SourceArgs};
use crate::ui::{self, Paint};
use crate::view::explain::{self, Connection, End, Explanation};
use crate::view::state::State;

/// Say why a pod's connections are accelerated, or are not
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sockway explain 10.0.3.17
  sockway explain fd00::17 -o json")]
pub struct ExplainArgs {
    /// An address of the pod
    #[arg(value_name = "POD-IP")]
    ip: IpAddr,

    /// Where all processes of the node are seen, for the programs' names
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_HOST_PROC",
        default_value = "/proc"
    )]
    host_proc: PathBuf,

    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    cni: CniArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl ExplainArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where the maps cannot be read.
    pub fn run(&self) -> Result<Exit> {
        let pins = self.pins.pins();
        let state = State::gather(&pins, &self.cni);
        if state.datapath.is_none() {
            self.pins.say_not_installed();
            return Ok(Exit::NotInstalled);
        }
        let Self {
            host_proc, sources, ..
        } = self;
        let namespaces = |wanted: &HashSet<u64>| reconcile::namespaces(sources, host_proc, wanted);
        let explanation = explain::gather(&pins, &state, self.ip, |ends| {
            late::holders(&pins, host_proc, &namespaces, ends).unwrap_or_else(|e| {
                log::debug!("cannot see who holds the ends: {e}");
                HashMap::new()
            })
        })?;
        self.output
            .print(&explanation, || text(&explanation, Paint::auto()))?;
        Ok(Exit::Done)
    }
}

fn text(explanation: &Explanation, paint: Paint) -> String {
    let mut text = paint.head(&format!("{}\n", explanation.ip));
    for finding in &explanation.findings {
        let mark = if finding.good {
            paint.good("+")
        } else {
            paint.warn("-")
        };
        let _ = writeln!(text, "  {mark} {}", finding.what);
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "      {}", finding.remedy);
        }
    }
    for connection in &explanation.connections {
        let Connection {
            hop,
            client,
            server,
        } = connection;
        let _ = writeln!(text, "\n  {}", paint.head(hop));
        end(&mut text, "from", client, server.as_ref());
        match server {
            Some(server) => end(&mut text, "to", server, Some(client)),
            None => text.push_str("    to    an end that is not known yet\n"),
        }
    }
    text
}

/// One end: what it sent, and what it lacks to be sent to by redirection.
fn end(text: &mut String, word: &str, end: &End, other: Option<&End>) {
    let programs = if end.programs.is_empty() {
        "a program that cannot be seen".to_owned()
    } else {
        end.programs.join(", ")
    };
    let by_tcp = other.map_or(0, |other| other.received_by_tcp);
    let sent = ui::share(end.redirected, end.redirected + by_tcp);
    let _ = writeln!(
        text,
        "    {word:<5} {} {programs}: {sent} of what it sent redirected",
        end.address
    );
    for lack in &end.lacks {
        let _ = writeln!(text, "          is sent to by TCP: {lack}");
    }
}
