//! Istio's REDIRECT rules of a sidecar, as its CNI plugin sets them.

use anyhow::Result;

use super::sidecar::{INBOUND, OUTBOUND, USER};
use crate::command::Run;
use crate::place::Place;

/// Ports of Istio's agent and Envoy's own, never redirected on their way in.
const NOT_INBOUND: [u16; 4] = [15008, 15020, 15021, 15090];

/// Sets the rules in both families, and `::6` on `lo`.
pub(super) fn set(place: &Place) -> Result<()> {
    Run::new("ip")
        .args(["-6", "address", "add", "::6/128", "dev", "lo"])
        .at(place)?
        .done()?;
    for (command, source, loopback) in [
        ("iptables", "127.0.0.6/32", "127.0.0.1/32"),
        ("ip6tables", "::6/128", "::1/128"),
    ] {
        for rule in rules(source, loopback) {
            Run::new(command)
                .args(["-w", "-t", "nat"])
                .args(rule.split(' '))
                .at(place)?
                .done()?;
        }
    }
    Ok(())
}

fn rules(source: &str, loopback: &str) -> Vec<String> {
    let mut rules: Vec<String> = [
        "ISTIO_INBOUND",
        "ISTIO_IN_REDIRECT",
        "ISTIO_OUTPUT",
        "ISTIO_REDIRECT",
    ]
    .iter()
    .map(|chain| format!("-N {chain}"))
    .collect();
    let mut add = |rule: &str| rules.push(format!("-A {rule}"));
    add(&format!(
        "ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {OUTBOUND}"
    ));
    add(&format!(
        "ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {INBOUND}"
    ));
    add("PREROUTING -p tcp -j ISTIO_INBOUND");
    for port in NOT_INBOUND {
        add(&format!("ISTIO_INBOUND -p tcp --dport {port} -j RETURN"));
    }
    add("ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT");
    add("OUTPUT -j ISTIO_OUTPUT");
    add("ISTIO_OUTPUT -p tcp --dport 15020 -j RETURN");
    add("ISTIO_OUTPUT -p udp --dport 15020 -j RETURN");
    add(&format!("ISTIO_OUTPUT -o lo -s {source} -j RETURN"));
    for owner in ["uid", "gid"] {
        add(&format!(
            "ISTIO_OUTPUT -o lo ! -d {loopback} -p tcp ! --dport 15008 -m owner --{owner}-owner {USER} -j ISTIO_IN_REDIRECT"
        ));
        add(&format!(
            "ISTIO_OUTPUT -o lo -m owner ! --{owner}-owner {USER} -j RETURN"
        ));
        add(&format!(
            "ISTIO_OUTPUT -m owner --{owner}-owner {USER} -j RETURN"
        ));
    }
    add(&format!("ISTIO_OUTPUT -d {loopback} -j RETURN"));
    add("ISTIO_OUTPUT -j ISTIO_REDIRECT");
    rules
}
