//! The verbs on real maps.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sockway_common::calls::{DEGRADED, DONE, FAILED, outcome_slot};
use sockway_common::part::{LeftOut, Switched};
use sockway_common::pod::{OwnerKey, field_text};
use sockway_common::scope;
use sockway_datapath::{Pins, Registry};
use sockway_testkit::bpffs::Bpffs;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use crate::support::call::{Answer, Call, conf, result, set, unset};
use crate::support::pod::{PodNetns, pin_link, pin_maps, rows};

/// A node with maps, and one pod's namespace.
struct Node {
    pins: Pins,
    netns: PodNetns,
    _bpffs: Bpffs,
}

impl Node {
    fn new(test: &str) -> Option<Self> {
        privileged(test)?;
        let bpffs = Bpffs::mount();
        let netns = PodNetns::with(&["10.0.0.7/24", "fd00::7/64"]);
        Some(Self {
            pins: pin_maps(bpffs.path()),
            netns,
            _bpffs: bpffs,
        })
    }

    fn conf(&self, version: &str) -> Value {
        conf(version, self.pins.root().to_str().unwrap())
    }

    fn call(&self, verb: &str, id: &str, conf: &Value) -> Answer {
        let call = Call::new(verb, conf).with("CNI_CONTAINERID", id);
        call.with("CNI_NETNS", &self.netns.path()).run()
    }
}

const BOTH: [&str; 2] = [
    "10.0.0.7 c1 15001/15006 auto",
    "fd00::7 c1 15001/15006 auto",
];

#[test]
fn add_check_del_in_every_version() {
    let node = needs!(Node::new("add_check_del_in_every_version"));
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let conf = node.conf(version);
        for _ in 0..2 {
            let answer = node.call("ADD", "c1", &conf);
            answer.says(&conf["prevResult"].to_string());
            answer.logs("INFO", "pod=ns/web-0 ips=10.0.0.7,fd00::7 scope=auto");
            assert_eq!(rows(&node.pins), BOTH);
        }
        if !version.starts_with("0.3") {
            node.call("CHECK", "c1", &conf).silent();
        }
        let answer = node.call("DEL", "c1", &conf);
        answer.silent();
        answer.logs("INFO", "2 addresses taken out");
        assert!(rows(&node.pins).is_empty());
        // As containerd does it once more.
        let bare = unset(conf.clone(), "prevResult");
        let again = Call::new("DEL", &bare)
            .with("CNI_CONTAINERID", "c1")
            .with("CNI_NETNS", "");
        again.run().silent();
    }
    let registry = Registry::open(&node.pins).unwrap();
    assert!(registry.sandboxes().unwrap().is_empty());
}

#[test]
fn the_sandbox_row_tells_who_and_since_when() {
    let node = needs!(Node::new("the_sandbox_row_tells_who_and_since_when"));
    node.call("ADD", "c1", &node.conf("1.0.0"));
    let registry = Registry::open(&node.pins).unwrap();
    let row = registry
        .sandbox(&OwnerKey::new("c1", "eth0"))
        .unwrap()
        .expect("a row");
    assert_eq!(row.netns_inode, node.netns.inode());
    let since = UNIX_EPOCH + Duration::from_nanos(row.since_unix_ns);
    assert!(SystemTime::now().duration_since(since).unwrap() < Duration::from_mins(1));
    let texts = [
        &row.container_id[..],
        &row.ifname,
        &row.network,
        &row.pod_namespace,
        &row.pod_name,
    ];
    assert_eq!(
        texts.map(field_text),
        ["c1", "eth0", "terway-chainer", "ns", "web-0"]
    );
}

