//! `sockway doctor` in the running kernel: what it proves, what it refuses, and that it leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sockway_common::offsets::OFFSETS;
use sockway_testkit::needs;

use super::foreign::Exclusive;
use super::node::{CONFLIST, Node, text};
use super::traffic::Connection;

const STEPS: [&str; 9] = [
    "load",
    "join",
    "redirect",
    "back-pressure",
    "order",
    "drain",
    "half-close",
    "applications",
    "close",
];
const FACTS: [&str; 12] = [
    "kernel",
    "options",
    "btf",
    "lockdown",
    "jit",
    "rights",
    "memlock",
    "bpffs",
    "cgroup2",
    "others",
    "helpers",
    "known faults",
];
const BTF: &str = "/sys/kernel/btf/vmlinux";
const LIMIT: Duration = Duration::from_secs(20);

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|f| f["name"].as_str().unwrap()).collect()
}

fn found<'a>(list: &'a Value, name: &str) -> (&'a str, &'a str) {
    let list = list.as_array().expect("a list");
    let one = list.iter().find(|f| f["name"] == name);
    let one = one.unwrap_or_else(|| panic!("no {name} in {list:?}"));
    (
        one["verdict"].as_str().unwrap(),
        one["found"].as_str().unwrap(),
    )
}

/// Throw-away cgroups that are there now.
fn left(node: &Node) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.cgroup()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

/// Mounts below the directories that the proof mounts over; others come and go with other suites.
fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let lines = text.lines().filter(|line| line.contains(" /sys/fs/"));
    lines.map(str::to_owned).collect()
}

fn assert_untouched(node: &Node) {
    assert_eq!(left(node), Vec::<PathBuf>::new(), "cgroups");
    assert_eq!(node.text(), CONFLIST);
    assert!(!node.path("bpf/sockway").exists(), "pins");
    assert_eq!(fs::read_dir(node.path("bin")).unwrap().count(), 0, "binary");
}

#[test]
fn a_node_that_is_fit() {
    let node = needs!(Node::new("a_node_that_is_fit"));
    let mounts = mounts();
    let report = node.json(&["doctor"], 0);
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["version", "commit", "verdict", "reasons", "facts", "proof"]
    );
    assert_eq!(names(&report["facts"]), FACTS);
    let proof = &report["proof"];
    assert_eq!(names(&proof["steps"]), STEPS);
    for step in proof["steps"].as_array().unwrap() {
        assert_eq!(step["verdict"], "ok", "{step}");
    }
    assert_eq!(proof["offsets"].as_array().unwrap().len(), OFFSETS);
    let figure = |name: &str| proof["figures"][name].as_u64().unwrap();
    // 400 of the ping-pong, 1 MiB parked in messages of 16 KiB at least.
    assert!(figure("redirected_messages") > 400, "{proof}");
    assert!(figure("redirected_bytes") > 500_000, "{proof}");
    assert!(
        figure("backlog_messages") > 0 && figure("resumed") > 0,
        "{proof}"
    );
    assert!(figure("joined") >= 4, "{proof}");
    assert!(
        (65_536..16 << 20).contains(&figure("parked_bytes")),
        "{proof}"
    );

    // The same again, for a person, and with another limit.
    let said = node.run(&["doctor"], 0);
    assert!(said.contains("Sockway runs on this node"), "{said}");
    assert!(said.lines().count() < 40, "one screen: {said}");
    node.run(&["doctor", "--backlog-limit", "65536"], 0);
    assert_eq!(self::mounts(), mounts, "mounts");
    assert_untouched(&node);
}

