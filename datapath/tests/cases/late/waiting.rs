//! How the owners of a connection wait, and in which calls they are.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sockway_common::counters::Reason;
use sockway_common::scope;

use super::{CLIENT, INBOUND, crosses_lo};
use crate::support::keeper::Keeper;
use crate::support::measure::lo_bytes;
use crate::support::node::{connect, listen, receive, send};
use crate::support::threads::AtEnd;
use crate::{LOOK_AGAIN, node, ping_pong};

#[test]
fn a_call_that_began_before_keeps_an_end_closed() {
    let Some(node) = node("late_in_call") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
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
        keeper.adopt();
        keeper.pass();
        keeper.settle(Duration::from_millis(300));
        assert_eq!(keeper.done.joined, 2, "{:?}", keeper.done);
        // The reader may hold the other end as well: the process does.
        assert_eq!(keeper.done.opened, 0, "{:?}", keeper.done);
        send(&client, b"by TCP");
        assert_eq!(reader.join().expect("the reader"), b"by TCP");
    });
    assert!(crosses_lo(&client, &server), "nobody has opened them yet");
    keeper.settle(Duration::from_secs(10));
    assert_eq!(keeper.done.opened, 2, "{:?}", keeper.done);
    // As many sends may pass before a direction on TCP is looked at again.
    ping_pong(&client, &server, LOOK_AGAIN + 10);
    assert!(!crosses_lo(&client, &server));
    drop((client, server));
    keeper.forget();
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
fn sockets_that_block_stay_out() {
    let Some(node) = node("late_blocking") else {
        return;
    };
    let listener = listen(INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    // Unknown when it is established, so that it would come in late.
    server.set_nonblocking(false).expect("blocking");
    let mut keeper = Keeper::new(&node);
    let (known, by) = connect(&listener, CLIENT, INBOUND);
    ping_pong(&known, &by, 20);
    keeper.pass();
    keeper.settle(Duration::from_secs(10));
    assert_eq!(
        keeper.done.refused.get(Reason::Blocking.name()),
        Some(&1),
        "{:?}",
        keeper.done
    );
    server.set_nonblocking(true).expect("O_NONBLOCK");
    assert!(crosses_lo(&client, &server));
    // Which program connected, from an address that is no pod's, its first read tells.
    let client = usize::from(node.comes_in_at_once());
    assert_eq!(node.connection_rows()[0], 2 + client);
}

#[test]
fn waiting_readers_are_woken() {
    let Some(node) = node("late_wake_up") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
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
        keeper.bring_in();
        assert_eq!(keeper.done.opened, 2, "{:?}", keeper.done);
        let before = lo_bytes();
        send(&client, b"wake!");
        let (woken, got) = reader.join().expect("the reader");
        assert_eq!((woken, got.as_slice()), (1, b"wake!".as_slice()));
        assert_eq!(lo_bytes(), before, "redirected");
    });
}

/// In `/proc` it is always running, so only the programs can tell in which calls it is.
#[test]
fn a_thread_that_never_sleeps_is_seen_where_it_sends() {
    let Some(node) = node("late_never_sleeps") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
    let (busy, busy_too) = connect(&listener, CLIENT, INBOUND);
    assert_eq!(node.connection_rows()[0], 2, "in from the start");
    let [started, sends, end] = [(); 3].map(|()| AtomicBool::new(false));
    thread::scope(|threads| {
        threads.spawn(|| {
            while !end.load(Ordering::Acquire) {
                started.store(true, Ordering::Release);
                if !sends.load(Ordering::Acquire) {
                    continue;
                }
                let sent = (&busy).write(b"x").expect("send");
                let mut byte = [0; 1];
                while (&busy_too).read(&mut byte).unwrap_or(0) < sent {
                    std::hint::spin_loop();
                }
            }
        });
        let _at_end = AtEnd(&end);
        while !started.load(Ordering::Acquire) {
            thread::yield_now();
        }
        keeper.adopt();
        keeper.pass();
        keeper.settle(Duration::from_millis(300));
        assert_eq!(keeper.done.joined, 2, "{:?}", keeper.done);
        assert_eq!(keeper.done.opened, 0, "in which call is not known");
        sends.store(true, Ordering::Release);
        keeper.settle(Duration::from_secs(5));
        assert_eq!(keeper.done.opened, 2, "{:?}", keeper.done);
    });
    // As many sends may pass before a direction on TCP is looked at again.
    ping_pong(&client, &server, LOOK_AGAIN + 10);
    assert!(!crosses_lo(&client, &server));
}
