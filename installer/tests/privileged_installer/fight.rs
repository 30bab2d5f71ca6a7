//! Other programs that undo our entry: few writes by us, and the entry there at the end.

use std::fs;
use std::io::Write;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Value, json};
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use super::keeper::{Keeper, metric, until};
use super::node::{CONFLIST, Node, repeat};

const PAUSE: Duration = Duration::from_millis(20);
/// Repairs at once, and the seconds for each after that: the keeper's own rhythm.
const BURST: f64 = 4.0;
const PACE: f64 = 1.9;

/// What another program does every [`PAUSE`], with the number of the round.
type Other = fn(&Node, u32);

/// Takes our entry out whenever it is there: what it wants is all that may be there.
fn exclusive(node: &Node, _: u32) {
    if node.has_entry() {
        fs::write(node.path("net.d/other"), CONFLIST).unwrap();
        fs::rename(node.path("net.d/other"), node.conflist()).unwrap();
    }
}

/// terwayd in a crash loop: truncates, and writes in two parts.
fn terwayd(node: &Node, _: u32) {
    if !node.has_entry() {
        return;
    }
    let mut file = fs::File::create(node.conflist()).unwrap();
    let (first, second) = CONFLIST.split_at(CONFLIST.len() / 2);
    file.write_all(first.as_bytes()).unwrap();
    sleep(PAUSE);
    file.write_all(second.as_bytes()).unwrap();
}

/// Istio CNI beside a terwayd that restarts every two seconds. It appends itself whenever it is not
/// there, without a lock: what is written between its reading and its renaming is lost.
fn istio_beside_terwayd(node: &Node, round: u32) {
    if round.is_multiple_of(100) {
        terwayd(node, round);
    }
    let Ok(mut list) = serde_json::from_str::<Value>(&node.text()) else {
        return;
    };
    let plugins = list["plugins"].as_array_mut().unwrap();
    if plugins.iter().any(|plugin| plugin["type"] == "istio-cni") {
        return;
    }
    plugins.push(json!({ "type": "istio-cni" }));
    sleep(PAUSE);
    fs::write(node.path("net.d/.istio"), list.to_string()).unwrap();
    fs::rename(node.path("net.d/.istio"), node.conflist()).unwrap();
}

/// Renames of our own temporary file: every write of ours ends in one.
struct Writes {
    inotify: Inotify,
    seen: u32,
}

impl Writes {
    fn watch(node: &Node) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let directory = node.path("net.d");
        inotify
            .add_watch(&directory, AddWatchFlags::IN_MOVED_FROM)
            .unwrap();
        Self { inotify, seen: 0 }
    }

    fn count(&mut self) -> u32 {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let names = events.iter().filter_map(|event| event.name.as_ref());
                    let ours =
                        names.filter(|name| name.to_string_lossy().ends_with(".sockway-tmp"));
                    self.seen += u32::try_from(ours.count()).unwrap();
                }
                Err(Errno::EAGAIN) => return self.seen,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

fn fight(name: &str, other: Other) {
    let node = Node::alone();
    let keeper = Keeper::start(&node);
    let mut writes = Writes::watch(&node);
    let time = Duration::from_secs(repeat(20, 60) as u64);
    let (start, mut round) = (Instant::now(), 0);
    while start.elapsed() < time {
        other(&node, round);
        round += 1;
        sleep(PAUSE);
        writes.count();
    }
    let ours = writes.count();
    let most = (BURST + time.as_secs_f64() / PACE).ceil();
    println!("{name}: {ours} writes by us in {} s", time.as_secs());
    assert!(
        ours > 2 && f64::from(ours) <= most && ours < 40,
        "{name}: {ours} writes"
    );
    // The other one has the last word, and then is still.
    other(&node, 0);
    until(
        "the entry is there at the end",
        Duration::from_secs(3),
        || node.has_entry(),
    );
    let list: Value = serde_json::from_str(&node.text()).unwrap();
    let kinds = list["plugins"].as_array().unwrap().iter();
    let kinds: Vec<&str> = kinds.map(|p| p["type"].as_str().unwrap()).collect();
    let istio = kinds.contains(&"istio-cni");
    assert_eq!(
        kinds.len(),
        if istio { 3 } else { 2 },
        "{name}: each once: {kinds:?}"
    );
    assert!(metric("sockway_drift_total{what=\"conflist\"}") > 0);
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    assert!(!node.has_entry());
}

#[test]
fn stubborn_writers_make_no_storm() {
    needs!(privileged("stubborn_writers"));
    let others: [(&str, Other); 3] = [
        ("an exclusive installer", exclusive),
        ("terwayd in a crash loop", terwayd),
        ("Istio CNI and terwayd", istio_beside_terwayd),
    ];
    // All at once: each on a node of its own, so that it takes the time of one.
    scope(|threads| {
        for (name, other) in others {
            threads.spawn(move || fight(name, other));
        }
    });
}
