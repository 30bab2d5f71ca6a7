//! How long a call takes, as a whole process, on nodes of every size.
//!
//! Always: ADD and DEL do not depend on how many pods there are. With
//! `SOCKWAY_BENCH=1` (a release build on an idle machine, the binary named by
//! `SOCKWAY_CNI`) also the bars: p50 at most 1.5 ms, p99 at most 5 ms.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sockway_common::addr::IpKey;
use sockway_common::pod::{OwnerKey, PodRow, SandboxRow};
use sockway_datapath::{Pins, Registry};
use sockway_testkit::bpffs::Bpffs;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use crate::support::call::conf;
use crate::support::pod::{PodNetns, pin_maps};

const SIZES: [u32; 3] = [1, 250, 10_000];
const ROUNDS: usize = 300;
/// The bars, for one call.
const P50: Duration = Duration::from_micros(1500);
const P99: Duration = Duration::from_millis(5);

fn fill(pins: &Pins, count: u32) {
    let mut registry = Registry::open(pins).unwrap();
    for n in 0..count {
        let owner = OwnerKey::new(&format!("filler-{n}"), "eth0");
        let mut sandbox = SandboxRow {
            ip_count: 1,
            ..SandboxRow::default()
        };
        sandbox.ips[0] = IpKey::from_v4((0x0b00_0000 + n).to_be_bytes());
        registry
            .register(owner, &sandbox, &PodRow::default())
            .unwrap();
    }
}

/// One call, from before fork to after wait.
fn timed(plugin: &PathBuf, verb: &str, netns: &str, conf: &Value, scratch: &PathBuf) -> Duration {
    // A file, so that no pipe is waited for.
    std::fs::write(scratch, conf.to_string()).unwrap();
    let stdin = std::fs::File::open(scratch).unwrap();
    let mut command = Command::new(plugin);
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", "speed");
    command.env("CNI_IFNAME", "eth0").env("CNI_NETNS", netns);
    command.env("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0");
    command
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap();
    let took = start.elapsed();
    assert!(status.success());
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[test]
fn add_and_del_do_not_depend_on_the_nodes_size() {
    needs!(privileged("add_and_del_do_not_depend_on_the_nodes_size"));
    let plugin = std::env::var_os("SOCKWAY_CNI")
        .map_or_else(|| env!("CARGO_BIN_EXE_sockway-cni").into(), PathBuf::from);
    let bars = std::env::var("SOCKWAY_BENCH").as_deref() == Ok("1");
    let netns = PodNetns::with(&["10.0.0.7/24", "fd00::7/64"]);
    let scratch = tempfile::tempdir().unwrap();
    let stdin = scratch.path().join("stdin");
    let nodes: Vec<_> = SIZES
        .iter()
        .map(|&size| {
            let bpffs = Bpffs::mount();
            let pins = pin_maps(bpffs.path());
            fill(&pins, size);
            let conf = conf("1.0.0", pins.root().to_str().unwrap());
            (bpffs, conf, Vec::new(), Vec::new())
        })
        .collect();
    let mut nodes = nodes;
    // In turn, so that a busy moment of the machine hits every size.
    for _ in 0..ROUNDS {
        for (_, conf, adds, dels) in &mut nodes {
            adds.push(timed(&plugin, "ADD", &netns.path(), conf, &stdin));
            dels.push(timed(&plugin, "DEL", &netns.path(), conf, &stdin));
        }
    }
    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    for (size, (_, _, adds, dels)) in SIZES.iter().zip(&mut nodes) {
        for (verb, times) in [("ADD", adds), ("DEL", dels)] {
            times.sort();
            let (p50, p99) = (percentile(times, 50), percentile(times, 99));
            eprintln!("{verb} with {size} pods registered: p50 {p50:?} p99 {p99:?}");
            tails.push(p99);
            medians.push(p50);
        }
    }
    if bars {
        assert!(medians.iter().all(|p50| *p50 <= P50), "{medians:?}");
        assert!(tails.iter().all(|p99| *p99 <= P99), "{tails:?}");
    }
    let (first, last) = (medians[0] + medians[1], medians[4] + medians[5]);
    assert!(
        last <= first * 2,
        "from {first:?} to {last:?}: something iterates over the maps"
    );
}