#[test]
fn addresses_come_from_the_netns_where_prev_result_has_none() {
    let node = needs!(Node::new(
        "addresses_come_from_the_netns_where_prev_result_has_none"
    ));
    // Nothing, one family, and a result without ips at all.
    for prev in [
        result("1.0.0", &[]),
        result("1.0.0", &["10.0.0.7/24"]),
        result("1.0.0", &["fd00::7/64"]),
        json!({"cniVersion": "1.0.0"}),
    ] {
        let conf = set(node.conf("1.0.0"), "prevResult", prev.clone());
        node.call("ADD", "c1", &conf).says(&prev.to_string());
        assert_eq!(rows(&node.pins), BOTH, "{prev}");
        node.call("CHECK", "c1", &conf).silent();
        // DEL knows them from the attachment's own row, the namespace may be gone.
        let del = Call::new("DEL", &conf).with("CNI_CONTAINERID", "c1");
        del.with("CNI_NETNS", "/nonexistent").run().silent();
        assert!(rows(&node.pins).is_empty());
    }
    // Another interface has none.
    let conf = set(node.conf("1.0.0"), "prevResult", result("1.0.0", &[]));
    let call = Call::new("ADD", &conf).with("CNI_NETNS", &node.netns.path());
    call.with("CNI_IFNAME", "net1")
        .run()
        .logs("WARN", "interface net1");
}

#[test]
fn a_late_del_leaves_the_next_pod_alone() {
    let node = needs!(Node::new("a_late_del_leaves_the_next_pod_alone"));
    let conf = node.conf("1.0.0");
    node.call("ADD", "c0", &conf);
    node.call("ADD", "c1", &conf);
    assert_eq!(rows(&node.pins), BOTH);
    node.call("DEL", "c0", &conf).silent();
    assert_eq!(rows(&node.pins), BOTH);
    // Another interface of the same container is another owner.
    let call = Call::new("DEL", &conf)
        .with("CNI_CONTAINERID", "c1")
        .with("CNI_IFNAME", "net1");
    call.run().silent();
    assert_eq!(rows(&node.pins), BOTH);
    node.call("CHECK", "c0", &conf)
        .fails(105, "1.0.0", "10.0.0.7 is registered for container c1");
}

#[test]
fn add_again_with_other_addresses_replaces() {
    let node = needs!(Node::new("add_again_with_other_addresses_replaces"));
    let old = node.conf("1.0.0");
    let new = set(
        old.clone(),
        "prevResult",
        result("1.0.0", &["10.0.0.8/24", "fd00::7/64"]),
    );
    node.call("ADD", "c1", &old);
    node.call("ADD", "c1", &new);
    let expected = [
        "10.0.0.8 c1 15001/15006 auto",
        "fd00::7 c1 15001/15006 auto",
    ];
    assert_eq!(rows(&node.pins), expected);
    node.call("CHECK", "c1", &new).silent();
    node.call("CHECK", "c1", &old)
        .fails(105, "1.0.0", "10.0.0.7 is not registered");
    let ports = set(new, "envoyPorts", json!({"inbound": 7, "outbound": 8}));
    node.call("CHECK", "c1", &ports)
        .fails(105, "1.0.0", "ports 15001 and 15006");
}

#[test]
fn scope_comes_from_namespace_annotation_and_section() {
    let node = needs!(Node::new(
        "scope_comes_from_namespace_annotation_and_section"
    ));
    let annotated =
        |word: &str| json!({"io.kubernetes.cri.pod-annotations": {"sockway.io/scope": word}});
    let base = set(node.conf("1.0.0"), "scope", json!("proxy"));
    let base = set(base, "envoyPorts", json!({"outbound": 1, "inbound": 2}));
    let excluded = set(base.clone(), "excludeNamespaces", json!(["ns"]));
    let table = [
        (base.clone(), "proxy"),
        (set(base, "runtimeConfig", annotated("all")), "all"),
        (excluded.clone(), "off"),
        (set(excluded, "runtimeConfig", annotated("all")), "off"),
    ];
    for (conf, scope) in table {
        node.call("ADD", "c1", &conf);
        assert_eq!(rows(&node.pins)[0], format!("10.0.0.7 c1 1/2 {scope}"));
    }
}

