//! `sockway run`: repairs, restraint, leaving.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::{CONFLIST, Node, repeat};
use super::traffic::Connection;

const PAGES: &str = "127.0.0.1:9475";

/// A running keeper, ended when dropped.
struct Keeper(Child);

impl Keeper {
    fn start(node: &Node) -> Self {
        let log = fs::File::create(node.path("run.log")).unwrap();
        let child = node
            .sockway(&["run"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let keeper = Self(child);
        until("the keeper is ready", Duration::from_secs(30), || {
            page("/readyz").is_some_and(|answer| answer.contains("200 OK"))
        });
        keeper
    }

    fn stop(mut self) {
        kill(
            Pid::from_raw(self.0.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        assert!(self.0.wait().unwrap().success());
    }

    fn rss_kib(&self) -> u64 {
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

fn page(path: &str) -> Option<String> {
    let mut client = TcpStream::connect(PAGES).ok()?;
    client
        .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn metric(sample: &str) -> u64 {
    let text = page("/metrics").unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(sample))
        .unwrap_or(" 0");
    line.trim().parse().unwrap()
}

fn until(what: &str, limit: Duration, mut is: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < limit, "{what} not within {limit:?}");
        sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

#[test]
fn drift_is_repaired() {
    let Some(node) = Node::new("drift_is_repaired") else {
        return;
    };
    node.cache_pod();
    let keeper = Keeper::start(&node);
    assert!(node.has_entry());
    assert_eq!(
        metric("sockway_pods"),
        1,
        "the pod that was there before is registered"
    );
    assert!(node.run(&["uninstall"], 1).contains("sockway run"));
    let (two, ten) = (Duration::from_secs(2), Duration::from_secs(10));

    // terwayd truncates and writes at every start.
    fs::write(node.conflist(), "").unwrap();
    sleep(Duration::from_millis(300));
    assert_eq!(node.text(), "", "an empty file is left to its owner");
    fs::write(node.conflist(), CONFLIST).unwrap();
    until("the entry is back", two, || node.has_entry());

    fs::remove_file(node.plugin()).unwrap();
    until("the binary is back", two, || node.plugin().exists());
    fs::write(node.path("bin/other"), "#!/bin/sh\n").unwrap();
    fs::rename(node.path("bin/other"), node.plugin()).unwrap();
    until("the binary is ours", two, || {
        fs::metadata(node.plugin()).unwrap().len() > 1000
    });

    sockway_datapath::Datapath::remove(&node.pins()).unwrap();
    until("programs and pod are back", ten, || {
        node.pins().dir().exists() && metric("sockway_pods") == 1
    });
    let mut connection = Connection::open();
    connection.echo();
    until("it is joined", two, || {
        metric("sockway_connections_joined_total{hop=\"inbound\"}") == 1
    });

    let inode = fs::metadata(node.conflist()).unwrap().ino();
    let repairs = || metric("sockway_repairs_total{what=\"conflist\"}");
    let before = repairs();
    sleep(Duration::from_secs(2));
    assert_eq!(
        repairs(),
        before,
        "nothing is written where nothing changed"
    );
    assert_eq!(fs::metadata(node.conflist()).unwrap().ino(), inode);
    assert!(page("/healthz").unwrap().contains("200 OK"));
    println!("keeper: {} KiB resident", keeper.rss_kib());

    keeper.stop();
    assert!(
        node.has_entry() && node.pins().dir().exists(),
        "the node stays as it is"
    );
    connection.echo();
    drop(connection);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_stubborn_writer_makes_no_storm() {
    let Some(node) = Node::new("a_stubborn_writer") else {
        return;
    };
    let keeper = Keeper::start(&node);
    let start = Instant::now();
    let mut ours = 0;
    let fight = repeat(20, 60) as u64;
    while start.elapsed() < Duration::from_secs(fight) {
        if node.has_entry() {
            ours += 1;
            fs::write(node.path("net.d/other"), CONFLIST).unwrap();
            fs::rename(node.path("net.d/other"), node.conflist()).unwrap();
        }
        sleep(Duration::from_millis(20));
    }
    assert!((3..40).contains(&ours), "{ours} writes in {fight} s");
    until(
        "the entry is there at the end",
        Duration::from_secs(2),
        || node.has_entry(),
    );
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn a_node_that_is_not_ready_yet() {
    let Some(node) = Node::new("a_node_that_is_not_ready_yet") else {
        return;
    };
    fs::remove_file(node.conflist()).unwrap();
    let log = fs::File::create(node.path("run.log")).unwrap();
    let child = node
        .sockway(&["run"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let keeper = Keeper(child);
    until("it says why it waits", Duration::from_secs(30), || {
        page("/readyz").is_some_and(|answer| answer.contains("no CNI configuration"))
    });
    fs::write(node.conflist(), CONFLIST).unwrap();
    until("the entry is there", Duration::from_secs(3), || {
        node.has_entry()
    });
    until("it is ready", Duration::from_secs(3), || {
        page("/readyz").is_some_and(|answer| answer.contains("200 OK"))
    });
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
}
