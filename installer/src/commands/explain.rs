//! `sockway explain`.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::Result;
use clap::Args;

use crate::exit::Exit;
use crate::explain::{self, Explanation};
use crate::options::{CniArgs, Output, OutputArgs, PinArgs};
use crate::state::State;
use crate::ui::{self, Paint};

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
            log::error!(
                "nothing is pinned in {}: run `sockway install`",
                pins.root().display()
            );
            return Ok(Exit::NotInstalled);
        }
        let explanation = explain::gather(&pins, &state, self.ip)?;
        match self.output.output {
            Output::Json => ui::print_json(&explanation)?,
            Output::Text => ui::print(&text(&explanation, Paint::auto()))?,
        }
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
    text
}
