//! Istio, as its own installer puts it there.

use std::time::Duration;

use anyhow::Result;

use crate::kubectl::Kubectl;

/// Installs control plane and CNI agent and waits for both.
pub(crate) fn install(kubectl: &Kubectl) -> Result<()> {
    let values = kubectl
        .space
        .place()
        .write("kube/istio.yaml", include_str!("../manifests/istio.yaml"))?;
    kubectl
        .space
        .run(kubectl.parts.istio("istioctl"))
        .args([
            "install",
            "--skip-confirmation",
            "--readiness-timeout",
            "3m",
            "--filename",
        ])
        .arg(values)
        .limit(Duration::from_mins(4))
        .done()
}
