//! What other people's nodes do: each kind once, against a running keeper or an install.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sockway_datapath::Registry;
use sockway_testkit::needs;

use super::foreign::Exclusive;
use super::keeper::{Keeper, metric, page, until};
use super::node::{CONFLIST, Node};
use super::pod::Pod;

const NONE: Option<&str> = None;
const TWO: Duration = Duration::from_secs(2);
const TEN: Duration = Duration::from_secs(10);
const THREE: Duration = Duration::from_secs(3);
const START: Duration = Duration::from_secs(30);

fn ready() -> bool {
    page("/readyz").is_some_and(|answer| answer.contains("200 OK"))
}

fn healthy() -> bool {
    page("/healthz").is_some_and(|answer| answer.contains("200 OK"))
}

fn as_wanted(what: &str) -> u64 {
    metric(&format!("sockway_as_wanted{{what=\"{what}\"}}"))
}

#[test]
fn directories_are_replaced_mounted_over_and_late() {
    let node = needs!(Node::new("directories_are_replaced"));
    let keeper = Keeper::start(&node);
    for name in ["bin", "net.d"] {
        let (path, aside) = (node.path(name), node.path("aside"));
        let back = || node.plugin().exists() && node.conflist().exists() && node.has_entry();
        // Removed, and made anew a while later: nothing watches what is not there.
        fs::rename(&path, &aside).unwrap();
        until("it is not ready", THREE, || !ready());
        assert!(healthy(), "the process works");
        std::thread::sleep(Duration::from_millis(1_500));
        fs::create_dir(&path).unwrap();
        if name == "net.d" {
            fs::write(node.conflist(), CONFLIST).unwrap();
        }
        until("what belongs there is back", TWO, back);
        until("it is ready", THREE, ready);
        // Mounted over: no event tells of it.
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
        if name == "net.d" {
            fs::write(node.conflist(), CONFLIST).unwrap();
        }
        until("what belongs there is on the mount", THREE, back);
        until("it is ready", THREE, ready);
        umount2(&path, MntFlags::MNT_DETACH).unwrap();
        until("it is ready without the mount", THREE, || back() && ready());
        fs::remove_dir_all(&aside).unwrap();
    }
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// As in a pod: the keeper has a mount of the directory that a package upgrade removes.
#[test]
fn a_mount_of_a_directory_that_was_removed() {
    let node = needs!(Node::new("a_mount_of_a_directory_that_was_removed"));
    let (host, mounted) = (node.path("bin"), node.path("container-bin"));
    fs::create_dir(&mounted).unwrap();
    mount(Some(&host), &mounted, NONE, MsFlags::MS_BIND, NONE).unwrap();
    let keeper = Keeper::start_with(&node, &["--cni-bin-dir", mounted.to_str().unwrap()]);
    assert!(host.join("sockway-cni").exists());
    // The keeper may put its file back meanwhile.
    until("it is removed", THREE, || fs::remove_dir_all(&host).is_ok());
    // There is nothing to go on to: pods must not fail for us, and a supervisor must see it.
    until("the entry is out", THREE, || !node.has_entry());
    until("it is sick", THREE, || !healthy() && !ready());
    fs::create_dir(&host).unwrap();
    until("the plugin is in the new directory", THREE, || {
        host.join("sockway-cni").exists() && node.has_entry()
    });
    until("it is well again", THREE, || healthy() && ready());
    assert_eq!(as_wanted("directories"), 0, "said all the same");
    keeper.stop();
    umount2(&mounted, MntFlags::MNT_DETACH).unwrap();
    fs::remove_dir(&mounted).unwrap();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// A plugin directory that takes no file: full, read-only, or nothing may be run in it.
#[test]
fn no_list_names_a_plugin_that_cannot_be_there() {
    let node = needs!(Node::new("no_list_names_a_plugin_that_cannot_be_there"));
    let keeper = Keeper::start(&node);
    let bin = node.path("bin");
    for (flags, options) in [
        (MsFlags::empty(), "size=64k"),
        (MsFlags::MS_RDONLY, ""),
        (MsFlags::MS_NOEXEC, ""),
    ] {
        mount(Some("tmpfs"), &bin, Some("tmpfs"), flags, Some(options)).unwrap();
        until("the entry is out", THREE, || !node.has_entry());
        until("it is not ready", THREE, || !ready());
        assert!(healthy());
        umount2(&bin, MntFlags::MNT_DETACH).unwrap();
        until("the entry is back", THREE, || node.has_entry());
        until("it is ready", THREE, ready);
    }
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_full_or_read_only_configuration_directory_loses_nothing() {
    let node = needs!(Node::new("a_full_configuration_directory"));
    let directory = node.path("net.d");
    mount(
        Some("tmpfs"),
        &directory,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=8k"),
    )
    .unwrap();
    fs::write(node.conflist(), CONFLIST).unwrap();
    let filler = node.path("net.d/filler");
    let _ = fs::File::create(&filler).unwrap().write_all(&[0; 8192]);
    let said = node.run(&["install"], 1);
    assert!(said.contains("cannot write"), "{said}");
    assert_eq!(node.text(), CONFLIST);
    fs::remove_file(&filler).unwrap();
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NONE, &directory, NONE, remount, NONE).unwrap();
    let said = node.run(&["install"], 1);
    assert!(said.contains("cannot"), "{said}");
    assert_eq!(node.text(), CONFLIST);
    mount(NONE, &directory, NONE, MsFlags::MS_REMOUNT, NONE).unwrap();
    node.run(&["install"], 0);
    node.run(&["uninstall", "--purge"], 0);
    assert_eq!(node.text(), CONFLIST);
    umount2(&directory, MntFlags::MNT_DETACH).unwrap();
    node.assert_gone(&[]);
}

#[test]
fn another_softwares_list_and_then_the_clusters() {
    let node = needs!(Node::new("another_softwares_list"));
    let podman = r#"{"cniVersion":"0.4.0","name":"podman","plugins":[{"type":"bridge","bridge":"cni-podman0"}]}"#;
    let path = node.path("net.d/87-podman.conflist");
    fs::rename(node.conflist(), node.path("terway")).unwrap();
    fs::write(&path, podman).unwrap();
    let said = node.run(&["install"], 0);
    assert!(said.contains("podman's"), "{said}");
    let keeper = Keeper::spawn(&node);
    until("it says what it waits for", START, || {
        page("/readyz").is_some_and(|answer| answer.contains("87-podman.conflist is podman's"))
    });
    fs::rename(node.path("terway"), node.conflist()).unwrap();
    until("the entry is there", THREE, || node.has_entry());
    until("it is ready", THREE, ready);
    assert_eq!(fs::read_to_string(&path).unwrap(), podman);
    keeper.stop();
    fs::remove_file(&path).unwrap();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn purge_is_refused_while_a_file_names_the_plugin() {
    let node = needs!(Node::new("purge_is_refused"));
    node.run(&["install"], 0);
    let elsewhere = node.path("elsewhere");
    fs::write(&elsewhere, node.text()).unwrap();
    let link = node.path("net.d/20-link.conflist");
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    let said = node.run(&["uninstall", "--purge"], 1);
    assert!(said.contains("20-link.conflist"), "{said}");
    assert!(node.plugin().exists());
    fs::remove_file(link).unwrap();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// Namespaces where nobody looks, and the cache knows the pod; then nothing knows it any more.
#[test]
fn pods_whose_namespaces_are_elsewhere_stay() {
    let node = needs!(Node::new("pods_whose_namespaces_are_elsewhere"));
    node.run(&["install"], 0);
    let pod = Pod::start(&node, "c1", "10.9.0.2");
    node.call("ADD", &pod.attachment);
    node.cache(&pod.attachment);
    let cached = node.cached(&pod.attachment);
    let text = fs::read_to_string(&cached).unwrap();
    let elsewhere = "/run/containerd/io.containerd.grpc.v1.cri/netns/cni-1";
    let old = node
        .sockway(&["reconcile"])
        .env("SOCKWAY_NETNS_DIR", "/nonexistent")
        .output();
    assert!(old.unwrap().status.success());
    // As if it were registered long ago.
    let age = || {
        let mut registry = Registry::open(&node.pins()).unwrap();
        let (owner, mut row) = registry.sandboxes().unwrap()[0];
        row.since_unix_ns = 1;
        row.netns_inode = 4_026_000_001;
        let ports = registry.pod(&row.ips()[0]).unwrap().unwrap();
        registry.register(owner, &row, &ports).unwrap();
    };
    age();
    for path in [elsewhere, ""] {
        let there = &pod.attachment.netns;
        fs::write(&cached, text.replace(there.as_str(), path)).unwrap();
        let mut reconcile = node.sockway(&["reconcile"]);
        assert!(
            reconcile
                .env("SOCKWAY_NETNS_DIR", "/nonexistent")
                .output()
                .unwrap()
                .status
                .success()
        );
        assert_eq!(
            node.json(&["pods"], 0).as_array().unwrap().len(),
            1,
            "{path}"
        );
    }
    drop(pod);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// The runtime has not forgotten a pod that is gone, and its address is a younger pod's.
#[test]
fn an_address_that_was_given_again_is_the_younger_pods() {
    let node = needs!(Node::new("an_address_that_was_given_again"));
    // The older one comes last by its name.
    let old = Pod::start(&node, "c9", "10.9.0.2");
    node.cache(&old.attachment);
    let text = fs::read_to_string(node.cached(&old.attachment)).unwrap();
    let netns = old.attachment.netns.clone();
    let cached = node.cached(&old.attachment);
    drop(old);
    sleep(Duration::from_millis(20));
    let young = Pod::start(&node, "c1", "10.9.0.2");
    node.cache(&young.attachment);
    let holders = || {
        let pods = node.json(&["pods"], 0);
        let pods = pods.as_array().unwrap().iter();
        let holds = |pod: &&serde_json::Value| !pod["ips"].as_array().unwrap().is_empty();
        let ids = pods.filter(holds).map(|pod| pod["container_id"].clone());
        ids.collect::<Vec<_>>()
    };
    node.run(&["install"], 0);
    assert_eq!(holders(), ["c1"]);
    // Caches of libcni before 1.2 do not say where a namespace is.
    node.run(&["uninstall"], 0);
    fs::write(&cached, text.replace(&netns, "")).unwrap();
    sleep(Duration::from_millis(20));
    let of_young = node.cached(&young.attachment);
    let text = fs::read_to_string(&of_young).unwrap();
    fs::write(&of_young, text.replace(&young.attachment.netns, "")).unwrap();
    for _ in 0..2 {
        node.run(&["install"], 0);
        node.run(&["reconcile", "--all"], 0);
        assert_eq!(holders(), ["c1"]);
        assert_eq!(node.json(&["pods"], 0).as_array().unwrap().len(), 1);
    }
    drop(young);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// The kernel hands the number of a namespace that is gone out again, to somebody who is no pod.
#[test]
fn a_namespace_without_a_pods_address_is_not_the_pods() {
    let node = needs!(Node::new("a_namespace_without_a_pods_address"));
    let pod = Pod::start(&node, "c7", "10.9.0.7");
    node.cache(&pod.attachment);
    let keeper = Keeper::start_with(&node, &["--reconcile-every", "1s"]);
    assert_eq!(metric("sockway_pods"), 1);
    // Some runtimes' caches cannot be seen: it lives, for its namespace has its address. Who comes now is registered by a
    // comparison each, a second apart; at the second one this pod is not young any more.
    fs::remove_file(node.cached(&pod.attachment)).unwrap();
    let others = [("c8", "10.9.0.8", 2), ("c9", "10.9.0.9", 3)].map(|(id, address, pods)| {
        let other = Pod::start(&node, id, address);
        node.cache(&other.attachment);
        until("it is registered too", TEN, || {
            metric("sockway_pods") == pods
        });
        other
    });
    let within = format!("--net={}", pod.attachment.netns);
    let flush = ["ip", "address", "flush", "dev", "lo"];
    let mut command = Command::new("nsenter");
    assert!(command.arg(within).args(flush).status().unwrap().success());
    until("its row is gone", TEN, || metric("sockway_pods") == 2);
    keeper.stop();
    drop((pod, others));
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_program_that_admits_no_other_is_named() {
    let node = needs!(Node::new("a_program_that_admits_no_other_is_named"));
    let exclusive = Exclusive::attach(node.cgroup());
    let said = node.run(&["install"], 1);
    assert!(said.contains("BPF_F_ALLOW_MULTI"), "{said}");
    assert_eq!(node.text(), CONFLIST);
    drop(exclusive);
    node.run(&["install"], 0);
    // Another Sockway on the same cgroup, with its pins elsewhere.
    let second = node
        .sockway(&["install"])
        .env("SOCKWAY_BPFFS", node.path("bpf/other"))
        .output()
        .unwrap();
    let said = super::node::text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another Sockway"), "{said}");
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_plan_is_printed_and_nothing_is_changed() {
    let node = needs!(Node::new("a_plan_is_printed"));
    node.cache_pod();
    let plan = node.json(&["install", "--dry-run"], 0);
    let steps = plan["steps"].as_array().unwrap();
    let components: Vec<&str> = steps
        .iter()
        .map(|s| s["component"].as_str().unwrap())
        .collect();
    assert_eq!(components, ["programs", "plugin", "conflist", "pods"]);
    let said = node.run(&["install", "--dry-run"], 0);
    for part in [
        "Nothing was changed",
        "behind terway",
        "shop/cart-0",
        "10-terway.conflist",
    ] {
        assert!(said.contains(part), "{said}");
    }
    node.assert_gone(&[]);
    node.run(&["install"], 0);
    let plan = node.json(&["install", "--dry-run"], 0);
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(
        steps.len(),
        1,
        "programs are replaced by every install: {plan}"
    );
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// No inotify instance is left on the node: changes are seen all the same.
#[test]
fn without_inotify() {
    let node = needs!(Node::new("without_inotify"));
    let mut hold = Vec::new();
    while let Ok(one) = nix::sys::inotify::Inotify::init(nix::sys::inotify::InitFlags::IN_CLOEXEC) {
        hold.push(one);
        assert!(hold.len() < 100_000);
    }
    let keeper = Keeper::start(&node);
    fs::write(node.conflist(), CONFLIST).unwrap();
    until("the entry is back", THREE, || node.has_entry());
    assert_eq!(as_wanted("watch"), 0);
    drop(hold);
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn readiness_slow_clients_and_descriptors() {
    let node = needs!(Node::new("readiness_and_slow_clients"));
    let keeper = Keeper::start(&node);
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect("127.0.0.1:9475").unwrap())
        .collect();
    for byte in b"GET /metrics HTT" {
        for client in &mut slow {
            let _ = client.write_all(&[*byte]);
        }
        let start = Instant::now();
        assert!(healthy());
        assert!(
            start.elapsed() < Duration::from_millis(100),
            "{:?}",
            start.elapsed()
        );
    }
    drop(slow);
    // Taken off by force: its pin is there all the same.
    let before = keeper.descriptors();
    for round in 0..5 {
        fs::remove_file(node.pins().link(sockway_common::layout::program::ESTABLISH)).unwrap();
        until("it is not ready", THREE, || !ready());
        until("it is ready again", START, ready);
        fs::write(node.conflist(), CONFLIST).unwrap();
        until("the entry is back", START, || node.has_entry());
        fs::set_permissions(node.plugin(), fs::Permissions::from_mode(0o600)).unwrap();
        until("the plugin can be run", START, || runs(&node.plugin()));
        until("it is ready once more", START, ready);
        assert!(round > 0 || keeper.descriptors() <= before + 8);
    }
    let grown = keeper.descriptors();
    assert!(grown <= before + 8, "{before} descriptors, then {grown}");
    // Nothing comes between uninstall and what it does.
    assert!(node.run(&["uninstall"], 1).contains("sockway run"));
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

fn runs(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 == 0o111)
}
