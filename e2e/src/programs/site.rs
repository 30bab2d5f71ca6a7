//! Where one program's exchange takes place.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tools::Programs;
use crate::bed::command::Run;
use crate::bed::pod::at;
use crate::bed::process::Process;
use crate::bed::sidecar::vip;
use crate::world::World;

/// The files that servers serve and clients send: name and bytes.
const FILES: [(&str, u64); 3] = [("small", 1000), ("page", 100_000), ("large", 6_000_000)];
/// The file of the download.
const DOWNLOAD: &str = "download";

/// Files, the same for every program.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    /// Writes them into a directory.
    pub(crate) fn make(dir: &Path, download: u64) -> Result<Self> {
        fs::create_dir(dir).with_context(|| format!("create {}", dir.display()))?;
        let mut random = fastrand::Rng::with_seed(1);
        for (name, size) in FILES.into_iter().chain([(DOWNLOAD, download)]) {
            let path = dir.join(name);
            write(&path, size, &mut random)
                .with_context(|| format!("write {} ({size} bytes)", path.display()))?;
        }
        Ok(Self(dir.to_owned()))
    }

    /// Their directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// One of them: `small`, `page`, `large` or `download`.
    pub(crate) fn get(&self, name: &str) -> PathBuf {
        self.0.join(name)
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
}

impl Site<'_> {
    /// The service address by which the client calls the server.
    pub(crate) fn service(&self) -> IpAddr {
        vip(self.family, 10)
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
        Run::new(self.programs.get(name)?).at(self.world.client.place())
    }

    /// A command of our Go program in the client's pod.
    pub(crate) fn go_client(&self, command: &str, args: &[&str]) -> Result<Run> {
        let run = Run::new(&self.programs.go).at(self.world.client.place())?;
        let to = self.to();
        Ok(run.arg(command).args(["-to", &to]).args(args))
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
        let World { server, node, .. } = self.world;
        server.run_server(node, port, program, &args)
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
