//! A running `sockway run`, and its pages.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::Node;

const PAGES: &str = "127.0.0.1:9475";

/// A running keeper, ended when dropped.
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Does not wait until it is ready.
    pub(crate) fn spawn(node: &Node) -> Self {
        Self::spawn_with(node, &[])
    }

    /// The same with further arguments.
    pub(crate) fn spawn_with(node: &Node, arguments: &[&str]) -> Self {
        let log = fs::File::create(node.path("run.log")).unwrap();
        let mut command = node.sockway(&["run"]);
        command.args(arguments);
        Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    pub(crate) fn start(node: &Node) -> Self {
        Self::start_with(node, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(node: &Node, arguments: &[&str]) -> Self {
        let keeper = Self::spawn_with(node, arguments);
        until("the keeper is ready", Duration::from_secs(30), || {
            page("/readyz").is_some_and(|answer| answer.contains("200 OK"))
        });
        keeper
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn stop(mut self) {
        kill(
            Pid::from_raw(self.0.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        assert!(self.0.wait().unwrap().success());
    }

    /// CPU time so far, its children that ended included, in ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        // utime, stime, cutime, cstime: fields 14 to 17 of proc(5).
        fields[11..15]
            .iter()
            .map(|f| f.parse::<u64>().unwrap())
            .sum()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0.id()))
            .unwrap()
            .count()
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Ended already where the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn page(path: &str) -> Option<String> {
    let mut client = TcpStream::connect(PAGES).ok()?;
    client
        .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).ok()?;
    Some(answer)
}

pub(crate) fn metric(sample: &str) -> u64 {
    let text = page("/metrics").unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(sample)?.strip_prefix(' '))
        .unwrap_or("0");
    line.trim()
        .parse()
        .unwrap_or_else(|e| panic!("{sample}: {line:?}: {e}; {text}"))
}

pub(crate) fn until(what: &str, limit: Duration, mut is: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < limit, "{what} not within {limit:?}");
        sleep(Duration::from_millis(10));
    }
    start.elapsed()
}
