//! The programs that are run, from `make setup`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sockway_testkit::mesh::tools::{Tools, named, on_path};

/// What makes everything that is missing.
const REMEDY: &str = "run `scripts/setup programs`";
/// Commands that are looked up on `PATH`.
const COMMANDS: [&str; 14] = [
    "bash",
    "curl",
    "haproxy",
    "java",
    "nc.openbsd",
    "nginx",
    "node",
    "python3",
    "redis-benchmark",
    "redis-cli",
    "redis-server",
    "sh",
    "sha256sum",
    "wget",
];

/// Programs that need no build.
const SCRIPTS: [(&str, &str); 6] = [
    (
        "reading.mjs",
        include_str!("../../programs/node/reading.mjs"),
    ),
    ("server.mjs", include_str!("../../programs/node/server.mjs")),
    (
        "transfer.mjs",
        include_str!("../../programs/node/transfer.mjs"),
    ),
    (
        "streams.py",
        include_str!("../../programs/python/streams.py"),
    ),
    (
        "threads.py",
        include_str!("../../programs/python/threads.py"),
    ),
    (
        "Server.java",
        include_str!("../../programs/java/Server.java"),
    ),
];

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// What is built from `e2e/programs/go`.
    pub(crate) go: PathBuf,
    /// hyper on tokio.
    pub(crate) hyper: PathBuf,
    /// Netty's jars, and the classes of `e2e/programs/java`.
    java: PathBuf,
    /// Scripts, once they are written.
    scripts: PathBuf,
    found: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// Finds everything, or names all that is missing.
    pub(crate) fn find(tools: &Tools, scripts: &Path) -> Result<Self> {
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for name in COMMANDS {
            // Servers live where a user's PATH often does not lead.
            let path = on_path(name).or_else(|| {
                let path = Path::new("/usr/sbin").join(name);
                path.is_file().then_some(path)
            });
            match path {
                Some(path) => found.push((name, path)),
                None => missing.push(name),
            }
        }
        let mut take = |name: &'static str, path: Option<PathBuf>| {
            let found = path.filter(|path| path.exists());
            found.unwrap_or_else(|| {
                missing.push(name);
                PathBuf::new()
            })
        };
        let all = Self {
            go: take(
                "SOCKWAY_GO_PROGRAMS",
                named(&tools.this, "SOCKWAY_GO_PROGRAMS"),
            ),
            java: take(
                "SOCKWAY_JAVA_PROGRAMS",
                named(&tools.this, "SOCKWAY_JAVA_PROGRAMS"),
            ),
            hyper: take(
                "sockway-hyper beside this program (`cargo xtask test-programs` builds it)",
                Some(tools.this.with_file_name("sockway-hyper")),
            ),
            scripts: scripts.to_owned(),
            found,
        };
        if !missing.is_empty() {
            bail!("missing: {} ({REMEDY})", missing.join(", "));
        }
        fs::create_dir(scripts).with_context(|| format!("create {}", scripts.display()))?;
        for (name, text) in SCRIPTS {
            fs::write(scripts.join(name), text).with_context(|| format!("write {name}"))?;
        }
        Ok(all)
    }

    /// A command that runs a class of `e2e/programs/java`.
    pub(crate) fn java(&self, class: &str) -> Result<Vec<OsString>> {
        let classes = format!("{0}/classes:{0}/jars/*", self.java.display());
        let small = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"];
        let mut command = vec![self.get("java")?.as_os_str().to_owned()];
        command.extend(small.map(OsString::from));
        command.extend([classes.into(), class.into()]);
        Ok(command)
    }

    /// A command that runs a script.
    pub(crate) fn script(&self, interpreter: &str, name: &str) -> Result<Vec<OsString>> {
        let program = self.get(interpreter)?.as_os_str().to_owned();
        Ok(vec![program, self.scripts.join(name).into()])
    }

    /// The path of one of the commands.
    pub(crate) fn get(&self, name: &str) -> Result<&Path> {
        let found = self.found.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, path)| path.as_path())
            .with_context(|| format!("{name} is not in the list of commands"))
    }
}
