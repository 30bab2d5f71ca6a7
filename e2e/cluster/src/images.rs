//! The images of everything but Sockway: one layer each, from the programs that were built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sockway_oci::{Image, Layer, architecture};

use crate::parts::Parts;
use crate::run::Run;
use crate::space::Space;

/// Writes and imports all of them.
pub(crate) fn import_all(space: &Space, parts: &Parts) -> Result<()> {
    let directory = space.place().path("images");
    fs::create_dir_all(&directory).context("cannot create the directory of images")?;
    for (name, image) in all(parts)? {
        let path = directory.join(format!("{name}.tar"));
        let full = format!("sockway.local/{name}:cluster");
        sockway_oci::write(&path, &full, 0, &[image])?;
        import(space, &path)?;
        fs::remove_file(&path).context("cannot remove an image's archive")?;
    }
    import(space, &parts.image()?)
}

/// Hands an archive to containerd.
pub(crate) fn import(space: &Space, archive: &Path) -> Result<()> {
    space
        .run("ctr")
        .args([
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--digests=false",
        ])
        .arg(archive)
        .done()
}

fn all(parts: &Parts) -> Result<Vec<(&'static str, Image)>> {
    let image = |layer: Layer, entrypoint: &[&str]| Image::new(architecture(), layer, entrypoint);
    let passwd = "root:x:0:0::/:/\nistio-proxy:x:1337:1337::/:/\n";
    let base = || {
        Layer::new()
            .text("etc/passwd", passwd)
            .text("etc/group", "root:x:0:\nistio-proxy:x:1337:\n")
            .directory("tmp", 0o1777, 0)
            .program(
                "etc/ssl/certs/ca-certificates.crt",
                "/etc/ssl/certs/ca-certificates.crt",
            )
    };
    let pilot = base().program(
        "usr/local/bin/pilot-discovery",
        parts.istio("pilot-discovery"),
    );
    let mut pilot = image(pilot, &["/usr/local/bin/pilot-discovery"]);
    "1337:1337".clone_into(&mut pilot.user);
    let cni = base()
        .program("opt/cni/bin/istio-cni", parts.istio("istio-cni"))
        .program("usr/local/bin/install-cni", parts.istio("install-cni"));
    let tool = base()
        .program("sockway-e2e", parts.ours("sockway-e2e"))
        .program("sockway-cluster", parts.ours("sockway-cluster"))
        .program("programs", &parts.go_programs);
    let pause = Layer::new().program("pause", parts.ours("sockway-cluster"));
    let coredns = base().program("coredns", parts.kubernetes("coredns"));
    let fortio = base().program("usr/local/bin/fortio", &parts.fortio);
    let mut fortio = image(fortio, &["/usr/local/bin/fortio"]);
    fortio.arguments = vec!["server".to_owned()];
    Ok(vec![
        ("pause", image(pause, &["/pause"])),
        ("coredns", image(coredns, &["/coredns"])),
        ("pilot", pilot),
        (
            "proxyv2",
            image(proxy(base(), parts)?, &["/usr/local/bin/pilot-agent"]),
        ),
        ("install-cni", image(cni, &["/usr/local/bin/install-cni"])),
        ("fortio", fortio),
        ("tool", image(tool, &["/sockway-e2e"])),
    ])
}

/// pilot-agent, and Envoy with the libraries that it is linked with.
fn proxy(base: Layer, parts: &Parts) -> Result<Layer> {
    let layer = base
        .program("usr/local/bin/pilot-agent", parts.istio("pilot-agent"))
        .program("usr/local/bin/envoy", &parts.envoy)
        .program(
            "var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
            parts.istio("envoy_bootstrap.json"),
        )
        .directory("var/lib/istio/data", 0o777, 1337)
        .directory("etc/istio/proxy", 0o777, 1337);
    Ok(libraries(&parts.envoy)?
        .into_iter()
        .fold(layer, |layer, path| {
            let inside = path.display().to_string();
            layer.program(inside.trim_start_matches('/'), path)
        }))
}

/// The shared libraries of a program and its loader, by the paths at which it looks for them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let text = Run::new("ldd").arg(program).output()?;
    let words = text.split_whitespace();
    Ok(words
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}

/// Gives Sockway's image another tag.
pub(crate) fn tag(space: &Space, tag: &str) -> Result<()> {
    let repository = "ghcr.io/sockway/sockway";
    space
        .run("ctr")
        .args(["--namespace", "k8s.io", "images", "tag", "--force"])
        .arg(format!("{repository}:{}", env!("CARGO_PKG_VERSION")))
        .arg(format!("{repository}:{tag}"))
        .done()
}
