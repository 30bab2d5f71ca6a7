//! Runs the built plugin as a runtime does.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A call that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// A bpffs that nobody has.
pub(crate) const NO_BPFFS: &str = "/nonexistent/bpffs";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Success without output.
    #[track_caller]
    pub(crate) fn silent(&self) {
        assert_eq!((self.status, self.stdout.as_str()), (0, ""), "{self:?}");
    }

    /// Success with exactly this output.
    #[track_caller]
    pub(crate) fn says(&self, stdout: &str) {
        assert_eq!((self.status, self.stdout.as_str()), (0, stdout), "{self:?}");
    }

    /// A CNI error; hands its details back.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, version: &str, part: &str) -> String {
        assert_eq!(self.status, code, "{self:?}");
        let value: Value = serde_json::from_str(&self.stdout).expect("an error document");
        assert_eq!(value["code"], code, "{self:?}");
        assert_eq!(value["cniVersion"], version, "{self:?}");
        assert!(
            value["msg"].as_str().is_some_and(|msg| !msg.is_empty()),
            "{self:?}"
        );
        let details = value["details"].as_str().expect("details").to_owned();
        assert!(details.contains(part), "{part:?} not in {details:?}");
        details
    }

    /// The one line of the call in the log, at a level; empty for any.
    #[track_caller]
    pub(crate) fn logs(&self, level: &str, part: &str) {
        let lines: Vec<_> = self
            .stderr
            .lines()
            .filter(|line| line.contains(" ms="))
            .collect();
        assert_eq!(lines.len(), 1, "{self:?}");
        assert!(
            level.is_empty() || lines[0].contains(&format!("[{level}]")),
            "{self:?}"
        );
        assert!(lines[0].contains(part), "{part:?} not in {self:?}");
    }
}

/// A call in the making.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
}

impl Call {
    /// A verb with every variable that a runtime sets, and a configuration.
    pub(crate) fn new(verb: &str, conf: &Value) -> Self {
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "Container-1.a_b"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/nonexistent/netns"),
            (
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0",
            ),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        let env = env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Self {
            env,
            stdin: conf.to_string().into_bytes(),
        }
    }

    /// Sets a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a variable out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.retain(|(key, _)| key != name);
        self
    }

    /// Other bytes on standard input.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs it.
    pub(crate) fn run(&self) -> Answer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sockway-cni"))
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the plugin");
        let mut stdin = child.stdin.take().expect("its standard input");
        let bytes = self.stdin.clone();
        let writer = spawn(move || stdin.write_all(&bytes));
        let mut pipes = (child.stdout.take(), child.stderr.take());
        let read = spawn(move || {
            let (mut stdout, mut stderr) = (String::new(), String::new());
            pipes
                .0
                .as_mut()
                .map(|pipe| pipe.read_to_string(&mut stdout));
            pipes
                .1
                .as_mut()
                .map(|pipe| pipe.read_to_string(&mut stderr));
            (stdout, stderr)
        });
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait for the plugin") {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill().expect("kill a plugin that hangs");
                panic!("the plugin hangs: {self:?}");
            }
            sleep(Duration::from_micros(500));
        };
        // A plugin that does not read all of it breaks the pipe: its right.
        let _: Option<()> = writer.join().expect("the writer").ok();
        let (stdout, stderr) = read.join().expect("the reader");
        Answer {
            status: status.code().expect("an exit status"),
            stdout,
            stderr,
        }
    }
}

/// A configuration as libcni hands it to the last plugin of a chain.
pub(crate) fn conf(version: &str, bpffs: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": "terway-chainer",
        "type": "sockway-cni",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "bpffs": bpffs,
        "logFile": "",
        "prevResult": result(version, &["10.0.0.7/24", "fd00::7/64"]),
    })
}

/// A result as terway writes it.
pub(crate) fn result(version: &str, ips: &[&str]) -> Value {
    let ips: Vec<_> = ips
        .iter()
        .map(|ip| json!({"interface": 0, "address": ip}))
        .collect();
    json!({
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "sandbox": "0123456789abcdef"}],
        "ips": ips,
        "dns": {},
        "ourselves": "do not know this",
    })
}

/// Sets a key of a configuration.
pub(crate) fn set(mut conf: Value, key: &str, value: Value) -> Value {
    conf.as_object_mut()
        .expect("an object")
        .insert(key.to_owned(), value);
    conf
}

/// Takes a key out of a configuration.
pub(crate) fn unset(mut conf: Value, key: &str) -> Value {
    conf.as_object_mut().expect("an object").remove(key);
    conf
}
