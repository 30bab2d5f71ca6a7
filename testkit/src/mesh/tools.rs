//! The programs from outside that pods are made with.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What makes everything that is missing.
const REMEDY: &str = "run `make setup`";
/// Where `make setup` notes what it found, beside this program's build directory.
const NOTES: &str = "tools.env";
/// Reference plugins that the chains are made of.
const PLUGINS: [&str; 3] = ["bridge", "host-local", "tuning"];
/// Commands looked up on `PATH`.
const COMMANDS: [&str; 3] = ["ip", "iptables", "ip6tables"];

/// Paths of everything.
#[derive(Clone, Debug)]
pub struct Tools {
    /// This program: servers, clients and load run from it.
    pub this: PathBuf,
    /// The installer.
    pub sockway: PathBuf,
    /// Directory that holds `bridge`, `host-local` and `tuning`.
    pub plugins: PathBuf,
    /// The CNI project's command-line runtime.
    pub cnitool: PathBuf,
    /// Envoy's binary, which uid 1337 can execute.
    pub envoy: PathBuf,
}

impl Tools {
    /// Finds everything, or names all that is missing and how to get it.
    pub fn find() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("needs root: it makes network namespaces and loads eBPF programs");
        }
        let this = env::current_exe().context("find this program")?;
        let build = this.parent().context("this program has no directory")?;
        let named = |name: &str| named(&this, name);

        let mut missing = Vec::new();
        let mut take = |what: &str, path: Option<PathBuf>| {
            let found = path.filter(|path| path.exists());
            found.unwrap_or_else(|| {
                missing.push(what.to_owned());
                PathBuf::new()
            })
        };
        let sockway = named("SOCKWAY_BIN").unwrap_or_else(|| build.join("sockway"));
        let tools = Self {
            sockway: take("sockway (run `make build`)", Some(sockway)),
            plugins: take(
                &format!("the CNI reference plugins, SOCKWAY_CNI_PLUGINS ({REMEDY})"),
                named("SOCKWAY_CNI_PLUGINS").or_else(|| Some("/usr/lib/cni".into())),
            ),
            cnitool: take(
                &format!("cnitool, SOCKWAY_CNITOOL ({REMEDY})"),
                named("SOCKWAY_CNITOOL").or_else(|| on_path("cnitool")),
            ),
            envoy: take(
                &format!("Envoy, SOCKWAY_ENVOY ({REMEDY})"),
                named("SOCKWAY_ENVOY").or_else(|| on_path("envoy")),
            ),
            this,
        };
        for plugin in PLUGINS
            .iter()
            .filter(|name| !tools.plugins.join(name).is_file())
        {
            missing.push(format!(
                "{} ({REMEDY})",
                tools.plugins.join(plugin).display()
            ));
        }
        for command in COMMANDS.iter().filter(|name| on_path(name).is_none()) {
            missing.push(format!("the command {command} ({REMEDY})"));
        }
        if !missing.is_empty() {
            bail!("missing: {}", missing.join("; "));
        }
        check_executable_by_all(&tools.envoy)?;
        Ok(tools)
    }
}

/// What the environment, or else `make setup`'s notes beside the build of `this`
/// program, say of a name.
pub fn named(this: &Path, name: &str) -> Option<PathBuf> {
    if let Some(value) = env::var_os(name) {
        return Some(value.into());
    }
    let notes = this.parent()?.parent()?.join(NOTES);
    noted(&fs::read_to_string(notes).ok()?, name)
}

/// A value of `make setup`'s notes.
fn noted(notes: &str, name: &str) -> Option<PathBuf> {
    let value = notes
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    (!value.is_empty()).then(|| value.into())
}

/// The first executable of that name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// Envoy runs as uid 1337, which must be able to get to it.
fn check_executable_by_all(path: &Path) -> Result<()> {
    for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        let meta = fs::metadata(part).with_context(|| format!("look at {}", part.display()))?;
        if meta.permissions().mode() & 0o001 == 0 {
            bail!(
                "uid 1337 cannot execute {}: {} is closed to others; {REMEDY}, or set SOCKWAY_ENVOY to a copy elsewhere",
                path.display(),
                part.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::noted;

    #[test]
    fn notes_are_read_by_whole_names() {
        let notes = "SOCKWAY_ENVOY_OLD=/a\nSOCKWAY_ENVOY=/b\nSOCKWAY_CNITOOL=\n";
        assert_eq!(noted(notes, "SOCKWAY_ENVOY"), Some("/b".into()));
        assert_eq!(noted(notes, "SOCKWAY_CNITOOL"), None);
        assert_eq!(noted(notes, "SOCKWAY_CNI"), None);
    }
}
