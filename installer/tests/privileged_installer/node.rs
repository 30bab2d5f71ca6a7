//! A node of the test's own: network and mount namespace, bpffs, cgroup, CNI directories.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use sockway_testkit::bpffs::{mount_at, private_mounts, unmount};
use sockway_testkit::cgroup;
use sockway_testkit::command::ip;
use sockway_testkit::netns::Netns;
use sockway_testkit::place::directories;
use sockway_testkit::ring::privileged;
use tempfile::TempDir;

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
        privileged(test)?;
        let mut node = Self::alone();
        let root = node.cgroup.parent().unwrap();
        node.home = Some(root.join(own_cgroup().trim_start_matches('/')));
        cgroup::enter(&node.cgroup).unwrap();
        Some(node)
    }

    /// A node without traffic of its own: several can be there at once, each on its thread.
    pub(crate) fn alone() -> Self {
        let root = sockway_datapath::host::find_cgroup2()
            .unwrap()
            .expect("a cgroup2 hierarchy");
        private_mounts().unwrap();
        let dir = tempfile::Builder::new()
            .prefix("sockway-node.")
            .tempdir()
            .unwrap();
        for name in ["bin", "net.d", "results", "netns"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        mount_at(&dir.path().join("bpf"), "bpf").unwrap();
        let pod = Netns::new(|| {
            ip("link set lo up")?;
            ip(&format!("address add {POD}/32 dev lo"))
        });
        POD_NETNS.set(Some(pod.unwrap()));
        // The node's own is another one: what runs in it must never pass for a pod.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up").unwrap();
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
            .envs(directories(
                self.dir.path(),
                &self.cgroup,
                &self.path("plugin.log"),
            ))
            .env("SOCKWAY_CNI_CACHE_DIR", self.path("results"))
            .env("SOCKWAY_NETNS_DIR", self.path("netns"))
            .env("SOCKWAY_CRIO_DIR", self.path("crio"))
            .env("SOCKWAY_PLUGIN", built_plugin())
            .env("SOCKWAY_SCOPE", "all")
            .stdin(Stdio::null());
        command
    }

    /// Runs it and asserts the exit code; hands back what it printed.
    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> String {
        let (stdout, stderr) = self.output(arguments, code);
        assert!(!stderr.contains("panicked"), "{stderr}");
        stdout + &stderr
    }

    /// Runs it with `-o json`.
    pub(crate) fn json(&self, arguments: &[&str], code: i32) -> Value {
        let (stdout, _) = self.output(&[arguments, &["-o", "json"]].concat(), code);
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"))
    }

    fn output(&self, arguments: &[&str], code: i32) -> (String, String) {
        let output = self.sockway(arguments).output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let said = format!("sockway {arguments:?}\n{stdout}\n{stderr}");
        assert_eq!(output.status.code(), Some(code), "{said}");
        (stdout, stderr)
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
        self.call_plugin(&variables, &config);
    }

    fn call_plugin(&self, variables: &[(&str, &str)], config: &Value) {
        let config = config.to_string();
        sockway_installer::cni::plugin::call(&self.plugin(), variables, config.as_bytes()).unwrap();
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
        self.call_plugin(&variables, &config);
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
        let home = self.home.as_deref().map_or(Ok(()), cgroup::enter);
        for done in [
            home,
            unmount(&self.path("bpf")),
            cgroup::remove(&self.cgroup),
        ] {
            if let Err(error) = done {
                eprintln!("clean-up: {error:#}");
            }
        }
    }
}

/// How often to do something: `full` times where `SOCKWAY_LONG=1` asks for the whole run.
pub(crate) fn repeat(short: usize, full: usize) -> usize {
    let long = std::env::var("SOCKWAY_LONG").as_deref() == Ok("1");
    if long { full } else { short }
}

thread_local! {
    /// The network namespace of the one pod of this thread's node.
    static POD_NETNS: RefCell<Option<Netns>> = const { RefCell::new(None) };
}

fn with_pod<T>(work: impl FnOnce(&Netns) -> T) -> T {
    POD_NETNS.with_borrow(|pod| work(pod.as_ref().unwrap()))
}

/// Runs something in the pod's network namespace; sockets that it opens stay there.
pub(crate) fn in_pod<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    with_pod(|pod| pod.within(|| Ok(run())).unwrap())
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
            netns: with_pod(Netns::path),
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