#[test]
fn stages_of_a_rollout_leave_pods_out() {
    let node = needs!(Node::new("stages_of_a_rollout_leave_pods_out"));
    let annotations = json!({"io.kubernetes.cri.pod-annotations": {"sockway.io/scope": "all"}});
    let with = |key: &str, value: Value| {
        // A pod cannot widen a stage.
        let conf = set(node.conf("1.0.0"), "runtimeConfig", annotations.clone());
        set(conf, key, value)
    };
    let table = [
        (with("onlyNamespaces", json!(["ns"])), "all", None),
        (with("percent", json!(100)), "all", None),
        (with("percent", json!(0)), "off", Some(LeftOut::Percent(0))),
        (
            with("onlyNamespaces", json!(["other"])),
            "off",
            Some(LeftOut::OtherNamespace),
        ),
        (
            with("excludeNamespaces", json!(["ns"])),
            "off",
            Some(LeftOut::Excluded),
        ),
    ];
    let owner = OwnerKey::new("c1", "eth0");
    for (conf, scope, why) in table {
        let answer = node.call("ADD", "c1", &conf);
        answer.says(&conf["prevResult"].to_string());
        let outcome = why.map_or_else(
            || "registered".to_owned(),
            |why| format!("registered, {why}"),
        );
        answer.logs("INFO", &format!("outcome={outcome}"));
        assert_eq!(
            rows(&node.pins)[0],
            format!("10.0.0.7 c1 15001/15006 {scope}")
        );
        let registry = Registry::open(&node.pins).unwrap();
        let row = registry.sandbox(&owner).unwrap().expect("a row");
        assert_eq!(row.part().left_out, why);
    }
}

#[test]
fn the_share_goes_by_the_uid() {
    let node = needs!(Node::new("the_share_goes_by_the_uid"));
    let conf = set(node.conf("1.0.0"), "percent", json!(50));
    let scope = |container: &str, uid: usize| {
        let args = format!("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u{uid}");
        let call = Call::new("ADD", &conf).with("CNI_CONTAINERID", container);
        let call = call.with("CNI_NETNS", &node.netns.path());
        call.with("CNI_ARGS", &args).run();
        let row = rows(&node.pins)[0].clone();
        row.rsplit(' ').next().unwrap().to_owned()
    };
    let first: Vec<String> = (0..20).map(|uid| scope("c1", uid)).collect();
    // A sandbox that is made anew, of the same pods.
    let second: Vec<String> = (0..20).map(|uid| scope("c2", uid)).collect();
    assert_eq!(first, second);
    assert!(
        first.contains(&"auto".to_owned()) && first.contains(&"off".to_owned()),
        "{first:?}"
    );
}

#[test]
fn who_was_switched_off_stays_off_when_registered_again() {
    let node = needs!(Node::new(
        "who_was_switched_off_stays_off_when_registered_again"
    ));
    let (conf, owner) = (node.conf("1.0.0"), OwnerKey::new("c1", "eth0"));
    node.call("ADD", "c1", &conf);
    let mut registry = Registry::open(&node.pins).unwrap();
    assert!(registry.switch(&owner, Some(Switched::Tripped)).unwrap());
    node.call("ADD", "c1", &set(conf.clone(), "scope", json!("proxy")));
    assert_eq!(rows(&node.pins)[0], "10.0.0.7 c1 15001/15006 off");
    let part = registry.sandbox(&owner).unwrap().expect("a row").part();
    assert_eq!(
        (part.scope, part.switched),
        (scope::PROXY, Some(Switched::Tripped))
    );
    assert!(registry.switch(&owner, None).unwrap());
    assert_eq!(rows(&node.pins)[0], "10.0.0.7 c1 15001/15006 proxy");
    // Its DEL ends it: the next one with its id is another.
    registry.switch(&owner, Some(Switched::ByHand)).unwrap();
    node.call("DEL", "c1", &conf).silent();
    assert!(!registry.switch(&owner, None).unwrap());
    node.call("ADD", "c1", &conf);
    assert_eq!(rows(&node.pins)[0], "10.0.0.7 c1 15001/15006 auto");
}

