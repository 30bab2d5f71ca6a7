//! `sockway run` on a node, as in production: it installs, and keeps it so.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::node::Node;
use crate::place::Place;
use crate::process::Process;

/// How long it may take to prove the kernel and to install, on a busy machine.
const START: Duration = Duration::from_mins(2);
/// How long it may take to end once asked.
const END: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// The running keeper; ended on drop, which leaves the node as it is.
#[derive(Debug)]
pub struct Keeper {
    process: Process,
    listen: SocketAddr,
}

impl Keeper {
    /// Starts it, with more arguments, and waits until pods that are added are registered.
    pub fn start(node: &Node, more: &[&str]) -> Result<Self> {
        let listen = free_address()?;
        let directory = |name: &str| node.scratch.path(name).to_string_lossy().into_owned();
        let fixed = [
            ("--bpffs", node.bpffs().to_string_lossy().into_owned()),
            (
                "--cgroup",
                node.scratch.cgroup().to_string_lossy().into_owned(),
            ),
            ("--cni-bin-dir", directory("bin")),
            ("--cni-conf-dir", directory("net.d")),
            ("--run-dir", directory("run")),
            ("--state-dir", directory("state")),
            ("--listen", listen.to_string()),
        ];
        let fixed = fixed
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        let more = more.iter().map(|arg| (*arg).to_owned());
        let args: Vec<String> = ["run".to_owned()]
            .into_iter()
            .chain(fixed)
            .chain(more)
            .collect();
        let logs = node.scratch.path("logs");
        let here = Place::default();
        let mut process = Process::start("keeper", &logs, &here, &node.tools.sockway, &args)?;
        process.wait_within(START, "is ready", |_| Ok(ready(listen)))?;
        Ok(Self { process, listen })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// One of its pages, with what is before it.
    pub fn page(&self, path: &str) -> Result<String> {
        ask(self.listen, path).with_context(|| format!("ask the keeper for {path}"))
    }

    /// Asks it to end; what it wrote.
    pub fn end(self) -> Result<String> {
        self.process.end(END)
    }

    /// Kills it, in the middle of whatever it does.
    pub fn kill(self) {
        self.process.signal(Signal::SIGKILL);
    }
}

/// A port of the loopback interface that nobody listens at now.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind")?;
    listener.local_addr().context("getsockname")
}

/// Whether it says that the node is as it should be.
fn ready(at: SocketAddr) -> bool {
    ask(at, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn ask(at: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: keeper\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
