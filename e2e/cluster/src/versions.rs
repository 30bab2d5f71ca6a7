//! Which versions took part.

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::options::Options;
use crate::run::Run;

/// A line for each part.
pub(crate) fn lines(kubectl: &Kubectl, options: &Options) -> Result<Vec<String>> {
    let parts = &kubectl.parts;
    let first = |run: Run| -> Result<String> {
        let text = run.output()?;
        Ok(text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim()
            .to_owned())
    };
    let terway = match &options.terway {
        Some(path) => format!("terway {}", first(Run::new("sha256sum").arg(path))?),
        None => "terway: the stand-in".to_owned(),
    };
    let istio = parts.pinned("istio", "istio.io/istio")?;
    Ok(vec![
        format!("kernel {}", first(Run::new("uname").arg("-r"))?),
        format!(
            "kubelet {}",
            first(
                kubectl
                    .space
                    .run(parts.kubernetes("kubelet"))
                    .arg("--version")
            )?
        ),
        format!(
            "etcd {}",
            parts.pinned("kubernetes", "go.etcd.io/etcd/server/v3")?
        ),
        format!(
            "CoreDNS {}",
            parts.pinned("kubernetes", "github.com/coredns/coredns")?
        ),
        first(Run::new("containerd").arg("--version"))?,
        first(Run::new("runc").arg("--version"))?,
        format!("istiod and Istio CNI {istio}"),
        format!(
            "Envoy {}",
            first(kubectl.space.run(&parts.envoy).arg("--version"))?
        ),
        format!(
            "fortio {}",
            first(
                Run::of(
                    std::process::Command::new(&parts.fortio),
                    "fortio".to_owned()
                )
                .arg("version")
            )?
        ),
        format!(
            "helm {}",
            first(
                Run::of(std::process::Command::new(&parts.helm), "helm".to_owned())
                    .args(["version", "--short"])
            )?
        ),
        first(
            Run::of(
                std::process::Command::new(parts.ours("sockway")),
                "sockway".to_owned(),
            )
            .arg("--version"),
        )?,
        terway,
    ])
}