#[test]
fn a_section_that_is_not_understood_registers_nothing() {
    let node = needs!(Node::new(
        "a_section_that_is_not_understood_registers_nothing"
    ));
    pin_link(&node.pins);
    let good = node.conf("1.1.0");
    node.call("STATUS", "c1", &good).silent();
    let bad = set(good.clone(), "scoop", json!("all"));
    let answer = node.call("ADD", "c1", &bad);
    answer.says(&good["prevResult"].to_string());
    answer.logs("WARN", "unknown key \"scoop\"");
    assert!(rows(&node.pins).is_empty());
    let counted = sockway_datapath::calls::read(&node.pins).unwrap();
    let outcomes = [DONE, DEGRADED, FAILED].map(|outcome| counted[outcome_slot(0, outcome)]);
    assert_eq!(
        outcomes,
        [0, 1, 0],
        "the runtime is told success, the figures are not"
    );
    node.call("STATUS", "c1", &bad)
        .fails(51, "1.1.0", "unknown key \"scoop\"");
    // What was registered before goes all the same.
    node.call("ADD", "c1", &good);
    node.call("DEL", "c1", &bad).silent();
    assert!(rows(&node.pins).is_empty());
}

#[test]
fn gc_keeps_what_is_valid_and_other_networks() {
    let node = needs!(Node::new("gc_keeps_what_is_valid_and_other_networks"));
    let add = |id: &str, network: &str, ip: &str| {
        let conf = set(node.conf("1.1.0"), "name", json!(network));
        let prev = result("1.1.0", &[ip, &format!("fd00::{id}/64")]);
        node.call("ADD", id, &set(conf, "prevResult", prev));
    };
    add("a", "terway-chainer", "10.0.0.1/24");
    add("b", "terway-chainer", "10.0.0.2/24");
    add("c", "other", "10.0.0.3/24");
    let gc = |valid: Value| {
        let conf = unset(node.conf("1.1.0"), "prevResult");
        let conf = set(conf, "cni.dev/valid-attachments", valid);
        let answer = Call::new("GC", &conf)
            .without("CNI_CONTAINERID")
            .without("CNI_NETNS")
            .run();
        answer.silent();
        rows(&node.pins)
            .iter()
            .filter(|row| row.starts_with("10."))
            .cloned()
            .collect::<Vec<_>>()
    };
    let [a, b, c] =
        ["10.0.0.1 a", "10.0.0.2 b", "10.0.0.3 c"].map(|row| format!("{row} 15001/15006 auto"));
    let both =
        json!([{"containerID": "a", "ifname": "eth0"}, {"containerID": "b", "ifname": "eth0"}]);
    assert_eq!(gc(both), [a.as_str(), &b, &c]);
    assert_eq!(
        gc(json!([{"containerID": "a", "ifname": "eth0"}])),
        [a.as_str(), &c]
    );
    assert_eq!(
        gc(json!([{"containerID": "a", "ifname": "net1"}])),
        [c.as_str()]
    );
    assert_eq!(gc(Value::Null), [c.as_str()]);
}

#[test]
fn an_address_that_two_pods_had_is_given_back_by_gc() {
    let node = needs!(Node::new(
        "an_address_that_two_pods_had_is_given_back_by_gc"
    ));
    let conf = node.conf("1.1.0");
    node.call("ADD", "c0", &conf);
    node.call("ADD", "c1", &conf);
    assert_eq!(rows(&node.pins), BOTH);
    node.call("DEL", "c1", &conf).silent();
    assert!(rows(&node.pins).is_empty());
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let gc = unset(conf.clone(), "prevResult");
        let gc = set(gc, key, json!([{"containerID": "c0", "ifname": "eth0"}]));
        Call::new("GC", &gc).run().silent();
        assert_eq!(rows(&node.pins), BOTH.map(|row| row.replace("c1", "c0")));
    }
    node.call("CHECK", "c0", &conf).silent();
}

