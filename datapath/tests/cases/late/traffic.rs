//! Connections that are in use, and that end, while they are brought in.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;
use sockway_common::scope;
use sockway_datapath::host;

use super::{CLIENT, INBOUND, crosses_lo};
use crate::support::keeper::Keeper;
use crate::support::node::{connect, listen, message, receive, send};
use crate::{node, ping_pong};

/// Connections that never rest, while they are brought in again and again.
#[test]
fn traffic_goes_on_while_connections_are_brought_in() {
    const CONNECTIONS: usize = 24;
    let Some(node) = node("late_traffic") else {
        return;
    };
    let listener = listen(INBOUND);
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|_| connect(&listener, CLIENT, INBOUND))
        .collect();
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
    let (end, patience) = (AtomicBool::new(false), Duration::from_mins(1));
    let opened = thread::scope(|threads| {
        for (number, (client, server)) in open.iter().enumerate() {
            let end = &end;
            threads.spawn(move || stream(number, client, end));
            threads.spawn(move || answer(server));
        }
        let started = Instant::now();
        while keeper.done.opened < 2 * CONNECTIONS && started.elapsed() < patience {
            keeper.adopt();
            keeper.pass();
            keeper.settle(Duration::from_millis(200));
        }
        // They go on for a while as they are now.
        thread::sleep(Duration::from_millis(500));
        end.store(true, Ordering::Release);
        keeper.done.opened
    });
    assert_eq!(opened, 2 * CONNECTIONS, "under way: {:?}", keeper.done);
    for (client, server) in &mut open {
        ping_pong(client, server, 70);
        assert!(!crosses_lo(client, server));
    }
    drop(open);
    keeper.forget();
    assert_eq!(node.connection_rows(), [0; 3]);
    let stats = node.stats();
    assert_ne!(stats.redirected_messages, [0; _]);
    println!("{:?}", keeper.done);
}

/// Sends messages of changing sizes, with pauses, and waits for each one's answer.
fn stream(number: usize, client: &Socket, end: &AtomicBool) {
    let mut round = 0;
    while !end.load(Ordering::Acquire) {
        let sent = message(number * 1000 + round, 1 + round * 797 % 40_000);
        let size = u32::try_from(sent.len()).expect("small");
        send(client, &size.to_be_bytes());
        // In pieces, so that a direction may change its way between them.
        for piece in sent.chunks(1 + sent.len() / 3) {
            send(client, piece);
        }
        assert_eq!(receive(client, sent.len()), sent, "{number}: round {round}");
        round += 1;
        // Bursts, and rests in which the two ends can be found.
        if round.is_multiple_of(4) {
            thread::sleep(Duration::from_millis(5 + (number as u64 % 8) * 5));
        }
    }
    send(client, &0u32.to_be_bytes());
}

/// Answers each message with its own bytes.
fn answer(server: &Socket) {
    loop {
        let size = receive(server, 4);
        let size = u32::from_be_bytes(size.try_into().expect("4 bytes"));
        if size == 0 {
            return;
        }
        let bytes = receive(server, usize::try_from(size).expect("fits"));
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let piece = rest.len().min(9_000);
            send(server, &rest[..piece]);
            rest = &rest[piece..];
        }
    }
}

#[test]
fn closing_while_being_brought_in_leaves_nothing() {
    const ROUNDS: usize = 40;
    let Some(node) = node("late_closing") else {
        return;
    };
    let listener = listen(INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
    // Not seen by `sock_ops`, as if they were older.
    leave_cgroup();
    let [stop, came_in] = [(); 2].map(|()| AtomicBool::new(false));
    thread::scope(|threads| {
        threads.spawn(|| {
            // Where everything is slow a connection is to live for as long as the keeper looks.
            for round in 0..ROUNDS * 10 {
                if round >= ROUNDS && came_in.load(Ordering::Acquire) {
                    break;
                }
                let open: Vec<_> = (0..20)
                    .map(|_| connect(&listener, CLIENT, INBOUND))
                    .collect();
                let longer = 1 + round / ROUNDS;
                thread::sleep(Duration::from_millis((round % 10 * 5 * longer) as u64));
                for (client, server) in open {
                    (&client).write_all(b"last words").expect("send");
                    drop(client);
                    assert_eq!(receive(&server, 100), b"last words");
                }
            }
            stop.store(true, Ordering::Release);
        });
        while !stop.load(Ordering::Acquire) {
            keeper.adopt();
            keeper.pass();
            keeper.settle(Duration::from_millis(50));
            came_in.store(keeper.done.joined > 0, Ordering::Release);
        }
    });
    assert_ne!(keeper.done.joined, 0);
    keeper.forget();
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
}

/// What is opened from now on is not seen by `sock_ops`.
fn leave_cgroup() {
    let root = host::find_cgroup2()
        .expect("read mounts")
        .expect("a cgroup2 hierarchy");
    let pid = std::process::id().to_string();
    std::fs::write(root.join("cgroup.procs"), pid).expect("move to the root");
}
