//! Ends that leave, and come in again.

use std::io::{ErrorKind, Read as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, SockHash};
use sockway_common::layout::SOCKETS;
use sockway_common::part::Switched;
use sockway_common::pod::OwnerKey;
use sockway_common::scope;
use sockway_datapath::late::{Told, leave_all};
use sockway_datapath::{stats, switch};

use super::{CLIENT, INBOUND, crosses_lo};
use crate::support::keeper::Keeper;
use crate::support::measure::{lo_bytes, pace, until};
use crate::support::node::{Node, connect, listen, message, receive, send};
use crate::support::threads::{AtEnd, pin};
use crate::{LOOK_AGAIN, node, ping_pong};

const PATIENCE: Duration = Duration::from_secs(10);
/// Who never waits is never seen at rest, and not opened.
const REST: Duration = Duration::from_millis(1);

fn installed(test: &str) -> Option<Node> {
    let node = node(test)?;
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    Some(node)
}

/// Sockets of a pod that is switched off, and those at their other ends, leave the sockhash; the others stay.
#[test]
fn a_pod_that_is_off_leaves_and_comes_back() {
    const OTHER: &str = "10.9.0.3:15006";
    let Some(node) = installed("pod_off") else {
        return;
    };
    node.pod("10.9.0.3", scope::ALL);
    let mut keeper = Keeper::new(&node);
    let (listener, other) = (listen(INBOUND), listen(OTHER));
    let open = [
        connect(&listener, CLIENT, INBOUND),
        connect(&other, CLIENT, OTHER),
    ];
    let go = || {
        for (client, server) in &open {
            ping_pong(client, server, LOOK_AGAIN + 10);
        }
        open.each_ref()
            .map(|(client, server)| crosses_lo(client, server))
    };
    assert_eq!(go(), [false, false]);
    let owner = OwnerKey::new("10.9.0.1", "eth0");
    let sockets = || stats::sockets(&node.pins).expect("count");
    for round in 0..3 {
        let done = switch::pod(&node.pins, &owner, Some(Switched::ByHand));
        assert!(done.expect("off"), "round {round}");
        keeper.pass();
        keeper.settle(PATIENCE);
        assert_eq!((keeper.done.left, sockets()), (2 * (round + 1), 2));
        assert_eq!(go(), [true, false]);
        assert_eq!(keeper.pass().joined, 0, "it is off");
        assert!(switch::pod(&node.pins, &owner, None).expect("on"));
        keeper.pass();
        keeper.settle(PATIENCE);
        assert_eq!(sockets(), 4, "{:?}", keeper.done);
        assert_eq!(go(), [false, false]);
    }
}

