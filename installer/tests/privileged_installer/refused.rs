//! What cannot be done is refused by name, and nothing is changed; what fails half-way is taken back.

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use sockway_testkit::needs;

use super::node::{CONFLIST, Node};

fn untouched(node: &Node) {
    assert!(!node.path("bpf/sockway").exists(), "pins");
    assert_eq!(fs::read_dir(node.path("bin")).unwrap().count(), 0, "binary");
}

#[test]
fn bad_conflists() {
    let node = needs!(Node::new("bad_conflists"));
    for (name, text, part) in [
        ("10-terway.conflist", "", "is empty"),
        ("10-terway.conflist", &CONFLIST[..60], "not valid JSON"),
        (
            "10-terway.conflist",
            r#"{"cniVersion":"3.0.0","plugins":[{"type":"x"}]}"#,
            "3.0.0",
        ),
        (
            "10-terway.conf",
            r#"{"cniVersion":"0.3.1","type":"terway"}"#,
            "eni-config",
        ),
        (
            "10-terway.conflist",
            r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"sockway-cni","scoope":1}]}"#,
            "scoope",
        ),
    ] {
        fs::remove_dir_all(node.path("net.d")).unwrap();
        fs::create_dir(node.path("net.d")).unwrap();
        let path = node.path("net.d").join(name);
        fs::write(&path, text).unwrap();
        let said = node.run(&["install"], 1);
        assert!(
            said.contains(part) && said.contains("nothing was changed"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        untouched(&node);
    }
    fs::remove_dir_all(node.path("net.d")).unwrap();
    assert!(node.run(&["install"], 1).contains("--cni-conf-dir"));
}

#[test]
fn bad_places() {
    let node = needs!(Node::new("bad_places"));
    for (variable, value, part) in [
        ("SOCKWAY_BPFFS", "/tmp/no-bpffs/sockway", "mount -t bpf"),
        ("SOCKWAY_CGROUP", "/proc", "--cgroup"),
        ("SOCKWAY_PLUGIN", "/bin/true", "VERSION"),
        ("SOCKWAY_PLUGIN", "/none", "--plugin"),
        ("SOCKWAY_CNI_BIN_DIR", "/none", "--cni-bin-dir"),
        ("SOCKWAY_CONF_NAME", "none.conflist", "10-terway.conflist"),
        (
            "SOCKWAY_ENVOY_OUTBOUND_PORT",
            "15006",
            "two different ports",
        ),
    ] {
        let output = node
            .sockway(&["install"])
            .env(variable, value)
            .output()
            .unwrap();
        let said = super::node::text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{variable}={value}: {said}");
        assert!(said.contains(part), "{variable}={value}: {said}");
        assert_eq!(node.text(), CONFLIST);
        untouched(&node);
    }
    let output = node
        .sockway(&["install"])
        .env("SOCKWAY_SCOPE", "some")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let target = node.path("target");
    fs::rename(node.conflist(), &target).unwrap();
    symlink(&target, node.conflist()).unwrap();
    assert!(node.run(&["install"], 1).contains("symbolic link"));
    untouched(&node);
}

#[test]
fn a_step_that_fails_takes_back_the_others() {
    let node = needs!(Node::new("a_step_that_fails"));
    // The binary can be copied here, but not run: found out after the programs are attached.
    let flags = MsFlags::MS_NOEXEC;
    mount(
        Some("tmpfs"),
        &node.path("bin"),
        Some("tmpfs"),
        flags,
        None::<&str>,
    )
    .unwrap();
    let said = node.run(&["install"], 1);
    assert!(said.contains("noexec"), "{said}");
    assert_eq!(node.text(), CONFLIST);
    untouched(&node);
    nix::mount::umount2(&node.path("bin"), nix::mount::MntFlags::MNT_DETACH).unwrap();
    node.run(&["install"], 0);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}
