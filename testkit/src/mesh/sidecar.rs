//! A pod's Envoy, configured as Istio does it.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::identity::Identity;
use super::tls;
use super::typed::typed;

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

/// Where Envoy connects to its own application from, IPv4 (0) or IPv6 (1).
pub fn source(family: usize) -> IpAddr {
    if family == 0 {
        IpAddr::from([127, 0, 0, 6])
    } else {
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6])
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

impl Protocol {
    /// What [`crate::load`] calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
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
    /// The pod's name, where its Envoy takes mutual TLS at this port and nothing else.
    pub secure: Option<String>,
    /// Where the Envoys meet in place of TCP: the yardstick of what the hop between them costs.
    pub pipe: Option<Pipe>,
}

/// An `AF_UNIX` socket between two Envoys.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// Its path, where uid 1337 may make it.
    pub path: String,
    /// Port of the application behind it.
    pub port: u16,
}

/// Whose Envoy it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The pod's addresses: IPv4, IPv6.
    pub ips: [IpAddr; 2],
    /// What it shows to others, and whom it trusts.
    pub identity: &'a Identity,
}

/// Envoy's whole configuration: `services` it can call, or has behind itself.
pub fn config(owner: Owner<'_>, services: &[Service]) -> Value {
    let mut clusters = Vec::new();
    let mut outbound = Vec::new();
    for service in services {
        for (family, backend) in service.backend.iter().enumerate() {
            let name = format!("outbound_{}_{}", service.port, FAMILIES[family]);
            let mut more = match &service.pipe {
                None => endpoint(&name, *backend, service.port),
                Some(pipe) => endpoint_at(&name, &json!({ "pipe": { "path": pipe.path } })),
            };
            if let Some(workload) = &service.secure {
                more["transport_socket"] = tls::upstream(owner.identity, workload);
            }
            clusters.push(cluster(&name, &more));
            let (prefix, length) = VIPS[family];
            let matches = json!({ "destination_port": service.port, "prefix_ranges": [range(prefix, length)] });
            outbound.push(chain(Some(&matches), &filter(service.protocol, &name)));
        }
    }
    let original = json!({ "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED" });
    clusters.push(cluster("passthrough", &original));
    let own = || services.iter().filter(|s| s.backend == owner.ips);
    let http = own().filter(|s| s.protocol == Protocol::Http);
    let http: Vec<u16> = http.map(|s| s.port).collect();
    let secure = own().filter(|s| s.secure.is_some() && s.pipe.is_none());
    let secure: Vec<u16> = secure.map(|s| s.port).collect();
    let mut inbound = Vec::new();
    for (family, source) in SOURCES.iter().enumerate() {
        let name = format!("inbound_{}", FAMILIES[family]);
        let mut bound = original.clone();
        bound["upstream_bind_config"] = json!({ "source_address": address(source, 0) });
        clusters.push(cluster(&name, &bound));
        let ranges = json!([range(ANY[family], 0)]);
        for port in http.iter().filter(|port| !secure.contains(port)) {
            let matches = json!({ "destination_port": port, "prefix_ranges": ranges });
            inbound.push(chain(Some(&matches), &filter(Protocol::Http, &name)));
        }
        for port in &secure {
            let protocol = if http.contains(port) {
                Protocol::Http
            } else {
                Protocol::Tcp
            };
            let matches = json!({
                "destination_port": port,
                "prefix_ranges": ranges,
                "transport_protocol": "tls",
            });
            let mut chain = chain(Some(&matches), &filter(protocol, &name));
            chain["transport_socket"] = tls::downstream(owner.identity);
            inbound.push(chain);
        }
        inbound.push(chain(
            Some(&json!({ "prefix_ranges": ranges })),
            &filter(Protocol::Tcp, &name),
        ));
    }
    let mut incoming = listener("virtualInbound", INBOUND, &inbound, None);
    if let (false, Some(filters)) = (
        secure.is_empty(),
        incoming["listener_filters"].as_array_mut(),
    ) {
        filters.push(tls::inspector(&secure));
    }
    let passthrough = chain(None, &filter(Protocol::Tcp, "passthrough"));
    let mut listeners = vec![
        listener("virtualOutbound", OUTBOUND, &outbound, Some(passthrough)),
        incoming,
    ];
    for service in own() {
        if let Some(pipe) = &service.pipe {
            let name = format!("pipe_{}", service.port);
            let mut behind = endpoint(&name, owner.ips[0], pipe.port);
            behind["upstream_bind_config"] = json!({ "source_address": address(SOURCES[0], 0) });
            clusters.push(cluster(&name, &behind));
            let mut chain = chain(None, &filter(service.protocol, &name));
            if service.secure.is_some() {
                chain["transport_socket"] = tls::downstream(owner.identity);
            }
            listeners.push(json!({
                "name": name,
                "address": { "pipe": { "path": pipe.path } },
                "filter_chains": [chain],
            }));
        }
    }
    json!({ "static_resources": { "listeners": listeners, "clusters": clusters } })
}

/// Writes a configuration where uid 1337 can read it.
pub fn write(path: &std::path::Path, config: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(config)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
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
    endpoint_at(name, &address)
}

fn endpoint_at(name: &str, address: &Value) -> Value {
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
