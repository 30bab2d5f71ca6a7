//! conntrack's row of a connection whose bytes are no packets. Needs iptables.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sockway_common::counters::Reason;
use sockway_common::pair::hop;
use sockway_common::scope;
use sockway_datapath::Datapath;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use crate::support::measure::lo_bytes;
use crate::support::node::{Node, connect, listen, message, receive, send};

/// Seconds after which this namespace's conntrack forgets a connection.
const TIMEOUT: &str = "2";
/// How long the connection is used: more than twice that.
const USED: Duration = Duration::from_secs(5);
/// Between two messages.
const PAUSE: Duration = Duration::from_millis(50);

fn run(program: &str, args: &str) {
    let output = Command::new(program)
        .args(args.split(' '))
        .output()
        .unwrap_or_else(|e| panic!("run {program} {args}: {e}"));
    assert!(
        output.status.success(),
        "{program} {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Uses a connection behind REDIRECT for longer than conntrack remembers it,
/// then ends it: whether the client saw the end.
fn the_end_arrives(node: &Node) -> bool {
    run("ip", "route add 10.9.0.99/32 dev lo");
    run(
        "iptables",
        "-w -t nat -A OUTPUT -p tcp -d 10.9.0.99 --dport 80 -j REDIRECT --to-ports 15001",
    );
    let sysctl = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
    std::fs::write(sysctl, TIMEOUT).expect("set the conntrack timeout");
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("127.0.0.1:15001");
    let (client, server) = connect(&listener, "10.9.0.1", "10.9.0.99:80");
    let lo = lo_bytes();
    let (started, mut number) = (Instant::now(), 0);
    while started.elapsed() < USED {
        let sent = message(number, 1024);
        send(&client, &sent);
        assert_eq!(receive(&server, 1024), sent, "message {number}");
        send(&server, &sent);
        assert_eq!(receive(&client, 1024), sent, "answer {number}");
        number += 1;
        std::thread::sleep(PAUSE);
    }
    let (crossed, all) = (lo_bytes() - lo, number as u64 * 2 * 1024);
    assert!(
        crossed < all / 2,
        "{crossed} of {all} bytes crossed lo: nothing was redirected"
    );
    assert_eq!(node.stats().paired[hop::OUTBOUND as usize], 1);
    drop(server);
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(Duration::from_secs(2)).expect("fits");
    if poll(&mut fds, limit).expect("poll") == 0 {
        return false;
    }
    matches!((&client).read(&mut [0; 1]), Ok(0))
}

/// Messages of both directions that were sent by TCP because it was time.
fn checked(node: &Node) -> u64 {
    // What an end noted is in the sums once it is closed.
    node.stats().tcp_messages[Reason::Checked as usize]
}

fn node(test: &str, tcp_every: u32) -> Option<Node> {
    privileged(test)?;
    let node = Node::new(&["10.9.0.1/32"]);
    let mut options = node.options();
    options.tcp_every = tcp_every;
    Datapath::install(&options).expect("install");
    Some(node)
}

#[test]
fn a_message_by_tcp_from_time_to_time_keeps_the_row() {
    let node = needs!(node("keeps_the_row", 1));
    assert!(the_end_arrives(&node), "the client never saw the end");
    // Two directions, five seconds, and the first of each second.
    let checked = checked(&node);
    assert!((6..=14).contains(&checked), "{checked} messages by TCP");
}

#[test]
fn without_it_the_end_does_not_arrive() {
    let node = needs!(node("without_it_the_end_does_not_arrive", 0));
    assert!(
        !the_end_arrives(&node),
        "conntrack's row outlives its timeout on this kernel: the messages by TCP may go"
    );
    assert_eq!(checked(&node), 0);
}
