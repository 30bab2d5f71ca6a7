//! A containerd of the run's own: directories, configuration, process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sockway_testkit::command::Run;
use sockway_testkit::place::Place;
use sockway_testkit::process::Process;

use super::image;
use crate::cri::Client;
use crate::node::Node;
use crate::tools::on_path;

/// How long it may take until it serves, or until it has ended.
const PATIENCE: Duration = Duration::from_mins(1);

/// containerd; ends with the world at the latest.
#[derive(Debug)]
pub(super) struct Daemon {
    dir: PathBuf,
    process: Option<Process>,
}

impl Daemon {
    /// Starts one that finds plugins and networks where `node` has them.
    pub(super) fn start(node: &Node) -> Result<Self> {
        on_path("runc")?;
        let dir = node.path("containerd");
        fs::create_dir_all(dir.join("tmp")).context("create containerd's directory")?;
        let mut daemon = Self { dir, process: None };
        fs::write(daemon.dir.join("config.toml"), daemon.config(node)).context("configure")?;
        daemon.launch()?;
        image::import(node, &daemon.dir, &daemon.socket())?;
        let client = daemon.wait()?;
        daemon.until("knows the pause image", || client.has_image(image::NAME))?;
        Ok(daemon)
    }

    /// Ends it on the spot, as the kernel does when memory is short.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::kill)
    }

    /// Ends it as a service manager does; pods live on.
    pub(super) fn stop(&mut self) -> Result<()> {
        let end = |process: Process| process.end(PATIENCE).map(drop);
        self.process.take().map_or(Ok(()), end)
    }

    /// Starts it again and connects.
    pub(super) fn restart(&mut self) -> Result<Client> {
        self.launch()?;
        self.wait()
    }

    /// A connection of the caller's own.
    pub(super) fn client(&self) -> Result<Client> {
        Client::connect(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    fn launch(&mut self) -> Result<()> {
        let words = [
            format!("TMPDIR={}", self.dir.join("tmp").display()),
            on_path("containerd")?.display().to_string(),
            "--config".to_owned(),
            self.dir.join("config.toml").display().to_string(),
        ];
        let (here, env) = (Place::default(), Path::new("env"));
        self.process = Some(Process::start("containerd", &self.dir, &here, env, &words)?);
        let socket = self.socket();
        let serves = || Client::connect(&socket).and_then(|client| client.version());
        self.until("serves", || Ok(serves().is_ok()))
    }

    /// Waits until runtime and network are ready.
    fn wait(&mut self) -> Result<Client> {
        let client = self.client()?;
        self.until("is ready", || Ok(client.not_ready()?.is_none()))
            .with_context(|| format!("{:?}", client.not_ready()))?;
        Ok(client)
    }

    fn until(&mut self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let process = self.process.as_mut().context("containerd does not run")?;
        process.wait_within(PATIENCE, what, |_| holds())
    }

    fn config(&self, node: &Node) -> String {
        let dir = self.dir.display();
        let (bin, conf) = (node.path("bin"), node.path("net.d"));
        format!(
            r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
temp = "{dir}/tmp"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{bin}"
    conf_dir = "{conf}"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#,
            image = image::NAME,
            bin = bin.display(),
            conf = conf.display(),
        )
    }
}

/// The newest version of the specification that the installed containerd takes.
pub(super) fn cni_version() -> Result<&'static str> {
    let text = Run::new(on_path("containerd")?).arg("--version").output()?;
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    // 1.x has libcni 1.1, which refuses the whole list.
    let old = version.trim_start_matches('v').starts_with("1.");
    Ok(if old { "1.0.0" } else { "1.1.0" })
}

/// Versions of what runs, for the record.
pub(super) fn versions(client: &Client) -> Result<String> {
    let runc = Run::new(on_path("runc")?).arg("--version").output()?;
    let runc = runc.lines().next().unwrap_or_default();
    Ok(format!("{}, {runc}", client.version()?))
}
