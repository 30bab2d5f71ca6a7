//! A containerd of the run's own: directories, configuration, process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sockway_testkit::command::Run;

use super::image;
use crate::cri::Client;
use crate::node::Node;
use crate::tools::on_path;

/// How long it may take until it serves, or until it has ended.
const PATIENCE: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(20);
/// Lines of its log that an error shows.
const TAIL: usize = 12;

/// containerd; ends with the world at the latest.
#[derive(Debug)]
pub(super) struct Daemon {
    dir: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one that finds plugins and networks where `node` has them.
    pub(super) fn start(node: &Node) -> Result<Self> {
        on_path("runc")?;
        let dir = node.path("containerd");
        fs::create_dir_all(dir.join("tmp")).context("create containerd's directory")?;
        let mut daemon = Self { dir, child: None };
        fs::write(daemon.dir.join("config.toml"), daemon.config(node)).context("configure")?;
        daemon.launch()?;
        image::import(node, &daemon.dir, &daemon.socket())?;
        let client = daemon.wait()?;
        let started = Instant::now();
        while !client.has_image(image::NAME)? {
            if started.elapsed() > PATIENCE {
                bail!("the pause image was imported, but CRI does not know it");
            }
            thread::sleep(TICK);
        }
        Ok(daemon)
    }

    /// Ends it on the spot, as the kernel does when memory is short.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("kill containerd")?;
            child.wait().context("wait for containerd")?;
        }
        Ok(())
    }

    /// Ends it as a service manager does; pods live on.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = i32::try_from(child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("stop containerd")?;
        let started = Instant::now();
        while child.try_wait().context("wait for containerd")?.is_none() {
            if started.elapsed() > PATIENCE {
                child.kill().context("kill containerd")?;
                child.wait().context("wait for containerd")?;
                bail!("containerd did not stop in {} s", PATIENCE.as_secs());
            }
            thread::sleep(TICK);
        }
        Ok(())
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
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        let log = log.context("open containerd's log")?;
        let child = Command::new(on_path("containerd")?)
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .env("TMPDIR", self.dir.join("tmp"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("dup")?)
            .stderr(log)
            .spawn()
            .context("start containerd")?;
        self.child = Some(child);
        let started = Instant::now();
        while self.client().and_then(|client| client.version()).is_err() {
            self.still_running(started)?;
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Waits until runtime and network are ready.
    fn wait(&mut self) -> Result<Client> {
        let client = self.client()?;
        let started = Instant::now();
        while let Some(why) = client.not_ready()? {
            self.still_running(started).context(why)?;
            thread::sleep(TICK);
        }
        Ok(client)
    }

    fn still_running(&mut self, since: Instant) -> Result<()> {
        let ended = self
            .child
            .as_mut()
            .map(Child::try_wait)
            .transpose()
            .context("wait")?
            .flatten();
        if ended.is_none() && since.elapsed() < PATIENCE {
            return Ok(());
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        bail!(
            "containerd does not serve ({ended:?}):\n{}",
            tail.join("\n")
        );
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
