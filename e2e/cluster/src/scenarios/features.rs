//! Behind what Istio can do: the same requests with Sockway and on plain beside it.

mod endings;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::Stage;
use crate::kubectl::Kubectl;
use crate::templates::fill;
use crate::{app, fortio, product};

/// With Sockway, and with scope `off`.
const BOTH: [(&str, &str); 2] = [("features", "auto"), ("featuresplain", "off")];

/// Somebody asks somebody.
struct Feature {
    what: &'static str,
    client: &'static str,
    /// Whose interfaces are counted.
    pods: &'static [&'static str],
    arguments: &'static str,
    /// Least share of bytes off the interfaces: all but some, less what is no hop between an
    /// application and an Envoy or two sidecars (to a gateway's own port, to an excluded port,
    /// from 127.0.0.1 to 127.0.0.1).
    least: f64,
}

const FEATURES: [Feature; 10] = [
    Feature {
        what: "HTTP, probes rewritten, held until the proxy starts",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "fortioserver"],
        arguments: "-c 8 http://fortioserver:8080/echo",
        least: 0.9,
    },
    Feature {
        what: "gRPC, one connection",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "fortioserver"],
        arguments: "-c 1 -grpc -ping fortioserver:8079",
        least: 0.9,
    },
    Feature {
        what: "HTTP/2, one connection",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "fortioserver"],
        arguments: "-c 1 -h2 http://fortioserver:8082/echo",
        least: 0.9,
    },
    Feature {
        what: "headless Service, StatefulSet",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "web"],
        arguments: "-c 8 tcp://web-0.web:8078",
        least: 0.9,
    },
    Feature {
        what: "native sidecar",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "native"],
        arguments: "-c 8 tcp://native:8078",
        least: 0.9,
    },
    Feature {
        what: "Sidecar with a default endpoint of 127.0.0.1",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "loopback"],
        arguments: "-c 8 tcp://loopback:8078",
        least: 0.7,
    },
    Feature {
        what: "excluded port",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "excluded"],
        arguments: "-c 8 tcp://excluded:8078",
        least: 0.3,
    },
    Feature {
        what: "PERMISSIVE, client outside of the mesh",
        client: "deployment/outsider",
        pods: &["outsider", "fortioserver"],
        arguments: "-c 8 tcp://fortioserver:8078",
        least: 0.9,
    },
    Feature {
        what: "gateway, client outside of the mesh",
        client: "deployment/outsider",
        pods: &["outsider", "gateway", "fortioserver"],
        arguments: "-c 8 http://gateway:8080/echo",
        least: 0.3,
    },
    Feature {
        what: "gateway, client in the mesh",
        client: "deployment/fortioclient",
        pods: &["fortioclient", "gateway", "fortioserver"],
        arguments: "-c 8 http://gateway:8080/echo",
        least: 0.4,
    },
];

pub(super) fn run(stage: &mut Stage) -> Result<()> {
    let kubectl = stage.kubectl;
    product::install(kubectl, "")?;
    for (namespace, scope) in BOTH {
        deploy(kubectl, namespace, scope)?;
    }
    for feature in &FEATURES {
        stage.part(feature.what, |stage| compare(stage, feature));
    }
    stage.part("WebSocket", endings::websocket);
    stage.part("connection draining at a pod's end", endings::draining);
    for (namespace, _) in BOTH {
        app::remove(kubectl, namespace)?;
    }
    Ok(())
}

fn deploy(kubectl: &Kubectl, namespace: &str, scope: &str) -> Result<()> {
    let server = r#"server, -http-port, "8080", -tcp-port, "8078", -grpc-port, "8079", -udp-port, disabled, -redirect-port, disabled"#;
    let container = |arguments: &str, probe: &str| {
        format!(
            "{{ name: captured, image: sockway.local/fortio:cluster, imagePullPolicy: Never, args: [{arguments}]{probe} }}"
        )
    };
    let client = r#"server, -http-port, "8088", -tcp-port, disabled, -grpc-port, disabled, -udp-port, disabled, -redirect-port, disabled"#;
    let values = BTreeMap::from([
        ("NAMESPACE", namespace.to_owned()),
        ("SCOPE", scope.to_owned()),
        ("SERVER", server.to_owned()),
        (
            "PLAINSERVER",
            container(
                server,
                ", readinessProbe: { tcpSocket: { port: 8078 }, periodSeconds: 1 }",
            ),
        ),
        ("CLIENT", container(client, "")),
    ]);
    kubectl.apply(&fill(
        include_str!("../../manifests/features.yaml"),
        &values,
    ))?;
    app::ready(kubectl, namespace)?;
    kubectl.rolled_out(
        namespace,
        "statefulset/web",
        std::time::Duration::from_mins(1),
    )
}

fn compare(stage: &mut Stage, feature: &Feature) -> Result<()> {
    let kubectl = stage.kubectl;
    let ask = |namespace: &str, seconds: u32| {
        let arguments = format!(
            "-qps 0 -t {seconds}s -payload-size 1024 {}",
            feature.arguments
        );
        fortio::load_from(kubectl, namespace, feature.client, feature.pods, &arguments)
    };
    let mut figures = Vec::new();
    for (namespace, _) in BOTH {
        // The application becomes known.
        ask(namespace, 1)?;
        figures.push(ask(namespace, 3)?);
    }
    let (with, plain) = (figures[0], figures[1]);
    let share = 1.0 - with.bytes / plain.bytes;
    stage.note(format!(
        "{}: {:.1} % off the interfaces, {:.0} requests/s, plain {:.0}, no error in either",
        feature.what,
        share * 100.0,
        with.qps,
        plain.qps
    ));
    ensure!(
        share >= feature.least,
        "{}: only {:.1} %",
        feature.what,
        share * 100.0
    );
    Ok(())
}
