//! `cargo xtask image`: Sockway's OCI image, from scratch, without a container engine.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sockway_oci::{Image, Layer};

use super::{Verb, build};
use crate::{Workspace, command, elf};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "image",
    help: "the OCI image into target/image [DIRECTORY with the binaries of another architecture...]",
    run: |workspace, arguments| {
        build::build(workspace)?;
        image(workspace, arguments)
    },
};

/// The repository that the chart names by default.
const REPOSITORY: &str = "ghcr.io/sockway/sockway";
const PROGRAMS: [&str; 2] = ["sockway", "sockway-cni"];

/// Makes it of what is built: of this machine's architecture, and of those whose
/// binaries are in other directories.
///
/// # Errors
/// When a binary is missing, or the image cannot be written.
pub fn image(workspace: &Workspace, others: &[String]) -> Result<()> {
    let time = time(workspace)?;
    let version = env!("CARGO_PKG_VERSION");
    let labels = BTreeMap::from(
        [
            ("title", "Sockway".to_owned()),
            (
                "description",
                "Accelerates TCP between sidecars and applications of one node".to_owned(),
            ),
            ("version", version.to_owned()),
            ("revision", revision(workspace)?),
            ("source", env!("CARGO_PKG_REPOSITORY").to_owned()),
            ("licenses", env!("CARGO_PKG_LICENSE").to_owned()),
        ]
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)),
    );
    let directories = [build::directory(workspace)]
        .into_iter()
        .chain(others.iter().map(PathBuf::from));
    let mut images = Vec::new();
    for directory in directories {
        let mut layer = Layer::new();
        for program in PROGRAMS {
            layer = layer.program(program, directory.join(program));
        }
        let architecture = elf::architecture(&directory.join(PROGRAMS[0]))?;
        if images
            .iter()
            .any(|image: &Image| image.architecture == architecture)
        {
            bail!(
                "{} has binaries for {architecture}, as another directory has",
                directory.display()
            );
        }
        let mut image = Image::new(architecture, layer, &["/sockway"]);
        image.arguments = vec!["run".to_owned()];
        image.environment = Vec::new();
        image.labels.clone_from(&labels);
        images.push(image);
    }
    let to = workspace.target().join("image/sockway.tar");
    let parent = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let name = format!("{REPOSITORY}:{version}");
    sockway_oci::write(&to, &name, time, &images)?;
    let architectures: Vec<_> = images
        .iter()
        .map(|image| image.architecture.as_str())
        .collect();
    eprintln!(
        "image: {name} for {} in {}",
        architectures.join(" and "),
        to.display()
    );
    eprintln!("image: import it with one of");
    eprintln!("  ctr --namespace k8s.io images import {}", to.display());
    eprintln!("  docker load --input {}", to.display());
    eprintln!(
        "  skopeo copy oci-archive:{} docker://REGISTRY/sockway:{version}",
        to.display()
    );
    Ok(())
}

/// The time of everything in the image, in seconds since 1970: the commit's, or `SOURCE_DATE_EPOCH`.
fn time(workspace: &Workspace) -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => git(workspace, &["log", "-1", "--format=%ct"])
            .context("SOURCE_DATE_EPOCH is not set, and this is no git repository")?,
    };
    text.trim()
        .parse()
        .with_context(|| format!("{text:?} is no number of seconds"))
}

/// The commit; with a mark where the files are not as committed.
fn revision(workspace: &Workspace) -> Result<String> {
    if let Ok(commit) = env::var("SOCKWAY_COMMIT") {
        return Ok(commit);
    }
    let commit = git(workspace, &["rev-parse", "HEAD"])?;
    let changed = git(
        workspace,
        &["status", "--porcelain", "--untracked-files=no"],
    )?;
    let mark = if changed.trim().is_empty() {
        ""
    } else {
        "-changed"
    };
    Ok(format!("{}{mark}", commit.trim()))
}

fn git(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    command::output(
        Command::new("git")
            .current_dir(workspace.root())
            .args(arguments),
    )
}