/// Every byte is right, from the switch on none is redirected, nobody is in the sockhash soon, and
/// `on` brings ends back.
#[test]
fn off_is_off_under_traffic_and_on_is_on() {
    const PAIRS: usize = 4;
    let Some(node) = installed("off_and_on") else {
        return;
    };
    let mut keeper = Keeper::new(&node);
    let listener = listen(INBOUND);
    let open: Vec<_> = (0..PAIRS)
        .map(|_| connect(&listener, CLIENT, INBOUND))
        .collect();
    let (end, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = |count: usize| {
        let before = rounds.load(Ordering::Acquire);
        until("more rounds", || {
            rounds.load(Ordering::Acquire) >= before + count
        });
    };
    thread::scope(|threads| {
        let threads: Vec<_> = open
            .iter()
            .map(|(client, server)| {
                threads.spawn(|| {
                    while !end.load(Ordering::Acquire) {
                        ping_pong(client, server, 1);
                        if rounds.fetch_add(1, Ordering::AcqRel) % 8 == 0 {
                            thread::sleep(REST);
                        }
                    }
                })
            })
            .collect();
        let at_end = AtEnd(&end);
        for _ in 0..3 {
            more(50);
            let before = lo_bytes();
            more(200);
            assert!(lo_bytes() - before < 100 * 2048, "nothing is redirected");
            switch::node(&node.pins, true).expect("off");
            assert!(switch::is_off(&node.pins).expect("ask"));
            // Rounds that are under way.
            more(PAIRS);
            let before = lo_bytes();
            more(200);
            assert!(lo_bytes() - before > 150 * 2048, "still redirected");
            let start = Instant::now();
            let left = leave_all(&node.pins, PATIENCE).expect("leave");
            assert_eq!((left.out, left.stay.len()), (2 * PAIRS, 0), "{left:?}");
            println!("all left after {:?}", start.elapsed());
            assert_eq!(stats::sockets(&node.pins).expect("count"), 0);
            more(50);
            switch::node(&node.pins, false).expect("on");
            let opened = keeper.done.opened + 2 * PAIRS;
            keeper.until("ends to come back", |done| done.opened == opened);
            // Sends until a direction on TCP is looked at again.
            more(300);
        }
        drop(at_end);
        for thread in threads {
            thread.join().expect("every byte was right");
        }
    });
    drop(open);
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
    let stats = node.stats();
    assert_eq!(stats.left_early, 3 * 2 * PAIRS as u64);
}

/// The cookie of the end at a local port.
fn cookie(node: &Node, port: u16) -> u64 {
    let ends = stats::ends(&node.pins).expect("list ends");
    let end = ends.iter().find(|(_, row)| row.local_port == port);
    end.expect("its row").0
}

const SENDERS_CPU: usize = 0;
/// How long others keep that CPU, and leave it.
const BUSY: Duration = Duration::from_millis(60);
const IDLE: Duration = Duration::from_millis(7);

/// Lets this thread run only while nobody else wants its CPU.
fn whenever_idle() {
    pin(SENDERS_CPU);
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are a live value of the type that the call reads.
    let failed = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

/// Senders that are preempted at any moment, and wait for the reader's socket when it is to leave.
///
/// Between a sender's decision and its hold on the reader's psock lie a few instructions: that
/// bytes are lost there without the look at the sender is shown by `common/tests/interleavings`.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
fn ends_leave_while_many_threads_send_to_them() {
    const SENDERS: usize = 12;
    const SIZE: usize = 512;
    // Where everything is slow one of them takes many seconds.
    let rounds = if pace() > 1 { 10 } else { 100 };
    let Some(node) = installed("leaving_senders") else {
        return;
    };
    let mut keeper = Keeper::new(&node);
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    ping_pong(&client, &server, 3);
    let cookie = cookie(&node, 15006);
    let (end, sent, got) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let (pause, paused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let part = message(1, SIZE);
    let (client, server) = (&client, &server);
    thread::scope(|threads| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                threads.spawn(|| {
                    whenever_idle();
                    for number in 1_u32.. {
                        if end.load(Ordering::Acquire) {
                            return;
                        }
                        if pause.load(Ordering::Acquire) {
                            paused.fetch_add(1, Ordering::AcqRel);
                            while pause.load(Ordering::Acquire) && !end.load(Ordering::Acquire) {
                                thread::sleep(REST);
                            }
                        }
                        match client.send(&part) {
                            Ok(taken) => {
                                sent.fetch_add(taken, Ordering::AcqRel);
                            }
                            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(REST),
                            Err(e) => panic!("send: {e}"),
                        }
                        if number.is_multiple_of(8) {
                            thread::sleep(REST);
                        }
                    }
                })
            })
            .collect();
        threads.spawn({
            let (end, sent, got) = (&end, &sent, &got);
            move || {
                pin(1);
                let mut buffer = vec![0; 64 * 1024];
                let mut over = None;
                // Always in a call, so that senders wait for the socket: they have decided by then.
                for number in 1_u32.. {
                    match { server }.read(&mut buffer) {
                        Ok(count) => {
                            got.fetch_add(count, Ordering::AcqRel);
                            over = None;
                        }
                        Err(e) if e.kind() == ErrorKind::WouldBlock => {
                            let all = senders.iter().all(thread::ScopedJoinHandle::is_finished)
                                && got.load(Ordering::Acquire) >= sent.load(Ordering::Acquire);
                            let since = *over.get_or_insert_with(Instant::now);
                            if all || (end.load(Ordering::Acquire) && since.elapsed() > PATIENCE) {
                                return;
                            }
                        }
                        Err(e) => panic!("receive: {e}"),
                    }
                    if number.is_multiple_of(4096) {
                        thread::sleep(REST);
                    }
                }
            }
        });
        // They take their CPU from the senders at any moment, for longer than it takes to leave.
        threads.spawn(|| {
            pin(SENDERS_CPU);
            while !end.load(Ordering::Acquire) {
                let start = Instant::now();
                while start.elapsed() < BUSY && !end.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                thread::sleep(IDLE);
            }
        });
        let _at_end = AtEnd(&end);
        let start = Instant::now();
        for _ in 0..rounds {
            // Senders that are always ahead never find the direction drained.
            paused.store(0, Ordering::Release);
            pause.store(true, Ordering::Release);
            until("all to pause", || paused.load(Ordering::Acquire) == SENDERS);
            until("the direction to be redirected", || {
                let before = lo_bytes();
                let taken = client.send(&part).expect("send");
                sent.fetch_add(taken, Ordering::AcqRel);
                lo_bytes() == before
            });
            pause.store(false, Ordering::Release);
            thread::sleep(IDLE);
            let told = Told {
                leaves: vec![cookie],
                ..Told::default()
            };
            let left = keeper.done.left;
            keeper.act(&told);
            while keeper.done.left == left && start.elapsed() < PATIENCE * 6 {
                keeper.turn();
            }
            let opened = keeper.done.opened;
            while keeper.done.opened == opened && start.elapsed() < PATIENCE * 6 {
                keeper.pass();
            }
        }
    });
    let (sent, got) = (sent.into_inner(), got.into_inner());
    println!("{sent} bytes sent, {:?}", keeper.done);
    assert_eq!(got, sent, "bytes were lost");
    assert!(keeper.done.left >= rounds / 3, "{:?}", keeper.done);
    assert!(keeper.done.opened >= rounds / 3, "{:?}", keeper.done);
    assert_ne!(node.stats().redirected_messages, [0; _]);
}

