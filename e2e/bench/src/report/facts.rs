//! Where and with what a run was made.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sockway_testkit::command::Run;
use sockway_testkit::mesh::tools::Tools;

use crate::stage;

/// Machine, versions, command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    machine: String,
    kernel: String,
    envoy: String,
    fortio: String,
    revision: String,
    command: String,
    rounds: u32,
    millis: u64,
    concurrency: u32,
    /// Load average of the last minute when the run ended.
    load: String,
}

impl Facts {
    pub(super) fn gather(rounds: u32, millis: u64, concurrency: u32) -> Result<Self> {
        let envoy = Run::new(Tools::find()?.envoy).arg("--version").output()?;
        let fortio = Run::new(stage::fortio()?).arg("version").output()?;
        let revision = Run::new("git")
            .args(["describe", "--always", "--dirty"])
            .output();
        let command: Vec<String> = std::env::args().skip(1).collect();
        Ok(Self {
            machine: machine(),
            kernel: read("/proc/sys/kernel/osrelease"),
            envoy: version(&envoy),
            fortio: version(&fortio),
            revision: revision.unwrap_or_default().trim().to_owned(),
            command: format!("make bench ARGS=\"{}\"", command.join(" ")),
            rounds,
            millis,
            concurrency,
            load: word(&read("/proc/loadavg"), 0),
        })
    }

    /// In sentences.
    pub(super) fn sentence(&self) -> String {
        let Self {
            machine,
            kernel,
            envoy,
            fortio,
            revision,
            command,
            rounds,
            millis,
            concurrency,
            load,
        } = self;
        format!(
            "`{command}` at {revision}: {rounds} rounds, {millis} ms for each measurement, modes in turn. \
             {machine}, load average {load} at the end; kernel {kernel}, Envoy {envoy} with {concurrency} workers, fortio {fortio}."
        )
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn word(text: &str, index: usize) -> String {
    text.split_whitespace()
        .nth(index)
        .unwrap_or_default()
        .to_owned()
}

/// The number in what `--version` prints.
fn version(text: &str) -> String {
    let parts = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let mut numbers = parts.filter(|part| part.matches('.').count() == 2 && !part.starts_with('.'));
    numbers.next().unwrap_or("unknown").to_owned()
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let kind = if field("flags").contains("hypervisor") {
        "virtual machine"
    } else {
        "machine"
    };
    format!("{cpus} CPUs ({}), {kind}", field("model name"))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_found() {
        assert_eq!(
            version("envoy  version: abc12/1.40.0/Clean/RELEASE"),
            "1.40.0"
        );
        assert_eq!(version("1.66.5\n"), "1.66.5");
        assert_eq!(version("none"), "unknown");
    }
}