#[test]
fn beside_an_installation_in_use() {
    let node = needs!(Node::new("beside_an_installation"));
    node.run(&["install"], 0);
    node.cni("ADD");
    let mut connection = Connection::open();
    let before = node.json(&["status"], 0);
    let mut doctor = node.sockway(&["doctor"]);
    let mut doctor = doctor.stdout(Stdio::null()).spawn().unwrap();
    while doctor.try_wait().unwrap().is_none() {
        connection.echo();
    }
    assert!(doctor.wait().unwrap().success());
    let after = node.json(&["status"], 0);
    assert_eq!(after["datapath"], before["datapath"], "programs in place");
    assert_eq!(
        after["figures"]["total"]["joined"], 1,
        "counters of its own"
    );
    assert_eq!(after["connections"], 1);
    drop(connection);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// The kernel's BTF with names changed, over the real one until dropped.
pub(crate) struct Btf(tempfile::NamedTempFile);

impl Btf {
    pub(crate) fn with(changes: &[(&str, &str)]) -> Self {
        let mut bytes = fs::read(BTF).unwrap();
        for (from, to) in changes {
            assert_eq!(from.len(), to.len());
            let whole = |name: &str| [b"\0", name.as_bytes(), b"\0"].concat();
            let (from_bytes, to_bytes) = (whole(from), whole(to));
            let at = bytes
                .windows(from_bytes.len())
                .position(|window| window == from_bytes);
            let at = at.unwrap_or_else(|| panic!("the BTF names no {from}"));
            bytes[at..at + to_bytes.len()].copy_from_slice(&to_bytes);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let none: Option<&str> = None;
        mount(Some(file.path()), BTF, none, MsFlags::MS_BIND, none).unwrap();
        Self(file)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Btf {
    fn drop(&mut self) {
        if let Err(e) = umount2(BTF, MntFlags::MNT_DETACH) {
            eprintln!("cannot take {} off {BTF}: {e}", self.0.path().display());
        }
    }
}

/// Refused by the doctor and by install, with the reason; forced all the same.
fn assert_refused(node: &Node, step: &str, part: &str) {
    let report = node.json(&["doctor"], 6);
    assert_eq!(report["verdict"], "failed");
    let (verdict, said) = found(&report["proof"]["steps"], step);
    assert_eq!(verdict, "failed");
    assert!(said.contains(part), "{said}");
    let said = node.run(&["install"], 6);
    for part in [part, "nothing was changed", "At risk", "--force"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_untouched(node);
}

#[test]
fn a_field_that_is_missing() {
    let node = needs!(Node::new("a_field_that_is_missing"));
    {
        let _btf = Btf::with(&[("snt_isn", "snt_isX")]);
        assert_refused(&node, "join", "SYN cannot be matched");
        let said = node.run(&["install", "--force"], 0);
        assert!(said.contains("At risk") && said.contains("SYN"), "{said}");
        // Forced, it does nothing, and does no harm.
        node.cni("ADD");
        Connection::open().echo();
        let status = node.json(&["status"], 0);
        assert_eq!(status["figures"]["total"]["joined"], 0);
        assert!(
            status["datapath"]["limits"][0]
                .as_str()
                .unwrap()
                .contains("SYN")
        );
    }
    // The limits are those of the programs in place, not of the BTF that is there now.
    let status = node.json(&["status"], 0);
    assert!(
        status["datapath"]["limits"][0]
            .as_str()
            .unwrap()
            .contains("SYN")
    );
    node.run(&["install"], 0);
    Connection::open().echo();
    assert_eq!(node.json(&["status"], 0)["figures"]["total"]["joined"], 1);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn fields_that_only_cost_something() {
    let node = needs!(Node::new("fields_that_only_cost"));
    for (name, changed, step, verdict) in [
        ("msg_tot_len", "msg_tot_leX", "drain", "ok"),
        ("copied_seq", "copied_seX", "drain", "limited"),
        ("f_flags", "f_flagX", "applications", "limited"),
    ] {
        let _btf = Btf::with(&[(name, changed)]);
        let report = node.json(&["doctor"], 0);
        let steps = &report["proof"]["steps"];
        assert_eq!(found(steps, step).0, verdict, "without {name}: {steps}");
        let lacking = report["proof"]["offsets"].as_array().unwrap();
        let lacking = lacking.iter().filter(|row| row[1].is_null()).count();
        assert!(lacking > 0, "without {name}");
        assert!(found(&report["facts"], "btf").1.contains(name));
        assert_eq!(report["verdict"], "limited");
    }
    assert_untouched(&node);
}

#[test]
fn a_kernel_that_is_not_what_its_btf_says() {
    let node = needs!(Node::new("a_kernel_that_is_not"));
    // As if the field that tells one socket from another were elsewhere.
    let btf = Btf::with(&[
        ("skc_cookie", "skc_cookiX"),
        ("skc_family", "skc_cookie"),
        ("skc_cookiX", "skc_family"),
    ]);
    assert_refused(&node, "redirect", "crossed lo");
    // The verifier that knows a pointer's type sees the lie, and is given programs that do without.
    let report = node.json(&["doctor"], 6);
    let (_, said) = found(&report["proof"]["steps"], "load");
    assert!(said.ends_with("by a helper"), "{said}");
    drop(btf);
    node.run(&["doctor"], 0);
}

#[test]
fn a_kernel_without_btf() {
    let node = needs!(Node::new("a_kernel_without_btf"));
    let directory = Path::new(BTF).parent().unwrap();
    let tmpfs = Some("tmpfs");
    mount(tmpfs, directory, tmpfs, MsFlags::empty(), None::<&str>).unwrap();
    let report = node.json(&["doctor"], 6);
    assert_eq!(found(&report["facts"], "btf").0, "failed");
    assert_refused(&node, "join", "not joined");
    umount2(directory, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_hook_that_somebody_else_holds() {
    let node = needs!(Node::new("a_hook_that_somebody"));
    let exclusive = Exclusive::attach(node.cgroup());
    let report = node.json(&["doctor"], 6);
    let (verdict, said) = found(&report["facts"], "others");
    assert_eq!(verdict, "failed");
    assert!(said.contains("sock_ops program"), "{said}");
    let said = node.run(&["install"], 1);
    for part in ["admits no other", "nothing was changed", "--cgroup"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_untouched(&node);
    drop(exclusive);
    let report = node.json(&["doctor"], 0);
    assert_eq!(found(&report["facts"], "others").0, "ok");
}

#[test]
fn places_that_are_not_there() {
    let node = needs!(Node::new("places_that_are_not_there"));
    let with = |variable: &str, value: &str| {
        let mut doctor = node.sockway(&["doctor", "-o", "json"]);
        let output = doctor.env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = with("SOCKWAY_BPFFS", "/tmp/no-bpffs/sockway");
    assert!(found(&report["facts"], "bpffs").1.contains("mount -t bpf"));
    assert_eq!(
        names(&report["proof"]["steps"]),
        STEPS,
        "on ground of its own"
    );
    let report = with("SOCKWAY_CGROUP", "/proc");
    assert!(found(&report["facts"], "cgroup2").1.contains("--cgroup"));
    assert_eq!(report["proof"], Value::Null);
    assert_untouched(&node);
}

#[test]
fn a_host_without_cgroup2() {
    let node = needs!(Node::new("a_host_without_cgroup2"));
    let root = sockway_datapath::host::find_cgroup2().unwrap().unwrap();
    // A cgroup v1 host: no cgroup2 mount in this command's mount namespace.
    let command = node.sockway(&["doctor", "--cgroup", "auto", "-o", "json"]);
    let mut unmounted = Command::new("unshare");
    unmounted
        .args(["--mount", "sh", "-c", "umount --lazy \"$0\" && exec \"$@\""])
        .arg(&root)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        unmounted.env(name, value.unwrap_or_default());
    }
    let output = unmounted.output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found(&report["facts"], "cgroup2").1.contains("not mounted"));
    assert_eq!(names(&report["proof"]["steps"]), STEPS);
}

#[test]
fn a_container_of_the_chart() {
    let node = needs!(Node::new("a_container_of_the_chart"));
    // Its capabilities, a cgroup namespace of its own, the host's hierarchy mounted read-only.
    let place = node.path("cgroup");
    fs::create_dir(&place).unwrap();
    let command = node.sockway(&["doctor", "-o", "json"]);
    let script = "mount --bind \"$0\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && \
        exec setpriv --bounding-set=-all,+bpf,+perfmon,+net_admin,+sys_admin \"$@\"";
    let mut container = Command::new("unshare");
    container
        .args(["--mount", "--cgroup", "sh", "-c", script])
        .args([node.cgroup(), &place])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        container.env(name, value.unwrap_or_default());
    }
    let output = container.env("SOCKWAY_CGROUP", &place).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(names(&report["proof"]["steps"]), STEPS, "{said}");
    assert_eq!(found(&report["facts"], "rights").0, "ok");
    assert_untouched(&node);
    // Without the one that namespaces take, it says so.
    let mut doctor = Command::new("setpriv");
    doctor
        .args(["--bounding-set=-sys_admin"])
        .arg(command.get_program());
    doctor.args(command.get_args());
    for (name, value) in command.get_envs() {
        doctor.env(name, value.unwrap_or_default());
    }
    let output = doctor.output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        found(&report["facts"], "rights")
            .1
            .contains("CAP_SYS_ADMIN")
    );
    let (_, said) = found(&report["proof"]["steps"], "scene");
    assert!(said.contains("CAP_SYS_ADMIN"), "{said}");
}

/// Waits for a throw-away cgroup with the exchange in it.
fn wait_for_exchange(node: &Node) -> PathBuf {
    let start = Instant::now();
    loop {
        for path in left(node) {
            if fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|p| !p.is_empty()) {
                return path;
            }
        }
        assert!(start.elapsed() < LIMIT, "no exchange");
        sleep(Duration::from_millis(1));
    }
}

fn wait_until_gone(node: &Node) {
    let start = Instant::now();
    while !left(node).is_empty() {
        assert!(start.elapsed() < LIMIT, "{:?} is left", left(node));
        sleep(Duration::from_millis(5));
    }
}

fn spawn(node: &Node) -> Child {
    let mut doctor = node.sockway(&["doctor"]);
    let doctor = doctor.stdout(Stdio::null()).stderr(Stdio::null());
    doctor.spawn().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// The first process of the proof: it is named in the cgroup's name.
fn scene_of(cgroup: &Path) -> Pid {
    let name = cgroup.file_name().unwrap().to_str().unwrap();
    let number = name.strip_prefix("sockway-doctor.").unwrap();
    Pid::from_raw(number.split('-').next().unwrap().parse().unwrap())
}

#[test]
fn killed_in_mid_proof() {
    let node = needs!(Node::new("killed_in_mid_proof"));
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut doctor = spawn(&node);
        wait_for_exchange(&node);
        kill(pid(&doctor), signal).unwrap();
        doctor.wait().unwrap();
        // The process that made the place takes it away.
        wait_until_gone(&node);
    }
    let mut doctor = spawn(&node);
    let cgroup = wait_for_exchange(&node);
    kill(scene_of(&cgroup), Signal::SIGKILL).unwrap();
    assert_eq!(doctor.wait().unwrap().code(), Some(6));
    let start = Instant::now();
    while fs::read_to_string(cgroup.join("cgroup.procs")).is_ok_and(|p| !p.is_empty()) {
        assert!(start.elapsed() < LIMIT, "the exchange lives on");
        sleep(Duration::from_millis(1));
    }
    assert_eq!(left(&node), [cgroup], "nobody was left to remove it");
    node.run(&["doctor"], 0);
    assert_untouched(&node);
}

#[test]
fn two_at_once() {
    let node = needs!(Node::new("two_at_once"));
    let mut both = [spawn(&node), spawn(&node)];
    for doctor in &mut both {
        assert!(doctor.wait().unwrap().success());
    }
    assert_untouched(&node);
}
