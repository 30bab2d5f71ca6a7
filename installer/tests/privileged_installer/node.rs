//! A node of the test's own: network and mount namespace, bpffs, cgroup, CNI directories.

use std::cell::RefCell;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Pid, Uid, getpid, gettid};
use serde_json::{Value, json};
use tempfile::TempDir;

const NONE: Option<&str> = None;
const RING: &str = "SOCKWAY_PRIVILEGED";
/// The address of the one pod.
pub(crate) const POD: &str = "10.9.0.1";
/// What the main CNI plugin left.
pub(crate) const CONFLIST: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "terway-chainer",
  "plugins": [
    {
      "type": "terway",
      "unknown": { "number": 1.50, "text": "\u00e9" }
    }
  ]
}
"#;

/// Everything that one test changes; gone when dropped.
pub(crate) struct Node {
    dir: TempDir,
    cgroup: PathBuf,
    /// The cgroup to go back to, where this process was moved into the node's.
    home: Option<PathBuf>,
}

impl Node {
    /// `None`, with the reason printed, where the privileged ring does not run.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if std::env::var(RING).as_deref() != Ok("1") {
            eprintln!("{test}: not run: needs root and the real programs; set {RING}=1 to run it");
            return None;
        }
        assert!(Uid::effective().is_root(), "{test}: {RING}=1 needs root");
        let mut node = Self::alone();
        let root = node.cgroup.parent().unwrap();
        node.home = Some(root.join(own_cgroup().trim_start_matches('/')));
        move_to(&node.cgroup, getpid());
        Some(node)
    }

    /// A node without traffic of its own: several can be there at once, each on its thread.
    pub(crate) fn alone() -> Self {
        let root = sockway_datapath::host::find_cgroup2()
            .unwrap()
            .expect("a cgroup2 hierarchy");
        // Only this thread, and what it starts, sees the mount and the network.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        let dir = tempfile::Builder::new()
            .prefix("sockway-node.")
            .tempdir()
            .unwrap();
        for name in ["bpf", "bin", "net.d", "results", "netns"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        mount(
            Some("bpf"),
            &dir.path().join("bpf"),
            Some("bpf"),
            MsFlags::empty(),
            NONE,
        )
        .unwrap();
        ip(&["link", "set", "lo", "up"]);
        ip(&["address", "add", &format!("{POD}/32"), "dev", "lo"]);
        let pod = fs::File::open("/proc/thread-self/ns/net").unwrap();
        POD_NETNS.set(Some(pod));
        // The node's own is another one: what runs in it must never pass for a pod.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip(&["link", "set", "lo", "up"]);
        let cgroup = root.join(dir.path().file_name().unwrap());
        fs::create_dir(&cgroup).unwrap();
        let home = None;
        let node = Self { dir, cgroup, home };
        fs::write(node.conflist(), CONFLIST).unwrap();
        node
    }

    /// Where the programs are attached.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn conflist(&self) -> PathBuf {
        self.path("net.d/10-terway.conflist")
    }

    pub(crate) fn plugin(&self) -> PathBuf {
        self.path("bin/sockway-cni")
    }

    pub(crate) fn pins(&self) -> sockway_datapath::Pins {
        sockway_datapath::Pins::new(self.path("bpf/sockway"))
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.conflist()).unwrap()
    }

    pub(crate) fn has_entry(&self) -> bool {
        self.text().contains("sockway-cni")
    }

    /// The command with every directory set to this node's.
    pub(crate) fn sockway(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built_sockway());
        command
            .args(arguments)
            .env("SOCKWAY_BPFFS", self.path("bpf/sockway"))
            .env("SOCKWAY_CNI_BIN_DIR", self.path("bin"))
            .env("SOCKWAY_CNI_CONF_DIR", self.path("net.d"))
            .env("SOCKWAY_CNI_CACHE_DIR", self.path("results"))
            .env("SOCKWAY_NETNS_DIR", self.path("netns"))
            .env("SOCKWAY_CGROUP", &self.cgroup)
            .env("SOCKWAY_RUN_DIR", self.path("run"))
            .env("SOCKWAY_STATE_DIR", self.path("state"))
            .env("SOCKWAY_STATE_DIR", self.path("state"))
            .env("SOCKWAY_CRIO_DIR", self.path("crio"))
            .env("SOCKWAY_PLUGIN", built_plugin())
            .env("SOCKWAY_SCOPE", "all")
            .env("SOCKWAY_LOG_FILE", self.path("plugin.log"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it and asserts the exit code; hands back what it printed.
    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.sockway(arguments).output().unwrap();
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        assert_eq!(
            status.code(),
            Some(code),
            "sockway {arguments:?}\n{stdout}\n{stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
        stdout + &stderr
    }

    /// Runs it with `-o json`.
    pub(crate) fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self
            .sockway(arguments)
            .args(["-o", "json"])
            .output()
            .unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            output.status.code(),
            Some(code),
            "sockway {arguments:?}\n{stdout}\n{stderr}"
        );
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"))
    }

    /// Calls the installed plugin as a runtime does, for the pod that is this thread.
    pub(crate) fn cni(&self, verb: &str) {
        self.call(verb, &Attachment::own());
    }

    /// Calls the installed plugin as a runtime does.
    pub(crate) fn call(&self, verb: &str, pod: &Attachment) {
        self.call_with(verb, pod, &self.text());
    }

    fn call_with(&self, verb: &str, pod: &Attachment, list: &str) {
        let list: Value = serde_json::from_str(list).unwrap_or_default();
        let plugins = list["plugins"].as_array().into_iter().flatten();
        let mut config = plugins
            .clone()
            .find(|p| p["type"] == "sockway-cni")
            .cloned()
            .unwrap_or_else(|| json!({ "type": "sockway-cni", "bpffs": self.path("bpf/sockway") }));
        config["cniVersion"] = json!("0.4.0");
        config["name"] = json!("terway-chainer");
        config["prevResult"] = pod.result();
        let variables = [
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", pod.id.clone()),
            ("CNI_NETNS", pod.netns.clone()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", "/opt/cni/bin".to_owned()),
            (
                "CNI_ARGS",
                format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={}", pod.name),
            ),
        ];
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let config = config.to_string();
        sockway_installer::cni::plugin::call(&self.plugin(), &variables, config.as_bytes())
            .unwrap();
    }

    /// Calls the installed plugin as a runtime does that reads the list in effect: not where that has no
    /// entry. DEL comes from what the runtime kept, whatever the list says by now.
    pub(crate) fn call_as_listed(&self, verb: &str, pod: &Attachment) {
        // The first by name; multus has a copy of the list in its own.
        let multus = fs::read_to_string(self.path("net.d/00-multus.conf")).unwrap_or_default();
        let listed = serde_json::from_str::<Value>(&multus)
            .map(|file| file["delegates"][0].to_string())
            .or_else(|_| fs::read_to_string(self.conflist()))
            .unwrap_or_default();
        if verb == "DEL" || listed.contains("sockway-cni") {
            self.call_with(verb, pod, &listed);
        }
    }

    /// Calls GC, with the attachments that are to stay.
    pub(crate) fn collect_garbage(&self, valid: &[Value]) {
        let config = json!({
            "cniVersion": "1.1.0", "name": "terway-chainer", "type": "sockway-cni",
            "bpffs": self.path("bpf/sockway"), "logFile": self.path("plugin.log"),
            "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid,
        });
        let variables = [("CNI_COMMAND", "GC"), ("CNI_PATH", "/opt/cni/bin")];
        let config = config.to_string();
        sockway_installer::cni::plugin::call(&self.plugin(), &variables, config.as_bytes())
            .unwrap();
    }

    /// Notes the pod that is this thread in the cache, as libcni does.
    pub(crate) fn cache_pod(&self) {
        self.cache(&Attachment::own());
    }

    /// Where libcni notes an attachment.
    pub(crate) fn cached(&self, pod: &Attachment) -> PathBuf {
        let Attachment { id, .. } = pod;
        self.path(&format!("results/terway-chainer-{id}-eth0"))
    }

    /// Notes a pod in the cache, as libcni does.
    pub(crate) fn cache(&self, pod: &Attachment) {
        let cached = json!({
            "kind": "cniCacheV1",
            "containerId": pod.id,
            "config": "",
            "ifName": "eth0",
            "networkName": "terway-chainer",
            "netns": pod.netns,
            "cniArgs": [["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", pod.name]],
            "result": pod.result(),
        });
        fs::write(self.cached(pod), cached.to_string()).unwrap();
    }

    /// Asserts that nothing but what `kept` names is left of an installation.
    pub(crate) fn assert_gone(&self, kept: &[&str]) {
        assert_eq!(
            self.text(),
            CONFLIST,
            "the conflist is as it was, byte for byte"
        );
        assert!(!self.path("bpf/sockway").exists(), "pins");
        assert!(!self.path("run").exists(), "run directory");
        let mut left = Vec::new();
        for directory in ["bin", "net.d"] {
            for entry in fs::read_dir(self.path(directory)).unwrap() {
                left.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
        left.retain(|name| name != "10-terway.conflist" && !kept.contains(&name.as_str()));
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Errors here would hide the test's own: they are printed.
        if let Some(home) = &self.home {
            move_to(home, getpid());
        }
        if let Err(e) = nix::mount::umount2(&self.path("bpf"), nix::mount::MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {e}", self.path("bpf").display());
        }
        for _ in 0..50 {
            match fs::remove_dir(&self.cgroup) {
                Ok(()) => return,
                // Processes that just ended are still counted for a moment.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
        eprintln!("cannot remove {}", self.cgroup.display());
    }
}

/// How often to do something: `full` times where `SOCKWAY_LONG=1` asks for the whole run.
pub(crate) fn repeat(short: usize, full: usize) -> usize {
    let long = std::env::var("SOCKWAY_LONG").as_deref() == Ok("1");
    if long { full } else { short }
}

thread_local! {
    /// The network namespace of the one pod of this thread's node.
    static POD_NETNS: RefCell<Option<fs::File>> = const { RefCell::new(None) };
}

/// Runs something in the pod's network namespace; sockets that it opens stay there.
pub(crate) fn in_pod<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let pod = POD_NETNS.with_borrow(|pod| pod.as_ref().unwrap().try_clone().unwrap());
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            setns(&pod, CloneFlags::CLONE_NEWNET).unwrap();
            run()
        });
        inside.join().unwrap()
    })
}

