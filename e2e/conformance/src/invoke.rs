//! One call of a plugin's own process, with as little around it as can be.

use std::fs::File;
use std::io::{Seek, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What a call is made of, but for the verb.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) container: String,
    pub(crate) netns: PathBuf,
    /// Holds the configuration: a file, so that no pipe is waited for.
    stdin: File,
}

impl Invocation {
    pub(crate) fn new(program: &Path, container: &str, netns: &Path, conf: &Value) -> Result<Self> {
        let stdin = memory_file(conf.to_string())?;
        Ok(Self {
            program: program.to_owned(),
            container: container.to_owned(),
            netns: netns.to_owned(),
            stdin,
        })
    }

    /// The process, not started; what it prints goes to `stdout`.
    pub(crate) fn command(&self, verb: &str, stdout: Stdio) -> Result<Command> {
        let mut stdin = self.stdin.try_clone().context("dup")?;
        stdin.rewind().context("rewind")?;
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_IFNAME", "eth0")
            .env(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0",
            )
            .env("CNI_PATH", self.program.parent().unwrap_or(Path::new("/")))
            // The reference plugins run iptables.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::null());
        Ok(command)
    }

    /// Runs it; the time from before its start to after its end.
    pub(crate) fn run(&self, verb: &str) -> Result<Duration> {
        let mut command = self.command(verb, Stdio::null())?;
        let started = Instant::now();
        let status = command.status().context("start the plugin")?;
        let took = started.elapsed();
        self.expect_success(verb, status)?;
        Ok(took)
    }

    pub(crate) fn expect_success(&self, verb: &str, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!(
                "{} {verb} of {}: {status}",
                self.program.display(),
                self.container
            );
        }
        Ok(())
    }
}

/// A result of an attachment with these addresses, in the form of 1.0.0.
pub(crate) fn result(netns: &Path, addresses: &[IpAddr]) -> Value {
    let ips: Vec<_> = addresses
        .iter()
        .map(|ip| {
            let length = if ip.is_ipv4() { 16 } else { 64 };
            json!({ "interface": 0, "address": format!("{ip}/{length}") })
        })
        .collect();
    json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "eth0", "sandbox": netns, "mac": "02:00:00:00:00:01" }],
        "ips": ips,
        "dns": {},
    })
}

/// A file in memory with this in it, to be a program's standard input.
pub(crate) fn memory_file(bytes: impl AsRef<[u8]>) -> Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let mut file: File = memfd_create("stdin", MFdFlags::MFD_CLOEXEC)
        .context("make a file for standard input")?
        .into();
    file.write_all(bytes.as_ref())
        .and_then(|()| file.rewind())
        .context("write standard input")?;
    Ok(file)
}
