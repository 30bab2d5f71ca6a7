//! Where one program's exchange takes place.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sockway_testkit::command::Run;
use sockway_testkit::mesh::pod::{Pod, at};
use sockway_testkit::mesh::sidecar::{self, vip};
use sockway_testkit::process::Process;

use super::facts::checksum;
use super::meter::Phase;
use super::route::Route;
use super::tools::Programs;
use crate::world::World;

/// The files that servers serve and clients send: name and bytes.
const FILES: [(&str, u64); 6] = [
    ("small", 1000),
    ("page", 100_000),
    ("400k", 400 << 10),
    ("3m", (3 << 20) + 1),
    ("large", 6_000_000),
    ("64m", 64 << 20),
];
/// The file of the download.
const DOWNLOAD: &str = "download";

/// Files, the same for every program.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    sums: Vec<(&'static str, String)>,
}

impl Files {
    /// Writes them into a directory.
    pub(crate) fn make(dir: &Path, download: u64) -> Result<Self> {
        fs::create_dir(dir).with_context(|| format!("create {}", dir.display()))?;
        let mut random = fastrand::Rng::with_seed(1);
        let mut sums = Vec::new();
        for (name, size) in FILES.into_iter().chain([(DOWNLOAD, download)]) {
            let path = dir.join(name);
            write(&path, size, &mut random)
                .with_context(|| format!("write {} ({size} bytes)", path.display()))?;
            sums.push((name, checksum(&path)?));
        }
        let dir = dir.to_owned();
        Ok(Self { dir, sums })
    }

    /// The checksum of one of them.
    pub(crate) fn sum(&self, name: &str) -> Result<String> {
        let found = self.sums.iter().find(|(known, _)| *known == name);
        let (_, sum) = found.with_context(|| format!("there is no file {name}"))?;
        Ok(sum.clone())
    }

    /// Their directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Pods, ports and directories of one exchange.
pub(crate) struct Site<'a> {
    /// The pods.
    pub(crate) world: &'a World,
    /// The programs.
    pub(crate) programs: &'a Programs,
    /// What is served and sent.
    pub(crate) files: &'a Files,
    /// A directory for this exchange alone.
    pub(crate) dir: PathBuf,
    /// The server's port.
    pub(crate) port: u16,
    /// IPv4 (0) or IPv6 (1).
    pub(crate) family: usize,
    /// Where client and server stand.
    pub(crate) route: Route,
    /// What was metered so far.
    pub(crate) phases: RefCell<Vec<Phase>>,
}

impl Site<'_> {
    /// Does something and notes what the interfaces saw of it.
    pub(crate) fn phase<T>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (phase, result) = Phase::of(name, self.world, self.route, work)?;
        self.phases.borrow_mut().push(phase);
        Ok(result)
    }

    /// Where the client runs.
    pub(crate) const fn client_pod(&self) -> &Pod {
        match self.route {
            Route::Mesh => &self.world.client,
            Route::Inbound => &self.world.plain_client,
            Route::Outbound | Route::App => &self.world.plain_server,
        }
    }

    /// Where the server runs.
    pub(crate) const fn server_pod(&self) -> &Pod {
        match self.route {
            Route::Mesh => &self.world.server,
            Route::Inbound | Route::Outbound | Route::App => &self.world.plain_server,
        }
    }

    /// Where the client dials from, if that is not left to the kernel.
    pub(crate) fn from(&self) -> Option<IpAddr> {
        match self.route {
            Route::Mesh | Route::Inbound => None,
            // As after REDIRECT.
            Route::Outbound => Some(self.server_pod().ips()[self.family]),
            Route::App => Some(sidecar::source(self.family)),
        }
    }

    /// The address by which the client calls the server: a service's in a mesh.
    pub(crate) fn service(&self) -> IpAddr {
        match self.route {
            Route::Mesh => vip(self.family, 10),
            Route::Outbound => IpAddr::from([127, 0, 0, 1]),
            Route::Inbound | Route::App => self.server_pod().ips()[self.family],
        }
    }

    /// The same with the port.
    pub(crate) fn to(&self) -> String {
        at(self.service(), self.port)
    }

    /// The same as a URL.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.to())
    }

    /// Where servers listen.
    pub(crate) fn listen(&self) -> String {
        format!(":{}", self.port)
    }

    /// A path in the exchange's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command in the client's pod.
    pub(crate) fn client(&self, name: &str) -> Result<Run> {
        Run::new(self.programs.get(name)?).at(self.client_pod().place())
    }

    /// A command of our Go program in the client's pod.
    pub(crate) fn go_client(&self, command: &str, args: &[&str]) -> Result<Run> {
        let run = Run::new(&self.programs.go).at(self.client_pod().place())?;
        let to = self.to();
        Ok(run.arg(command).args(["-to", &to]).args(args))
    }

    /// Starts a program of ours that serves the files: its command and first arguments.
    pub(crate) fn serve_files(&self, command: &[OsString]) -> Result<Process> {
        let (program, lead) = command.split_first().context("no program")?;
        let lead: Vec<_> = lead.iter().map(|arg| arg.to_string_lossy()).collect();
        let (port, root) = (self.port.to_string(), self.files.dir().to_string_lossy());
        let mut args: Vec<&str> = lead.iter().map(|arg| &**arg).collect();
        args.extend([&*port, &*root]);
        self.serve_at(self.port, Path::new(program), &args)
    }

    /// A server of the files behind another, at a Unix socket: what it is
    /// called by is no hop's traffic. Its path and the process.
    pub(crate) fn serve_behind(&self) -> Result<(String, Process)> {
        let socket = self.path("behind").to_string_lossy().into_owned();
        let root = self.files.dir().to_string_lossy();
        let args = ["web", "-listen", &socket, "-root", &root];
        let node = &self.world.node;
        let mut server = self
            .server_pod()
            .start(node, "behind", &self.programs.go, &args)?;
        server.wait_for("listens", |_| Ok(Path::new(&socket).exists()))?;
        // nginx' workers and HAProxy may be other users.
        fs::set_permissions(&socket, PermissionsExt::from_mode(0o777))
            .with_context(|| format!("open {socket} to others"))?;
        Ok((socket, server))
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn serve(&self, name: &str, args: &[&str]) -> Result<Process> {
        let program = self.programs.get(name)?;
        self.serve_at(self.port, program, args)
    }

    /// The same for a command of our Go program.
    pub(crate) fn serve_go(&self, command: &str, args: &[&str]) -> Result<Process> {
        let listen = self.listen();
        let args = [&[command, "-listen", &listen], args].concat();
        self.serve_at(self.port, &self.programs.go, &args)
    }

    /// The same at another port, which only the server itself calls.
    pub(crate) fn serve_at(&self, port: u16, program: &Path, args: &[&str]) -> Result<Process> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let node = &self.world.node;
        self.server_pod().run_server(node, port, program, &args)
    }
}

/// A file of random bytes.
fn write(path: &Path, size: u64, random: &mut fastrand::Rng) -> Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        random.fill(&mut block);
        let part = block.len().min(usize::try_from(left)?);
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    Ok(())
}
