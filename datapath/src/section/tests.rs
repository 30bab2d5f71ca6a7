use serde_json::{Value, json};
use sockway_common::scope;

use super::{DEFAULT_LOG_FILE, EnvoyPorts, OWN_KEYS, Section};

fn problems(section: &Value) -> Vec<String> {
    match Section::parse(section) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_section_is_the_default() {
    let section = Section::parse(&json!({})).unwrap();
    assert_eq!(section, Section::default());
    assert_eq!(
        section.envoy_ports,
        EnvoyPorts {
            outbound: 15001,
            inbound: 15006
        }
    );
    assert_eq!(section.scope, scope::AUTO);
    assert_eq!(section.log_file, DEFAULT_LOG_FILE);
    assert!(!section.strict);
}

#[test]
fn every_key_is_read() {
    let section = Section::parse(&json!({
        "type": "sockway-cni",
        "cniVersion": "1.0.0",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "cni.dev/valid-attachments": [],
        "envoyPorts": {"outbound": 1, "inbound": 65535},
        "scope": "proxy",
        "excludeNamespaces": ["kube-system", "a"],
        "onlyNamespaces": ["shop"],
        "percent": 10,
        "logLevel": "debug",
        "logFile": "/tmp/x.log",
        "bpffs": "/sys/fs/bpf/other",
        "strict": true
    }))
    .unwrap();
    let expected = Section {
        envoy_ports: EnvoyPorts {
            outbound: 1,
            inbound: 65535,
        },
        scope: scope::PROXY,
        exclude_namespaces: vec!["kube-system".into(), "a".into()],
        only_namespaces: vec!["shop".into()],
        percent: 10,
        log_level: log::LevelFilter::Debug,
        log_file: "/tmp/x.log".into(),
        bpffs: "/sys/fs/bpf/other".into(),
        strict: true,
    };
    assert_eq!(section, expected);
}

#[test]
fn what_is_written_is_read_again() {
    let written = serde_json::to_value(Section::default()).unwrap();
    assert_eq!(Section::parse(&written).unwrap(), Section::default());
    let keys: Vec<_> = written
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys.len(), OWN_KEYS.len());
    assert!(keys.iter().all(|key| OWN_KEYS.contains(key)), "{keys:?}");
}

#[test]
fn wrong_values_are_named() {
    let table = [
        (
            json!([]),
            "section: [] is not allowed; allowed: a JSON object",
        ),
        (
            json!({"scoop": 1}),
            "unknown key \"scoop\" (value 1); known keys: envoyPorts, scope,",
        ),
        (
            json!({"scope": "offf"}),
            "scope: \"offf\" is not allowed; allowed: auto, all, proxy, off",
        ),
        (json!({"scope": 3}), "scope: 3 is not allowed"),
        (
            json!({"envoyPorts": 15001}),
            "envoyPorts: 15001 is not allowed",
        ),
        (
            json!({"envoyPorts": {"inbound": 0}}),
            "envoyPorts.inbound: 0 is not allowed; allowed: a port",
        ),
        (
            json!({"envoyPorts": {"outbound": 65536}}),
            "envoyPorts.outbound: 65536 is not allowed",
        ),
        (
            json!({"envoyPorts": {"outbound": "15001"}}),
            "envoyPorts.outbound: \"15001\" is not",
        ),
        (
            json!({"envoyPorts": {"outbound": 15006}}),
            "envoyPorts: {\"outbound\":15006} is not",
        ),
        (
            json!({"envoyPorts": {"admin": 1}}),
            "unknown key \"envoyPorts.admin\"",
        ),
        (
            json!({"excludeNamespaces": "kube-system"}),
            "excludeNamespaces: \"kube-system\" is not",
        ),
        (
            json!({"excludeNamespaces": ["ok", "Not_Ok"]}),
            "excludeNamespaces: \"Not_Ok\" is not",
        ),
        (
            json!({"excludeNamespaces": [""]}),
            "excludeNamespaces: \"\" is not",
        ),
        (
            json!({"onlyNamespaces": ["Shop"]}),
            "onlyNamespaces: \"Shop\" is not",
        ),
        (
            json!({"percent": 101}),
            "percent: 101 is not allowed; allowed: a whole number from 0 to 100",
        ),
        (json!({"percent": "10"}), "percent: \"10\" is not"),
        (json!({"percent": 0.5}), "percent: 0.5 is not"),
        (
            json!({"logLevel": "INFO"}),
            "logLevel: \"INFO\" is not allowed; allowed: off, error,",
        ),
        (
            json!({"logFile": "cni.log"}),
            "logFile: \"cni.log\" is not allowed",
        ),
        (
            json!({"logFile": "/a/\n"}),
            "logFile: \"/a/\\n\" is not allowed",
        ),
        (json!({"bpffs": ""}), "bpffs: \"\" is not allowed"),
        (
            json!({"bpffs": "/sys/../x"}),
            "bpffs: \"/sys/../x\" is not allowed",
        ),
        (
            json!({"strict": "yes"}),
            "strict: \"yes\" is not allowed; allowed: true, false",
        ),
    ];
    for (section, expected) in table {
        let found = problems(&section);
        assert_eq!(found.len(), 1, "{section}: {found:?}");
        assert!(found[0].starts_with(expected), "{section}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_and_the_rest_is_kept() {
    let value = json!({"scope": 1, "logLevel": 2, "strict": true, "x": "y".repeat(1000)});
    let (section, problems) = Section::parse_lenient(&value);
    assert_eq!(problems.len(), 3);
    assert!(section.strict);
    assert_eq!(section.scope, scope::AUTO);
    assert!(
        problems.iter().all(|p| p.value.len() < 100),
        "long values are cut"
    );
}

#[test]
fn a_control_character_in_a_key_is_escaped() {
    let found = problems(&json!({"a\nb": 1}));
    assert!(!found[0].contains('\n'), "{found:?}");
}
