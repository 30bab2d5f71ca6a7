//! The pause image: this program, which under the name of `pause` does nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
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
    let work = dir.join("image");
    fs::create_dir_all(work.join("layer")).context("create the image's directory")?;
    let pause = work.join("layer/pause");
    fs::copy(&node.tools.this, &pause).context("copy the pause program")?;
    fs::set_permissions(&pause, fs::Permissions::from_mode(0o755)).context("chmod")?;
    tar(&work.join("layer.tar"), &work.join("layer"), &["pause"])?;
    let sum = Run::new("sha256sum").arg(work.join("layer.tar")).output()?;
    let sum = sum.split(' ').next().context("a checksum")?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": ["/pause"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"] }]);
    fs::write(work.join("config.json"), config.to_string()).context("write the image")?;
    fs::write(work.join("manifest.json"), manifest.to_string()).context("write the image")?;
    let image = work.join("image.tar");
    tar(
        &image,
        &work,
        &["manifest.json", "config.json", "layer.tar"],
    )?;
    Run::new(on_path("ctr")?)
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import", "--no-unpack"])
        .arg(&image)
        .done()?;
    fs::remove_dir_all(&work).context("remove the image's directory")
}

fn tar(to: &Path, from: &Path, names: &[&str]) -> Result<()> {
    let run = Run::new("tar")
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(to)
        .arg("-C")
        .arg(from);
    run.args(names).done()
}

/// As images name it.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}
