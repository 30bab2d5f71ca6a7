//! A pod's Envoy, configured as Istio does it.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The user and group that Istio's rules let pass.
pub const USER: u32 = 1337;
/// Envoy's outbound port.
pub const OUTBOUND: u16 = 15001;
/// Envoy's inbound port.
pub const INBOUND: u16 = 15006;
/// Service addresses, by family: prefix and prefix length. Nobody owns them.
pub const VIPS: [(&str, u32); 2] = [("10.96.0.0", 16), ("fd00:96::", 64)];
/// Where Envoy connects to its own application from.
const SOURCES: [&str; 2] = ["127.0.0.6", "::6"];
const ANY: [&str; 2] = ["0.0.0.0", "::"];
const FAMILIES: [&str; 2] = ["v4", "v6"];
/// Idle connections to upstreams are closed after it, so that a pool made in
/// one round of a measurement does not serve the next.
const POOL_IDLE: &str = "1s";

/// The service address of that number, IPv4 (0) or IPv6 (1).
pub fn vip(family: usize, number: u8) -> IpAddr {
    if family == 0 {
        IpAddr::from([10, 96, 0, number])
    } else {
        IpAddr::from([0xfd00, 0x96, 0, 0, 0, 0, 0, u16::from(number)])
    }
}

/// What speaks at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Any bytes.
    Tcp,
    /// HTTP/1.1 or HTTP/2.
    Http,
}

/// A port of service addresses and the pod behind it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Port of the service addresses and of the pod.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The pod's addresses: IPv4, IPv6.
    pub backend: [IpAddr; 2],
}

/// Envoy's whole configuration: `services` it can call, `http` ports of its own application.
pub fn config(services: &[Service], http: &[u16]) -> Value {
    let mut clusters = Vec::new();
    let mut outbound = Vec::new();
    for service in services {
        for (family, backend) in service.backend.iter().enumerate() {
            let name = format!("outbound_{}_{}", service.port, FAMILIES[family]);
            clusters.push(cluster(&name, &endpoint(&name, *backend, service.port)));
            let (prefix, length) = VIPS[family];
            let matches = json!({ "destination_port": service.port, "prefix_ranges": [range(prefix, length)] });
            outbound.push(chain(Some(&matches), &filter(service.protocol, &name)));
        }
    }
    let original = json!({ "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED" });
    clusters.push(cluster("passthrough", &original));
    let mut inbound = Vec::new();
    for (family, source) in SOURCES.iter().enumerate() {
        let name = format!("inbound_{}", FAMILIES[family]);
        let mut bound = original.clone();
        bound["upstream_bind_config"] = json!({ "source_address": address(source, 0) });
        clusters.push(cluster(&name, &bound));
        let ranges = json!([range(ANY[family], 0)]);
        for port in http {
            let matches = json!({ "destination_port": port, "prefix_ranges": ranges });
            inbound.push(chain(Some(&matches), &filter(Protocol::Http, &name)));
        }
        inbound.push(chain(
            Some(&json!({ "prefix_ranges": ranges })),
            &filter(Protocol::Tcp, &name),
        ));
    }
    let passthrough = chain(None, &filter(Protocol::Tcp, "passthrough"));
    json!({ "static_resources": {
        "listeners": [
            listener("virtualOutbound", OUTBOUND, &outbound, Some(passthrough)),
            listener("virtualInbound", INBOUND, &inbound, None),
        ],
        "clusters": clusters,
    }})
}

/// Writes a configuration where uid 1337 can read it.
pub fn write(path: &std::path::Path, config: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(config)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn typed(kind: &str, mut value: Value) -> Value {
    value["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    value
}

fn address(ip: &str, port: u16) -> Value {
    json!({ "address": ip, "port_value": port })
}

fn range(prefix: &str, length: u32) -> Value {
    json!({ "address_prefix": prefix, "prefix_len": length })
}

/// Restores the destination from before REDIRECT, which chains and clusters then go by.
///
/// Istio hands connections from here to listeners that are not bound
/// (`use_original_dst`); filter chains of this listener do the same work
/// without a second listener that could catch inbound connections.
fn listener(name: &str, port: u16, chains: &[Value], default: Option<Value>) -> Value {
    let filter = typed(
        "extensions.filters.listener.original_dst.v3.OriginalDst",
        json!({}),
    );
    let mut listener = json!({
        "name": name,
        "address": { "socket_address": address(ANY[0], port) },
        "additional_addresses": [{ "address": { "socket_address": address(ANY[1], port) } }],
        "listener_filters": [{ "name": "original_dst", "typed_config": filter }],
        "filter_chains": chains,
    });
    if let Some(chain) = default {
        listener["default_filter_chain"] = chain;
    }
    listener
}

fn chain(matches: Option<&Value>, filter: &Value) -> Value {
    let mut chain = json!({ "filters": [filter] });
    if let Some(matches) = matches {
        chain["filter_chain_match"] = matches.clone();
    }
    chain
}

fn filter(protocol: Protocol, cluster: &str) -> Value {
    let (name, config) = match protocol {
        Protocol::Tcp => (
            "tcp_proxy",
            typed(
                "extensions.filters.network.tcp_proxy.v3.TcpProxy",
                json!({ "stat_prefix": cluster, "cluster": cluster }),
            ),
        ),
        Protocol::Http => {
            let router = typed("extensions.filters.http.router.v3.Router", json!({}));
            let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } });
            let hosts = json!([{ "name": "all", "domains": ["*"], "routes": [route] }]);
            let config = json!({
                "stat_prefix": cluster,
                "codec_type": "AUTO",
                "upgrade_configs": [{ "upgrade_type": "websocket" }],
                "route_config": { "name": cluster, "virtual_hosts": hosts },
                "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": router }],
            });
            let kind =
                "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
            ("http_connection_manager", typed(kind, config))
        }
    };
    json!({ "name": name, "typed_config": config })
}

fn endpoint(name: &str, ip: IpAddr, port: u16) -> Value {
    let address = json!({ "socket_address": address(&ip.to_string(), port) });
    let endpoints = json!([{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]);
    let load = json!({ "cluster_name": name, "endpoints": endpoints });
    json!({ "type": "STATIC", "load_assignment": load })
}

fn cluster(name: &str, more: &Value) -> Value {
    let options = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        json!({
            "common_http_protocol_options": { "idle_timeout": POOL_IDLE },
            // As the request came, HTTP/1.1 or HTTP/2.
            "use_downstream_protocol_config": {
                "http_protocol_options": {},
                "http2_protocol_options": {},
            },
        }),
    );
    // Envoy's own limits are 1024; Istio lifts them.
    let most = u32::MAX;
    let limits =
        json!({ "max_connections": most, "max_pending_requests": most, "max_requests": most });
    let mut cluster = json!({
        "name": name,
        "connect_timeout": "10s",
        "circuit_breakers": { "thresholds": [limits] },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
    });
    if let (Some(cluster), Some(more)) = (cluster.as_object_mut(), more.as_object()) {
        cluster.extend(more.clone());
    }
    cluster
}
