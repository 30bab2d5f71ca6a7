//! Applications in the mesh.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::templates::fill;

const SOON: Duration = Duration::from_mins(3);

/// The article's Deployments in a namespace, with that scope (`None`: the default), mutual TLS or not.
pub(crate) fn article(
    kubectl: &Kubectl,
    namespace: &str,
    scope: Option<&str>,
    mtls: bool,
) -> Result<()> {
    let values = BTreeMap::from([
        ("NAMESPACE", namespace.to_owned()),
        ("ANNOTATIONS", annotations(scope)),
        ("MTLS", if mtls { "STRICT" } else { "DISABLE" }.to_owned()),
        (
            "TLS",
            if mtls { "ISTIO_MUTUAL" } else { "DISABLE" }.to_owned(),
        ),
    ]);
    kubectl.apply(&fill(include_str!("../manifests/article.yaml"), &values))?;
    ready(kubectl, namespace)
}

/// Annotations of a pod template for that scope.
pub(crate) fn annotations(scope: Option<&str>) -> String {
    scope.map_or_else(
        || "{}".to_owned(),
        |scope| format!("{{ sockway.io/scope: \"{scope}\" }}"),
    )
}

/// Waits for every Deployment of a namespace, and until the pods of the one before are gone.
pub(crate) fn ready(kubectl: &Kubectl, namespace: &str) -> Result<()> {
    let names = kubectl
        .line(&format!("-n {namespace} get deployments -o name"))
        .output()?;
    for name in names.lines() {
        kubectl.rolled_out(namespace, name, SOON)?;
    }
    crate::run::until("pods to go", SOON, || {
        let pods = kubectl.json(&format!("-n {namespace} get pods"))?;
        let going = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_string())
            .count();
        anyhow::ensure!(going == 0, "{going} are still there");
        Ok(())
    })
}

/// Restarts every Deployment of a namespace.
pub(crate) fn restart(kubectl: &Kubectl, namespace: &str) -> Result<()> {
    kubectl
        .line(&format!("-n {namespace} rollout restart deployment"))
        .done()?;
    ready(kubectl, namespace)
}

/// Deletes a namespace with everything in it.
pub(crate) fn remove(kubectl: &Kubectl, namespace: &str) -> Result<()> {
    kubectl
        .line(&format!(
            "delete namespace {namespace} --wait=true --timeout=110s"
        ))
        .done()
}