/// A path to the pod's network namespace.
fn pod_netns() -> String {
    let fd = POD_NETNS.with_borrow(|pod| pod.as_ref().unwrap().as_raw_fd());
    format!("/proc/{}/fd/{fd}", getpid())
}

/// The network namespace of this thread.
pub(crate) fn netns() -> String {
    format!("/proc/{}/task/{}/ns/net", getpid(), gettid())
}

/// What a runtime knows of a pod's interface.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) netns: String,
    pub(crate) ip: String,
}

impl Attachment {
    /// The one pod of the node.
    pub(crate) fn own() -> Self {
        Self {
            id: "c0ffee".to_owned(),
            name: "cart-0".to_owned(),
            netns: pod_netns(),
            ip: POD.to_owned(),
        }
    }

    fn result(&self) -> Value {
        json!({
            "cniVersion": "0.4.0",
            "interfaces": [{ "name": "eth0", "sandbox": self.id }],
            "ips": [{ "version": "4", "address": format!("{}/32", self.ip), "interface": 0 }],
        })
    }
}

fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/")
        .to_owned()
}

fn move_to(cgroup: &Path, pid: Pid) {
    if let Err(e) = fs::write(cgroup.join("cgroup.procs"), pid.to_string()) {
        eprintln!("cannot move into {}: {e}", cgroup.display());
    }
}

pub(crate) fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The command: as `SOCKWAY_BIN` names it (a release build), or as it was built for this test.
pub(crate) fn built_sockway() -> PathBuf {
    released().unwrap_or_else(|| env!("CARGO_BIN_EXE_sockway").into())
}

/// The release build, where the bars for it are to be held.
pub(crate) fn released() -> Option<PathBuf> {
    std::env::var_os("SOCKWAY_BIN").map(PathBuf::from)
}

/// The plugin that was built beside the command; built now where it was not.
fn built_plugin() -> PathBuf {
    let path = built_sockway().with_file_name("sockway-cni");
    if !path.exists() {
        let target = path.parent().and_then(Path::parent).unwrap();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--package", "sockway-cni", "--target-dir"])
            .arg(target)
            .status()
            .unwrap();
        assert!(status.success(), "cannot build sockway-cni");
    }
    path
}
