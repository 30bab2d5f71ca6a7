//! The pause image: this program, which under the name of `pause` does nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sockway_oci::{Image, Layer, architecture};
use sockway_testkit::command::Run;

use crate::node::Node;
use crate::tools::on_path;

/// The image's name; no registry has it.
pub(super) const NAME: &str = "sockway.local/pause:1";

/// Packs the image and hands it to containerd.
pub(super) fn import(node: &Node, dir: &Path, socket: &Path) -> Result<()> {
    if cfg!(target_env = "gnu") && !cfg!(target_feature = "crt-static") {
        bail!(
            "this program is the pause image, which has no libc: build it static, with `cargo xtask build`"
        );
    }
    let layer = Layer::new().program("pause", &node.tools.this);
    let archive = dir.join("image.tar");
    let image = Image::new(architecture(), layer, &["/pause"]);
    sockway_oci::write(&archive, NAME, 0, &[image])?;
    Run::new(on_path("ctr")?)
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import", "--no-unpack"])
        .arg(&archive)
        .done()?;
    fs::remove_file(&archive).context("remove the image's archive")
}
