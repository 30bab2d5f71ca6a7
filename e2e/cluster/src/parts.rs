//! The programs that a cluster consists of, where `scripts/setup cluster` put them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Directories and programs.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    kubernetes: PathBuf,
    istio: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) fortio: PathBuf,
    /// Programs in Go of the tests: WebSocket, gRPC.
    pub(crate) go_programs: PathBuf,
    pub(crate) cni_plugins: PathBuf,
    pub(crate) helm: PathBuf,
    pub(crate) prometheus: PathBuf,
    /// Our own, built from this checkout.
    release: PathBuf,
    /// The repository.
    pub(crate) root: PathBuf,
}

impl Parts {
    /// Those that the environment names.
    pub(crate) fn find() -> Result<Self> {
        let this = env::current_exe().context("no path of this program")?;
        let release = this
            .parent()
            .context("no directory of this program")?
            .to_path_buf();
        Ok(Self {
            kubernetes: named("SOCKWAY_CLUSTER_KUBERNETES")?,
            istio: named("SOCKWAY_CLUSTER_ISTIO")?,
            envoy: named("SOCKWAY_ENVOY")?,
            fortio: named("SOCKWAY_FORTIO")?,
            go_programs: named("SOCKWAY_GO_PROGRAMS")?,
            cni_plugins: named("SOCKWAY_CNI_PLUGINS")?,
            helm: named("SOCKWAY_CONF_TOOLS")?.join("helm"),
            prometheus: named("SOCKWAY_PROMETHEUS")?,
            release,
            root: env::current_dir().context("no current directory")?,
        })
    }

    pub(crate) fn kubernetes(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }

    pub(crate) fn istio(&self, name: &str) -> PathBuf {
        self.istio.join(name)
    }

    pub(crate) fn ours(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }

    /// Sockway's image, as `make image` leaves it.
    pub(crate) fn image(&self) -> Result<PathBuf> {
        let path = self.root.join("target/image/sockway.tar");
        if !path.is_file() {
            bail!("{} is missing: make image makes it", path.display());
        }
        Ok(path)
    }

    /// The version that a module pins.
    pub(crate) fn pinned(&self, module: &str, name: &str) -> Result<String> {
        let directory = if module == "istio" {
            &self.istio
        } else {
            &self.kubernetes
        };
        let text = read(&directory.join("complete"))?;
        let line = text.lines().find_map(|line| {
            let line = line.trim().trim_start_matches("require ");
            line.strip_prefix(name)?.strip_prefix(' ')
        });
        let version = line.and_then(|line| line.split(' ').next());
        Ok(version
            .with_context(|| format!("{name} is not pinned"))?
            .to_owned())
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn named(name: &str) -> Result<PathBuf> {
    let path = env::var_os(name).map(PathBuf::from).with_context(|| {
        format!("{name} is not set: run scripts/setup cluster, and start this by make")
    })?;
    if !path.exists() {
        bail!(
            "{name} names {}, which is not there: run scripts/setup cluster",
            path.display()
        );
    }
    Ok(path)
}
