//! Every verb in every version, on a node without Sockway: no root needed.

use crate::support::call::{Call, NO_BPFFS, conf, result, set, unset};
use serde_json::{Value, json};

const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn here(version: &str) -> Value {
    conf(version, NO_BPFFS)
}

fn strict(version: &str) -> Value {
    set(here(version), "strict", json!(true))
}

#[test]
fn add_passes_prev_result_on() {
    for version in VERSIONS {
        let conf = here(version);
        let answer = Call::new("ADD", &conf).run();
        answer.says(&conf["prevResult"].to_string());
        answer.logs(
            "WARN",
            "ADD container=Container-1.a_b ifname=eth0 pod=ns/web-0 ips=10.0.0.7,fd00::7",
        );
        answer.logs("WARN", "passed on, the pod is not accelerated");
    }
}

#[test]
fn add_keeps_every_byte_of_prev_result() {
    let prev = "{ \"x\":1.50e3,\n \"ips\" : [ ] ,\"x\":\"\\u00e9\\/\",\"ips\":[{\"address\":\"10.0.0.7\"}]  }";
    let stdin = format!(
        "{{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"logFile\":\"\",\"prevResult\":  {prev} }}"
    );
    Call::new("ADD", &Value::Null).stdin(stdin).run().says(prev);
}

#[test]
fn add_in_strict_mode_fails_with_the_reason() {
    let table = [
        (
            here("1.0.0"),
            "/nonexistent/netns",
            103,
            "/nonexistent/netns\": cannot be opened",
        ),
        (here("1.0.0"), "/dev/null", 103, "is no namespace"),
        (here("1.0.0"), "/proc/self/ns/net", 103, "is the node's own"),
        (
            set(
                here("1.0.0"),
                "prevResult",
                result("1.0.0", &["10.0.0.999/24"]),
            ),
            "/proc/self/ns/net",
            104,
            "\"10.0.0.999/24\"",
        ),
        (
            set(here("1.0.0"), "prevResult", result("1.0.0", &[])),
            "/proc/self/ns/net",
            103,
            "is the node's own",
        ),
        (
            set(here("1.0.0"), "scope", json!("sometimes")),
            "/proc/self/ns/net",
            7,
            "\"sometimes\"",
        ),
        (
            set(here("1.0.0"), "scoop", json!(1)),
            "/proc/self/ns/net",
            7,
            "unknown key \"scoop\"",
        ),
        (
            set(
                here("1.0.0"),
                "runtimeConfig",
                json!({"io.kubernetes.cri.pod-annotations": {"sockway.io/scope": "on"}}),
            ),
            "/proc/self/ns/net",
            7,
            "sockway.io/scope: \"on\" is not allowed",
        ),
    ];
    for (conf, netns, code, part) in table {
        let lenient = Call::new("ADD", &conf).with("CNI_NETNS", netns).run();
        lenient.says(&conf["prevResult"].to_string());
        lenient.logs("WARN", part);
        let strict = set(conf, "strict", json!(true));
        let answer = Call::new("ADD", &strict).with("CNI_NETNS", netns).run();
        answer.fails(code, "1.0.0", part);
        answer.logs("ERROR", part);
    }
}

#[test]
fn ten_thousand_addresses_are_refused_clearly() {
    let many: Vec<_> = (0..10_000)
        .map(|n| format!("10.1.{}.{}/16", n / 250, n % 250))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let conf = set(here("1.0.0"), "prevResult", result("1.0.0", &many));
    let answer = Call::new("ADD", &conf).run();
    answer.says(&conf["prevResult"].to_string());
    answer.logs("WARN", "10000 addresses, at most 16");
    Call::new("ADD", &set(conf, "strict", json!(true)))
        .run()
        .fails(104, "1.0.0", "10000");
}

#[test]
fn add_needs_prev_result_always() {
    for version in VERSIONS {
        for conf in [
            unset(here(version), "prevResult"),
            set(here(version), "prevResult", Value::Null),
        ] {
            Call::new("ADD", &conf)
                .run()
                .fails(7, version, "sockway-cni is a chained plugin");
        }
    }
}

#[test]
fn del_succeeds_whatever_is_gone() {
    for version in VERSIONS {
        for conf in [
            here(version),
            unset(here(version), "prevResult"),
            strict(version),
        ] {
            let call = Call::new("DEL", &conf);
            call.run().silent();
            call.clone().with("CNI_NETNS", "").run().silent();
            call.clone()
                .without("CNI_NETNS")
                .without("CNI_ARGS")
                .run()
                .silent();
            call.run().logs("INFO", "nothing to do");
        }
        for (key, value) in [
            ("scope", json!(1)),
            ("prevResult", json!("junk")),
            ("scoop", json!(1)),
        ] {
            Call::new("DEL", &set(here(version), key, value))
                .run()
                .silent();
        }
    }
}

#[test]
fn check_is_there_from_0_4_0_on() {
    for version in VERSIONS {
        let answer = Call::new("CHECK", &here(version))
            .with("CNI_NETNS", "/proc/self/ns/net")
            .run();
        if version.starts_with("0.3") {
            answer.fails(1, version, "CHECK needs cniVersion 0.4.0 or later");
            continue;
        }
        answer.silent();
        answer.logs("WARN", "the pod is not accelerated");
        let strict = Call::new("CHECK", &strict(version)).with("CNI_NETNS", "/proc/self/ns/net");
        strict.run().fails(103, version, "is the node's own");
        let bare = unset(here(version), "prevResult");
        Call::new("CHECK", &bare)
            .run()
            .fails(7, version, "prevResult");
    }
}

#[test]
fn status_and_gc_are_there_in_1_1_0() {
    for version in VERSIONS {
        let gc = set(here(version), "cni.dev/valid-attachments", json!([]));
        // Runtimes set no attachment for these.
        let bare = |verb: &str, conf: &Value| {
            let call = Call::new(verb, conf)
                .without("CNI_CONTAINERID")
                .without("CNI_IFNAME");
            call.without("CNI_NETNS").without("CNI_ARGS").run()
        };
        if version == "1.1.0" {
            bare("STATUS", &here(version)).fails(50, version, "/nonexistent/bpffs");
            bare("GC", &gc).silent();
            let older = set(here(version), "cni.dev/attachments", json!(null));
            bare("GC", &older).logs("INFO", "nothing to do");
            let answer = bare("GC", &here(version));
            answer.silent();
            answer.logs("WARN", "cni.dev/valid-attachments does not say");
        } else {
            bare("STATUS", &here(version)).fails(1, version, "STATUS needs cniVersion 1.1.0");
            bare("GC", &gc).fails(1, version, "GC needs cniVersion 1.1.0");
        }
    }
}

#[test]
fn version_needs_nothing() {
    let supported = json!(VERSIONS);
    for (stdin, version) in [
        ("", "1.1.0"),
        ("{\"cniVersion\":\"0.3.1\"}", "0.3.1"),
        ("}", "1.1.0"),
    ] {
        let mut call = Call::new("VERSION", &Value::Null).stdin(stdin);
        for name in [
            "CNI_CONTAINERID",
            "CNI_IFNAME",
            "CNI_NETNS",
            "CNI_ARGS",
            "CNI_PATH",
        ] {
            call = call.without(name);
        }
        let answer = call.run();
        assert_eq!(answer.status, 0, "{answer:?}");
        let value: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(
            value,
            json!({"cniVersion": version, "supportedVersions": supported})
        );
    }
}
