//! Options that several subcommands share. Each has an environment variable, for manifests and tests.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sockway_datapath::Pins;
use sockway_datapath::pins::DEFAULT_ROOT;

use crate::ui;

/// Where the maps are pinned.
#[derive(Args, Clone, Debug)]
pub struct PinArgs {
    /// Directory in a BPF file system under which programs and maps are pinned
    #[arg(long, value_name = "DIR", env = "SOCKWAY_BPFFS", default_value = DEFAULT_ROOT)]
    pub bpffs: PathBuf,
}

impl PinArgs {
    /// The pins under the directory.
    pub fn pins(&self) -> Pins {
        Pins::new(&self.bpffs)
    }

    /// The same where something is pinned; says so where nothing is.
    pub fn installed(&self) -> Option<Pins> {
        let pins = self.pins();
        if pins.dir().exists() {
            return Some(pins);
        }
        self.say_not_installed();
        None
    }

    /// Says that nothing is pinned.
    pub fn say_not_installed(&self) {
        let at = self.bpffs.display();
        log::error!("nothing is pinned in {at}: run `sockway install`");
    }
}

/// Where the programs are attached.
#[derive(Args, Clone, Debug)]
pub struct CgroupArgs {
    /// cgroup2 directory to attach to; auto: the root of the hierarchy, mounted privately where it is not mounted
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_CGROUP",
        default_value = "auto"
    )]
    pub cgroup: PathBuf,
}

impl CgroupArgs {
    /// The directory, where one was given.
    pub fn given(&self) -> Option<&Path> {
        (self.cgroup != Path::new("auto")).then_some(&self.cgroup)
    }
}

/// Where things are kept that outlive a boot.
#[derive(Args, Clone, Debug)]
pub struct StateDirArgs {
    /// Directory for what outlives a reboot: whether the node is switched off
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_STATE_DIR",
        default_value = "/var/lib/sockway"
    )]
    pub state_dir: PathBuf,
}

/// Where things are kept that live until the next boot.
#[derive(Args, Clone, Debug)]
pub struct RunDirArgs {
    /// Directory for the private cgroup2 mount and the lock of `sockway run`
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_RUN_DIR",
        default_value = "/run/sockway"
    )]
    pub run_dir: PathBuf,
}

impl RunDirArgs {
    /// Where cgroup2 is mounted on hosts that have no such mount.
    pub fn private_cgroup(&self) -> PathBuf {
        self.run_dir.join("cgroup2")
    }
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// For a person, or for a program
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        env = "SOCKWAY_OUTPUT",
        default_value = "text"
    )]
    pub output: Output,
}

impl OutputArgs {
    /// Prints a result as it was asked for.
    pub fn print(self, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        match self.output {
            Output::Json => ui::print_json(result),
            Output::Text => ui::print(&text()),
        }
    }
}

/// Formats of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person.
    Text,
    /// One JSON document.
    Json,
}
