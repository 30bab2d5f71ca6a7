//! Mutual TLS between sidecars, as Istio's mode STRICT configures Envoy.

use serde_json::{Value, json};

use super::identity::{Identity, TRUST_DOMAIN, spiffe};
use super::typed::typed;

/// Of a cluster: shows this workload's certificate, takes nobody but `workload`.
pub(super) fn upstream(own: &Identity, workload: &str) -> Value {
    let only = json!({ "exact": spiffe(workload) });
    let context = json!({ "common_tls_context": common(own, &only), "sni": workload });
    socket("UpstreamTlsContext", context)
}

/// Of a filter chain: whoever shows no certificate of the trust domain is refused.
pub(super) fn downstream(own: &Identity) -> Value {
    let anybody = json!({ "prefix": TRUST_DOMAIN });
    let context = json!({
        "common_tls_context": common(own, &anybody),
        "require_client_certificate": true,
    });
    socket("DownstreamTlsContext", context)
}

/// The listener filter by which chains tell TLS from anything else: it peeks at
/// the first bytes. Left out at the ports of others, whose servers may speak first.
pub(super) fn inspector(ports: &[u16]) -> Value {
    let kind = "extensions.filters.listener.tls_inspector.v3.TlsInspector";
    let mut rules: Vec<Value> = ports.iter().map(|port| rule(*port)).collect();
    let inspected = if rules.len() == 1 {
        rules.remove(0)
    } else {
        json!({ "or_match": { "rules": rules } })
    };
    json!({
        "name": "tls_inspector",
        "typed_config": typed(kind, json!({})),
        "filter_disabled": { "not_match": inspected },
    })
}

fn rule(port: u16) -> Value {
    json!({ "destination_port_range": { "start": port, "end": u32::from(port) + 1 } })
}

fn common(own: &Identity, name: &Value) -> Value {
    let inline = |pem: &str| json!({ "inline_string": pem });
    json!({
        "tls_certificates": [{
            "certificate_chain": inline(&own.chain),
            "private_key": inline(&own.key),
        }],
        "validation_context": {
            "trusted_ca": inline(&own.trusted),
            "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": name }],
        },
    })
}

fn socket(context: &str, config: Value) -> Value {
    let kind = format!("extensions.transport_sockets.tls.v3.{context}");
    json!({ "name": "tls", "typed_config": typed(&kind, config) })
}
