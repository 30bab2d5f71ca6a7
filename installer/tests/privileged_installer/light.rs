//! What `sockway install` costs while it runs.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use sockway_testkit::needs;

use super::doctor::Btf;
use super::node::{Node, released, repeat};

/// The bars; time is that of a quiet node.
const MOST_KIB: u64 = 40 * 1024;
const MOST_TIME: Duration = Duration::from_secs(1);
/// As often as the processes are looked at, which takes time from them.
const LOOK: Duration = Duration::from_millis(2);

/// Memory of the processes of one install, KiB.
#[derive(Debug, Default)]
struct Memory {
    /// The most that each had in use, by its id: the kernel keeps that.
    peaks: BTreeMap<u32, u64>,
    /// The most that all had in use in one look. Pages of the binary count in each.
    all: u64,
}

impl Memory {
    fn largest(&self) -> u64 {
        self.peaks.values().copied().max().unwrap_or(0)
    }

    /// Looks at a process and its children; what they have in use now.
    fn look(&mut self, process: u32) -> u64 {
        let directory = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{directory}/status")).unwrap_or_default();
        let number = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        };
        if let Some(peak) = number("VmHWM:") {
            // Not the highest: before its exec, a process shows its parent's.
            self.peaks.insert(process, peak);
        }
        let mut now = number("VmRSS:").unwrap_or(0);
        let tasks = fs::read_dir(format!("{directory}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children"));
            for child in children.unwrap_or_default().split_whitespace() {
                now += self.look(child.parse().unwrap());
            }
        }
        self.all = self.all.max(now);
        now
    }
}

/// One install; how long it took, and its processes' memory.
fn install(node: &Node) -> (Duration, Memory) {
    let mut command = node.sockway(&["install"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut memory = Memory::default();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        memory.look(child.id());
        sleep(LOOK);
    };
    assert!(status.success(), "{status}");
    (start.elapsed(), memory)
}

/// How often the file was opened since the last time; every second event is a close, so that none
/// is taken for the one before.
fn opened(events: &Inotify) -> usize {
    let list = events.read_events().unwrap_or_default();
    let opens = list
        .iter()
        .filter(|event| event.mask.contains(AddWatchFlags::IN_OPEN));
    opens.count()
}

#[test]
fn an_install_reads_the_btf_once_and_is_light() {
    let node = needs!(Node::new("an_install_reads_the_btf_once"));
    // A copy, which nobody else on this machine reads.
    let btf = Btf::with(&[]);
    let events = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
    let flags = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE_NOWRITE;
    events.add_watch(btf.path(), flags).unwrap();
    let kept = node.path("run/proof.json");
    let mut quickest = Duration::MAX;
    // Of which the quickest counts.
    for run in 0..repeat(1, 5) {
        if run > 0 {
            fs::remove_file(&kept).unwrap();
        }
        let (time, memory) = install(&node);
        assert!(kept.exists(), "proved");
        assert_eq!(opened(&events), 1, "readings of the BTF");
        let (largest, all) = (memory.largest(), memory.all);
        println!(
            "install with its proof: {time:?}, {largest} KiB the largest process, {all} KiB all"
        );
        assert!(
            memory.peaks.len() >= 3,
            "the proof's processes too: {memory:?}"
        );
        // An unoptimised build is three times as large.
        if released().is_some() {
            assert!(largest.max(all) <= MOST_KIB, "{memory:?}");
        }
        quickest = quickest.min(time);
    }
    let (time, memory) = install(&node);
    println!("install by the kept proof: {time:?}, {memory:?}");
    assert_eq!(opened(&events), 0, "what the proof found is kept");
    // An unoptimised build says nothing about time.
    if released().is_some() {
        assert!(quickest <= MOST_TIME, "{quickest:?}");
    }
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}
