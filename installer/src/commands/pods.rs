//! `sockway pods`.

use std::time::SystemTime;

use anyhow::Result;
use clap::Args;

use crate::exit::Exit;
use crate::options::{OutputArgs, PinArgs};
use crate::ui::{self, Align, Paint, Table};
use crate::view::pods::{self, PodState};

/// List the pods registered on this node
#[derive(Args, Debug)]
#[command(after_help = "\
CONNECTIONS are those of the pod whose ends were joined, REDIRECTED and BY TCP the bytes on them. WHY a
pod takes no part: left out by --percent, --only-namespace or --exclude-namespace, switched off, or
tripped (see `sockway run`, --tripwire).

Examples:
  sockway pods
  sockway pods -o json | jq '.[] | select(.scope == \"off\") | {name, why}'")]
pub struct PodsArgs {
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl PodsArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// Where the maps cannot be read.
    pub fn run(&self) -> Result<Exit> {
        let Some(pins) = self.pins.installed() else {
            return Ok(Exit::NotInstalled);
        };
        let pods = pods::gather(&pins)?;
        self.output.print(&pods, || {
            if pods.is_empty() {
                "No pod is registered.\n".to_owned()
            } else {
                table(&pods, SystemTime::now()).render(Paint::auto(), 0)
            }
        })?;
        Ok(Exit::Done)
    }
}

fn table(pods: &[PodState], now: SystemTime) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("POD", Left),
        ("IPS", Left),
        ("SCOPE", Left),
        ("PORTS", Left),
        ("SINCE", Right),
        ("CONTAINER", Left),
        ("CONNECTIONS", Right),
        ("REDIRECTED", Right),
        ("BY TCP", Right),
        ("WHY", Left),
    ]);
    for pod in pods {
        let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
        table.row([
            pod.title(),
            ips.join(","),
            pod.scope.to_owned(),
            format!("{}/{}", pod.outbound_port, pod.inbound_port),
            ui::age(pod.since(), now),
            pod.short_id().to_owned(),
            ui::count(pod.connections),
            ui::bytes(pod.redirected_bytes),
            ui::bytes(pod.tcp_bytes),
            pod.why.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::ui::Paint;
    use crate::view::pods::PodState;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_row_for_each_pod() {
        let pod = PodState {
            ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            scope: "off",
            why: "left out: percent 10".to_owned(),
            since_unix_s: 100,
            connections: 12,
            redirected_bytes: 2048,
            ..PodState::sample()
        };
        let unnamed = PodState {
            name: String::new(),
            ..pod.clone()
        };
        let now = UNIX_EPOCH + Duration::from_secs(160);
        let text = table(&[pod, unnamed], now).render(Paint::plain(), 0);
        let line = text.lines().nth(1).unwrap();
        for part in [
            "shop/cart-0",
            "10.0.0.1,fd00::1",
            "off",
            "left out: percent 10",
            "15001/15006",
            "1m0s",
            "0123456789ab",
            "2.0 KiB",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert!(text.lines().nth(2).unwrap().starts_with("(0123456789ab)"));
    }
}
