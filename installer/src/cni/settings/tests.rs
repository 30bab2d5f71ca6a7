use super::{Settings, log_file, log_level, namespace, scope_word};
use serde_json::{Value, json};
use std::path::Path;

fn entry(settings: &Settings, present: Option<&Value>) -> Value {
    settings
        .entry(Path::new("/sys/fs/bpf/sockway"), present)
        .unwrap()
}

#[test]
fn defaults_are_left_out() {
    let plain = json!({
        "type": "sockway-cni",
        "capabilities": { "io.kubernetes.cri.pod-annotations": true },
    });
    assert_eq!(entry(&Settings::default(), None), plain);
    let defaults = Settings {
        scope: Some("auto".to_owned()),
        envoy_outbound_port: Some(15001),
        envoy_inbound_port: Some(15006),
        exclude_namespaces: Some(vec![String::new()]),
        only_namespaces: Some(vec![String::new()]),
        percent: Some(100),
        log_level: Some("info".to_owned()),
        log_file: Some("/var/log/sockway-cni.log".to_owned()),
        strict: Some(false),
    };
    assert_eq!(entry(&defaults, None), plain);
}

#[test]
fn what_is_given_is_set() {
    let given = Settings {
        scope: Some("proxy".to_owned()),
        envoy_outbound_port: Some(1),
        exclude_namespaces: Some(vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]),
        only_namespaces: Some(vec!["shop".to_owned()]),
        percent: Some(10),
        log_file: Some(String::new()),
        strict: Some(true),
        ..Settings::default()
    };
    assert_eq!(
        given.entry(Path::new("/tmp/bpf"), None).unwrap(),
        json!({
            "type": "sockway-cni",
            "capabilities": { "io.kubernetes.cri.pod-annotations": true },
            "envoyPorts": { "outbound": 1 },
            "scope": "proxy",
            "excludeNamespaces": ["a", "b"],
            "onlyNamespaces": ["shop"],
            "percent": 10,
            "logFile": "",
            "bpffs": "/tmp/bpf",
            "strict": true,
        })
    );
}

#[test]
fn what_is_not_given_stays_and_defaults_take_keys_out() {
    let present = json!({
        "type": "sockway-cni",
        "scope": "off",
        "logLevel": "debug",
        "envoyPorts": { "outbound": 9, "inbound": 8 },
        "capabilities": { "bandwidth": true },
    });
    let given = Settings {
        scope: Some("auto".to_owned()),
        envoy_outbound_port: Some(15001),
        ..Settings::default()
    };
    assert_eq!(
        entry(&given, Some(&present)),
        json!({
            "type": "sockway-cni",
            "logLevel": "debug",
            "envoyPorts": { "inbound": 8 },
            "capabilities": { "bandwidth": true, "io.kubernetes.cri.pod-annotations": true },
        })
    );
    let untouched = entry(&Settings::default(), Some(&present));
    assert_eq!(untouched["envoyPorts"], present["envoyPorts"]);
    assert_eq!(untouched["scope"], "off");
}

#[test]
fn bad_values_are_refused_by_name() {
    for bad in ["Kube", "-a", "a-", "a.b", "a b"] {
        assert!(namespace(bad).unwrap_err().contains("namespace"), "{bad}");
    }
    namespace("kube-system").unwrap();
    assert!(scope_word("some").unwrap_err().contains("proxy"));
    assert!(log_level("loud").unwrap_err().contains("debug"));
    assert!(log_file("relative").unwrap_err().contains("absolute"));
    let present = json!({ "type": "sockway-cni", "scoope": "all" });
    let root = Path::new("/sys/fs/bpf/sockway");
    let error = Settings::default().entry(root, Some(&present)).unwrap_err();
    assert!(error.contains("scoope"), "{error}");
    let ports = Settings {
        envoy_outbound_port: Some(15006),
        ..Settings::default()
    };
    assert!(
        ports
            .entry(root, None)
            .unwrap_err()
            .contains("two different ports")
    );
    let error = Settings::default()
        .entry(Path::new("relative"), None)
        .unwrap_err();
    assert!(error.contains("bpffs"), "{error}");
}
