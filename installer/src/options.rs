//! Options that several subcommands share. Each has an environment variable, for manifests and tests.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sockway_datapath::Pins;
use sockway_datapath::pins::DEFAULT_ROOT;

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
}

/// Where the runtime looks for plugins and their configuration.
#[derive(Args, Clone, Debug)]
pub struct CniArgs {
    /// Directory of the runtime's CNI plugins
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_CNI_BIN_DIR",
        default_value = "/opt/cni/bin"
    )]
    pub cni_bin_dir: PathBuf,

    /// Directory of the runtime's CNI configurations
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_CNI_CONF_DIR",
        default_value = "/etc/cni/net.d"
    )]
    pub cni_conf_dir: PathBuf,

    /// Name of the conflist in that directory; auto: the one that the runtime would load
    #[arg(long, value_name = "FILE", env = "SOCKWAY_CONF_NAME", default_value = "auto",
          value_parser = conf_name)]
    pub conf_name: String,

    /// Directory of CRI-O's configuration, which may choose a conflist by its network's name
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_CRIO_DIR",
        default_value = crate::runtime::CRIO_DIR
    )]
    pub crio_dir: PathBuf,
}

impl CniArgs {
    /// Everything in one directory, the conflist found by itself.
    pub fn under(directory: &Path) -> Self {
        Self {
            cni_bin_dir: directory.to_owned(),
            cni_conf_dir: directory.to_owned(),
            conf_name: "auto".to_owned(),
            crio_dir: directory.join("crio"),
        }
    }

    /// The conflist's name, where one was given.
    pub fn conf_name(&self) -> Option<&str> {
        (self.conf_name != "auto").then_some(&self.conf_name)
    }

    /// Where the plugin's binary goes.
    pub fn plugin_path(&self) -> PathBuf {
        self.cni_bin_dir.join(crate::conflist::PLUGIN_TYPE)
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

/// Formats of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person.
    Text,
    /// One JSON document.
    Json,
}

fn conf_name(word: &str) -> Result<String, String> {
    if word.is_empty() || word.contains('/') {
        return Err("the name of a file in --cni-conf-dir, without a directory".to_owned());
    }
    Ok(word.to_owned())
}
