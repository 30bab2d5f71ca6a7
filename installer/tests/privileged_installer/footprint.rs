//! What `sockway run` costs on a full node: 250 pods, 10 000 accelerated connections.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sockway_testkit::needs;

use super::keeper::{Keeper, metric, page, until};
use super::node::{Attachment, Node, in_pod, released, repeat};

const PODS: usize = 250;
const CONNECTIONS: usize = 10_000;
/// The bars.
const MOST_RSS_KIB: u64 = 20 * 1024;
const MOST_CPU: f64 = 0.005;

/// As often as Prometheus and the kubelet ask with the chart's settings.
const SCRAPE: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);

fn pods(node: &Node) -> Vec<Attachment> {
    let all: Vec<Attachment> = (0..PODS)
        .map(|n| Attachment {
            id: format!("pod{n}"),
            name: format!("pod-{n}"),
            ip: format!("10.9.1.{n}"),
            ..Attachment::own()
        })
        .collect();
    let lines = all
        .iter()
        .map(|pod| format!("address add {}/32 dev lo\n", pod.ip));
    let text: String = lines.collect();
    in_pod(|| {
        let mut batch = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        batch
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(batch.wait().unwrap().success());
    });
    for pod in &all {
        node.cache(pod);
    }
    all
}

/// Connections to the pods' inbound Envoy ports. The passive ends wait to be accepted, which takes
/// no descriptor; both ends are joined all the same.
fn connect(pods: &[Attachment]) -> (Vec<TcpListener>, Vec<TcpStream>) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    in_pod(|| {
        let listeners: Vec<TcpListener> = pods
            .iter()
            .map(|pod| TcpListener::bind((pod.ip.as_str(), 15006)).unwrap())
            .collect();
        let streams = (0..CONNECTIONS).map(|n| {
            let pod = &pods[n % pods.len()];
            TcpStream::connect((pod.ip.as_str(), 15006)).unwrap()
        });
        (listeners, streams.collect())
    })
}

/// Kernel memory of all maps.
fn map_bytes() -> u64 {
    let text = page("/metrics").unwrap();
    let samples = text
        .lines()
        .filter(|l| l.starts_with("sockway_map_memory_bytes{"));
    samples
        .map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn of_a_full_node() {
    let node = needs!(Node::new("of_a_full_node"));
    let pods = pods(&node);
    let keeper = Keeper::start(&node);
    until("every pod is registered", Duration::from_mins(1), || {
        metric("sockway_pods") == PODS as u64
    });
    let empty = map_bytes();
    let (listeners, mut streams) = connect(&pods);
    for stream in &mut streams {
        stream.write_all(b"one message").unwrap();
    }
    let connections = CONNECTIONS as u64;
    assert_eq!(metric("sockway_connections"), connections);
    assert_eq!(
        metric("sockway_connections_joined_total{hop=\"inbound\"}"),
        connections
    );
    println!(
        "maps: {} KiB with no connection, {} KiB with {CONNECTIONS}",
        empty / 1024,
        map_bytes() / 1024
    );
    let time = Duration::from_secs(repeat(16, 60) as u64);
    let (start, before) = (Instant::now(), keeper.cpu_ticks());
    let (mut scrape, mut probe) = (start, start);
    let mut page_bytes = 0;
    while start.elapsed() < time {
        if Instant::now() >= scrape {
            page_bytes = page("/metrics").unwrap().len();
            scrape += SCRAPE;
        }
        if Instant::now() >= probe {
            assert!(page("/readyz").unwrap().contains("200 OK"));
            probe += PROBE;
        }
        sleep(Duration::from_millis(100));
    }
    let ticks = keeper.cpu_ticks() - before;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred ticks")]
    let share = ticks as f64 * 0.01 / start.elapsed().as_secs_f64();
    let rss = keeper.rss_kib();
    println!(
        "{PODS} pods, {CONNECTIONS} connections: {rss} KiB resident, {:.2} % of a core in {} s, a page of {page_bytes} bytes",
        share * 100.0,
        time.as_secs()
    );
    // An unoptimised build says nothing about time, and its code is some MiB larger.
    assert!(rss <= MOST_RSS_KIB * 3 / 2, "{rss} KiB resident");
    if released().is_some() {
        assert!(rss <= MOST_RSS_KIB, "{rss} KiB resident");
        assert!(share <= MOST_CPU, "{share} of a core");
    }
    drop((listeners, streams));
    keeper.stop();
    node.run(&["uninstall", "--purge", "--drain-timeout", "60"], 0);
    node.assert_gone(&[]);
    assert!(fs::read_dir(node.path("results")).unwrap().count() == PODS);
}
