//! Where CNI's parts are on the node, as options.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{conflist, crio};

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
        default_value = crio::CRIO_DIR
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
        self.cni_bin_dir.join(conflist::PLUGIN_TYPE)
    }
}

fn conf_name(word: &str) -> Result<String, String> {
    if word.is_empty() || word.contains('/') {
        return Err("the name of a file in --cni-conf-dir, without a directory".to_owned());
    }
    Ok(word.to_owned())
}