/// Bytes that an end sent while it was out were not seen by anybody.
#[test]
fn who_comes_back_does_not_pass_what_it_sent_meanwhile() {
    let Some(node) = installed("comes_back") else {
        return;
    };
    let mut keeper = Keeper::new(&node);
    let listener = listen(INBOUND);
    for used in [true, false] {
        let (client, server) = connect(&listener, CLIENT, INBOUND);
        if used {
            ping_pong(&client, &server, 3);
        }
        switch::node(&node.pins, true).expect("off");
        let left = leave_all(&node.pins, PATIENCE).expect("leave");
        assert_eq!(left.out, 2, "{left:?}");
        send(&client, b"by TCP, ");
        switch::node(&node.pins, false).expect("on");
        let opened = keeper.done.opened + 2;
        keeper.until("both to come back", |done| done.opened == opened);
        send(&client, b"and behind it");
        assert_eq!(receive(&server, 21), b"by TCP, and behind it", "{used}");
        ping_pong(&client, &server, 10);
        assert!(!crosses_lo(&client, &server));
    }
}

/// Whoever takes ends out may be ended at any moment.
#[test]
fn an_end_that_was_taken_out_by_a_run_that_ended_comes_back() {
    let Some(node) = installed("taken_out") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    ping_pong(&client, &server, 3);
    let cookie = cookie(&node, 15006);
    // As far as a run came that closed it, took it out, and said nothing more.
    let mut keeper = Keeper::new(&node);
    send(&client, b"unread");
    keeper.act(&Told {
        leaves: vec![cookie],
        ..Told::default()
    });
    assert_eq!(keeper.done.left, 0, "its queue is not empty");
    assert_eq!(receive(&server, 6), b"unread");
    drop(keeper);
    let pinned = MapData::from_pin(node.pins.map(SOCKETS)).expect("open");
    let mut sockets = SockHash::<_, u64>::try_from(Map::SockHash(pinned)).expect("a sockhash");
    sockets.remove(&cookie).expect("take it out");
    let mut keeper = Keeper::new(&node);
    keeper.pass();
    keeper.until("it to come back", |done| done.opened == 1);
    assert_eq!(node.connection_rows(), [2, 0, 2]);
    ping_pong(&client, &server, 10);
    assert!(!crosses_lo(&client, &server));
}

/// One that waits in a call leaves at once, and gets what comes by TCP; its next call is TCP's own.
#[test]
fn a_reader_that_waits_leaves() {
    let Some(node) = installed("waiting_leaves") else {
        return;
    };
    let mut keeper = Keeper::new(&node);
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    ping_pong(&client, &server, 3);
    server.set_nonblocking(false).expect("clear O_NONBLOCK");
    let cookie = cookie(&node, 15006);
    let read = |size: usize| {
        let mut buffer = vec![0; size];
        let got = { &server }.read(&mut buffer);
        got.map(|count| buffer[..count].to_vec())
    };
    thread::scope(|threads| {
        let waits = threads.spawn(|| (read(64), read(64)));
        thread::sleep(BUSY);
        keeper.act(&Told {
            leaves: vec![cookie],
            ..Told::default()
        });
        keeper.until("it to leave", |done| done.left == 1);
        assert!(!waits.is_finished(), "nothing was sent");
        let before = lo_bytes();
        send(&client, b"by TCP");
        until("it to come by TCP", || lo_bytes() > before);
        // Wakes who waits: TCP's own call goes on, the sockhash's would answer EAGAIN.
        server.shutdown(Shutdown::Write).expect("shutdown");
        thread::sleep(BUSY);
        assert!(!waits.is_finished(), "woken without data");
        send(&client, b"answer");
        let (first, second) = waits.join().expect("the reader panicked");
        assert_eq!(first.expect("the first"), b"by TCP");
        assert_eq!(second.expect("the second"), b"answer");
    });
}
