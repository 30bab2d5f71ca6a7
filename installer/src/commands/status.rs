//! `sockway status`.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use clap::Args;

use crate::cni::CniArgs;
use crate::exit::Exit;
use crate::options::{OutputArgs, PinArgs};
use crate::ui::{self, Align, Paint, Table};
use crate::view::figures::{Figures, HopFigures};
use crate::view::state::State;

/// Show what is installed and what it does
#[derive(Args, Debug)]
#[command(after_help = "\
First the share of all bytes that connections of registered pods with both ends on this node carried.
Columns: SEEN connections of a registered pod's hop, ON NODE those with both ends on this node, FOUND
those whose ends know each other; JOINED ends that came in when they were established, LATE ends that
came in later; REQUESTS and RESPONSES the redirected part of what the connecting and the accepting
ends sent; all since the maps were made. The exit code is 0 where all is well, 3 where
Sockway is not installed and 4 where something is not as it should be.

Examples:
  sockway status
  sockway status -o json | jq .figures.total")]
pub struct StatusArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    cni: CniArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// Succeed where nothing of Sockway is left to take off, for a probe after uninstall
    #[arg(long)]
    gone: bool,
}

impl StatusArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where nothing can be written to standard output.
    pub fn run(&self) -> Result<Exit> {
        let state = State::gather(&self.pins.pins(), &self.cni);
        self.output.print(&state, || text(&state, Paint::auto()))?;
        Ok(match (self.gone, state.absent()) {
            (false, _) => state.exit(),
            (true, true) => Exit::Done,
            (true, false) => Exit::Degraded,
        })
    }
}

fn text(state: &State, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(figures) = &state.figures {
        let _ = writeln!(text, "{}\n", paint.head(&figures.sentence()));
    }
    text.push_str(&ui::facts(&facts(state, paint)));
    if let Some(figures) = &state.figures {
        text.push('\n');
        text.push_str(&hops(figures).render(paint, 0));
        text.push('\n');
        text.push_str(&by_tcp(figures, paint));
    }
    for problem in &state.problems {
        let _ = writeln!(text, "\n{} {problem}", paint.bad("problem:"));
    }
    text
}

fn facts(state: &State, paint: Paint) -> Vec<(&'static str, String)> {
    let host = &state.host;
    let mut lines = vec![
        (
            "Version",
            format!(
                "{} (commit {}), kernel {}",
                host.version, host.commit, host.kernel
            ),
        ),
        ("Datapath", datapath(state, paint)),
    ];
    for limit in state.datapath.iter().flat_map(|p| &p.limits) {
        lines.push(("Limited", paint.warn(limit)));
    }
    if !state.other_layouts.is_empty() {
        let other = state.other_layouts.join(", ");
        lines.push(("Also there", format!("pins of other versions: {other}")));
    }
    for conflist in &state.conflists {
        lines.push(("Conflist", conflist.line()));
    }
    let plugin = state.plugin.path.display();
    let there = if state.plugin.present {
        ""
    } else {
        " (not there)"
    };
    lines.push(("Plugin", format!("{plugin}{there}")));
    if state.off {
        lines.push((
            "Switched",
            paint.bad("off: everything goes by TCP (`sockway on`)"),
        ));
    }
    if state.datapath.is_some() {
        lines.push(("Pods", format!("{} registered", state.pods)));
        if !state.tripped.is_empty() {
            let line = format!(
                "{}: bytes stood still there, so they go by TCP (`sockway on --pod`)",
                state.tripped.join(", ")
            );
            lines.push(("Tripped", paint.bad(&line)));
        }
        lines.push((
            "Connections",
            format!("{} accelerated now", state.connections),
        ));
    }
    lines
}

fn datapath(state: &State, paint: Paint) -> String {
    let pins = &state.host.bpffs;
    match &state.datapath {
        None => paint.bad("not installed"),
        Some(p) if !p.attached => format!("{}, pins in {pins}", paint.bad("not attached")),
        Some(p) => {
            let id = p
                .program_id
                .map_or_else(String::new, |id| format!(", program {id}"));
            let at = cgroup(state, p.cgroup_id);
            format!("{}{at}{id}, pins in {pins}", paint.good("attached"))
        }
    }
}

/// Where the programs are attached: by path where it is the hierarchy's root.
fn cgroup(state: &State, id: Option<u64>) -> String {
    let Some(id) = id else { return String::new() };
    let root = &state.host.cgroup2;
    match std::fs::metadata(root) {
        Ok(meta) if meta.ino() == id => format!(" to {root}"),
        _ => format!(" to cgroup {id}"),
    }
}

fn hops(figures: &Figures) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("HOP", Left),
        ("SEEN", Right),
        ("ON NODE", Right),
        ("FOUND", Right),
        ("JOINED", Right),
        ("LATE", Right),
        ("REDIRECTED", Right),
        ("REQUESTS", Right),
        ("RESPONSES", Right),
    ]);
    for hop in figures.hops.iter().chain([&figures.total]) {
        let HopFigures {
            hop,
            seen,
            on_node,
            joined,
            ends_joined,
            ends_joined_late,
            redirected_messages: _,
            redirected_bytes,
            requests,
            responses,
        } = *hop;
        table.row([
            hop.to_owned(),
            ui::count(seen),
            ui::count(on_node),
            ui::count(joined),
            ui::count(ends_joined),
            ui::count(ends_joined_late),
            ui::bytes(redirected_bytes),
            ui::share(requests.redirected, requests.bytes()),
            ui::share(responses.redirected, responses.bytes()),
        ]);
    }
    table
}

fn by_tcp(figures: &Figures, paint: Paint) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("BY TCP", Left),
        ("CONNECTIONS", Right),
        ("MESSAGES", Right),
        ("BYTES", Right),
        ("WHY", Left),
    ]);
    let mut any = false;
    for reason in figures
        .tcp
        .iter()
        .filter(|r| r.connections + r.messages + r.bytes > 0)
    {
        any = true;
        table.row([
            reason.reason.to_owned(),
            ui::count(reason.connections),
            ui::count(reason.messages),
            ui::bytes(reason.bytes),
            reason.help.to_owned(),
        ]);
    }
    if any {
        table.render(paint, 0)
    } else {
        "Nothing of a joined connection went by TCP.\n".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::cni::CniArgs;
    use crate::exit::Exit;
    use crate::ui::Paint;
    use crate::view::state::State;
    use sockway_datapath::Pins;

    #[test]
    fn a_node_without_sockway() {
        let dir = tempfile::tempdir().unwrap();
        let conflist = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"portmap"}]}"#;
        std::fs::write(dir.path().join("10-terway.conflist"), conflist).unwrap();
        let cni = CniArgs::under(dir.path());
        let state = State::gather(&Pins::new(dir.path().join("bpf")), &cni);
        assert_eq!(state.exit(), Exit::NotInstalled);
        let text = text(&state, Paint::plain());
        assert!(text.contains("not installed"), "{text}");
        assert!(text.contains("terway > portmap (no sockway-cni)"), "{text}");
    }
}
