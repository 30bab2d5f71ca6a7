//! What a pod's interfaces counted: the witness that is not ours.

use anyhow::{Context as _, Result};

use crate::kubectl::Kubectl;

/// Bytes that the interfaces of the pods received and sent; on `lo` each byte is counted once.
pub(crate) fn bytes(kubectl: &Kubectl, namespace: &str, app: &str) -> Result<u64> {
    let pods = kubectl.json(&format!("-n {namespace} get pods -l app={app}"))?;
    let mut sum = 0;
    for pod in pods["items"].as_array().into_iter().flatten() {
        if pod["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let address = pod["status"]["podIP"]
            .as_str()
            .context("a pod without an address")?;
        let netns = netns(kubectl, address)?;
        let text = kubectl
            .space
            .run("nsenter")
            .arg(format!("--net={netns}"))
            .args(["cat", "/proc/self/net/dev"])
            .output()?;
        sum += count(&text);
    }
    Ok(sum)
}

/// The network namespace with that address.
pub(crate) fn netns(kubectl: &Kubectl, address: &str) -> Result<String> {
    let script = format!(
        "for n in /run/netns/*; do if nsenter --net=$n ip -o addr 2>/dev/null | grep -q ' {address}/'; then echo $n; fi; done"
    );
    let text = kubectl.space.run("sh").args(["-c", &script]).output()?;
    let line = text.lines().next();
    Ok(line
        .with_context(|| format!("no network namespace has {address}"))?
        .to_owned())
}

fn count(text: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, figures)| {
            let figure = |index| -> u64 {
                let word = figures.split_whitespace().nth(index);
                word.and_then(|word| word.parse().ok()).unwrap_or_default()
            };
            match name.trim() {
                "lo" => figure(0),
                name if name.starts_with("eth") => figure(0) + figure(8),
                _ => 0,
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn lo_counts_once_and_eth_both_ways() {
        let text = "Inter-|   Receive  | Transmit\n face |bytes    packets\n\
            lo:  100 1 0 0 0 0 0 0  100 1 0 0 0 0 0 0\n\
            eth0:  10 1 0 0 0 0 0 0  5 1 0 0 0 0 0 0\n";
        assert_eq!(super::count(text), 115);
    }
}
