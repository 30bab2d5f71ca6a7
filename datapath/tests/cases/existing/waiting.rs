//! How the owners of a connection wait, and in which calls they are.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sockway_common::counters::Reason;
use sockway_common::scope;

use super::{CLIENT, INBOUND, crosses_lo, join, join_within, left};
use crate::node;
use crate::support::measure::lo_bytes;
use crate::support::node::{connect, listen, receive, send};

#[test]
fn a_call_that_began_before_keeps_a_connection_on_tcp() {
    let Some(node) = node("existing_in_call") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    server.set_nonblocking(false).expect("blocking");
    let started = AtomicBool::new(false);
    thread::scope(|threads| {
        let reader = threads.spawn(|| {
            started.store(true, Ordering::Release);
            let mut bytes = [0; 16];
            let count = (&server).read(&mut bytes).expect("read");
            bytes[..count].to_vec()
        });
        while !(started.load(Ordering::Acquire) && sleeps_in_a_read()) {
            thread::yield_now();
        }
        // A call that blocks goes on to block.
        server.set_nonblocking(true).expect("O_NONBLOCK");
        let joined = join_within(&node, Duration::from_millis(300));
        assert_eq!((joined.found, joined.paired), (1, 0), "{joined:?}");
        assert_eq!(left(&joined, "in-call"), 1, "{joined:?}");
        assert_eq!(node.connection_rows(), [0; 3], "as it was");
        send(&client, b"by TCP");
        assert_eq!(reader.join().expect("the reader"), b"by TCP");
    });
    assert!(crosses_lo(&client, &server), "still on TCP");
    let joined = join(&node);
    assert_eq!(joined.paired, 1, "by the next run: {joined:?}");
    assert!(!crosses_lo(&client, &server));
    drop((client, server));
    assert_eq!(node.connection_rows(), [0; 3]);
}

/// True once another thread of this process sleeps in `read`.
fn sleeps_in_a_read() -> bool {
    let own = nix::unistd::gettid().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").expect("list threads");
    tasks.flatten().any(|task| {
        let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let reads = [libc::SYS_read, libc::SYS_recvfrom].map(|n| n.to_string());
        task.file_name().to_string_lossy() != own
            && reads.iter().any(|n| call.split(' ').next() == Some(n))
    })
}

#[test]
fn sockets_that_block_stay_on_tcp() {
    let Some(node) = node("existing_blocking") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    client.set_nonblocking(false).expect("blocking");
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let joined = join(&node);
    assert_eq!(joined.paired, 0, "{joined:?}");
    assert_eq!(left(&joined, Reason::Blocking.name()), 1, "{joined:?}");
    assert!(crosses_lo(&client, &server));
    assert_eq!(node.connection_rows()[0], 0);
}

#[test]
fn waiting_readers_are_woken() {
    let Some(node) = node("existing_wake_up") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let ready = AtomicBool::new(false);
    thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut fds = [PollFd::new(server.as_fd(), PollFlags::POLLIN)];
            ready.store(true, Ordering::Release);
            let woken = poll(&mut fds, PollTimeout::from(10_000u16)).expect("poll");
            (woken, receive(&server, 5))
        });
        while !ready.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let joined = join(&node);
        assert_eq!(joined.paired, 1, "{joined:?}");
        let before = lo_bytes();
        send(&client, b"wake!");
        let (woken, got) = reader.join().expect("the reader");
        assert_eq!((woken, got.as_slice()), (1, b"wake!".as_slice()));
        assert_eq!(lo_bytes(), before, "redirected");
    });
}