#[test]
fn check_after_the_kernel_added_addresses_of_its_own() {
    let node = needs!(Node::new(
        "check_after_the_kernel_added_addresses_of_its_own"
    ));
    let conf = set(
        node.conf("1.0.0"),
        "prevResult",
        result("1.0.0", &["10.0.0.7/24"]),
    );
    node.call("ADD", "c1", &conf);
    // As by a router's announcement.
    node.netns.add_address("2001:db8::7/64");
    node.call("CHECK", "c1", &conf).silent();
    assert_eq!(rows(&node.pins), BOTH);
    // What ADD wrote and is gone is missed all the same.
    let other = node.call("ADD", "c2", &conf);
    other.says(&conf["prevResult"].to_string());
    node.call("CHECK", "c1", &conf)
        .fails(105, "1.0.0", "10.0.0.7 is registered for container c2");
}

#[test]
fn the_nodes_own_namespace_is_never_a_pods() {
    let node = needs!(Node::new("the_nodes_own_namespace_is_never_a_pods"));
    let conf = node.conf("1.0.0");
    let strict = set(conf.clone(), "strict", json!(true));
    for netns in ["/proc/self/ns/net", "/proc/thread-self/ns/net"] {
        let call = |conf: &Value| Call::new("ADD", conf).with("CNI_NETNS", netns).run();
        let answer = call(&conf);
        answer.says(&conf["prevResult"].to_string());
        answer.logs("WARN", "is the node's own");
        call(&strict).fails(103, "1.0.0", "is the node's own");
        assert!(rows(&node.pins).is_empty());
    }
}

#[test]
fn status_tells_what_is_there() {
    let node = needs!(Node::new("status_tells_what_is_there"));
    let conf = node.conf("1.1.0");
    let status = || Call::new("STATUS", &conf).run();
    status().fails(51, "1.1.0", "no connection is joined");
    pin_link(&node.pins);
    status().silent();
    fs::remove_file(node.pins.map("sandboxes")).unwrap();
    status().fails(51, "1.1.0", "sandboxes is not there");
    fs::rename(node.pins.dir(), node.pins.root().join("v999")).unwrap();
    status().fails(51, "1.1.0", "layout v999");
    fs::remove_dir(node.pins.root().join("v999/link_sockway_establish")).unwrap();
    for map in ["pods", "calls"] {
        fs::remove_file(node.pins.root().join("v999").join(map)).unwrap();
    }
    fs::remove_dir(node.pins.root().join("v999")).unwrap();
    status().fails(50, "1.1.0", "not installed");
}

#[test]
fn another_layout_or_open_pins_register_nothing() {
    let node = needs!(Node::new("another_layout_or_open_pins_register_nothing"));
    let conf = node.conf("1.0.0");
    let strict = set(conf.clone(), "strict", json!(true));
    let passes = |code: i32, part: &str| {
        let answer = node.call("ADD", "c1", &conf);
        answer.says(&conf["prevResult"].to_string());
        answer.logs("WARN", part);
        node.call("ADD", "c1", &strict).fails(code, "1.0.0", part);
        node.call("DEL", "c1", &conf).silent();
    };
    fs::set_permissions(node.pins.dir(), Permissions::from_mode(0o777)).unwrap();
    passes(102, "others could pin maps there");
    fs::set_permissions(node.pins.dir(), Permissions::from_mode(0o700)).unwrap();
    assert!(rows(&node.pins).is_empty());
    let other = node.pins.root().join("v999");
    fs::rename(node.pins.dir(), &other).unwrap();
    passes(101, "layout v999");
    fs::rename(&other, node.pins.dir()).unwrap();
    assert!(rows(&node.pins).is_empty());
}

#[test]
fn a_lock_that_stays_held_is_try_again() {
    let node = needs!(Node::new("a_lock_that_stays_held_is_try_again"));
    let conf = node.conf("1.0.0");
    let dir = fs::File::open(node.pins.dir()).unwrap();
    dir.lock().unwrap();
    node.call("ADD", "c1", &conf)
        .logs("WARN", "locked by another process");
    let strict = set(conf, "strict", json!(true));
    node.call("ADD", "c1", &strict)
        .fails(11, "1.0.0", "try again");
    let del = node.call("DEL", "c1", &strict);
    del.silent();
    del.logs("WARN", "locked by another process");
    dir.unlock().unwrap();
    node.call("DEL", "c1", &strict).silent();
}
