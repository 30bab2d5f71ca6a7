//! How applications wait for their sockets, and what else shows that only TCP can serve them.

use aya::programs::{ProgramInfo, loaded_links};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::layout::program;
use sockway_common::pair::hop;
use sockway_common::scope;
use sockway_datapath::Datapath;
use sockway_datapath::ends::Ends;
use sockway_datapath::kernel::Hooks;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsRawFd as _;

use crate::support::bpffs::privileged;
use crate::support::measure::until;
use crate::support::node::{Node, connect, listen, message, receive, send};

/// Envoy's end of the hop to its application.
const ENVOY: &str = "127.0.0.6";
const APPLICATION: &str = "10.9.0.1:8080";
/// Reads after which an address is known as fit, and some.
const ROUNDS: usize = 20;
/// Bytes of a message, and of the application's buffer.
const SIZE: usize = 64;
const BUFFER: usize = 4096;

/// A node with one pod, and what its kernel took.
fn node(test: &str) -> Option<(Node, Hooks)> {
    if !privileged(test) {
        return None;
    }
    let node = Node::new(&["10.9.0.1/32", "127.0.0.6/32"]);
    let report = Datapath::install(&node.options()).expect("install");
    node.pod("10.9.0.1", scope::AUTO);
    Some((node, report.hooks))
}

/// Answers `ROUNDS` messages from an epoll loop; `whole`: reads on until `EAGAIN`.
fn serve(listener: &Socket, events: EpollFlags, whole: bool) {
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll_create1");
    epoll
        .add(&app, EpollEvent::new(events, 0))
        .expect("EPOLL_CTL_ADD");
    let mut reader = &app;
    for round in 0..ROUNDS {
        let sent = message(round, SIZE);
        send(&envoy, &sent);
        let mut event = [EpollEvent::empty()];
        let timeout = EpollTimeout::from(10_000u16);
        assert_eq!(epoll.wait(&mut event, timeout), Ok(1), "round {round}");
        let mut buffer = [0; BUFFER];
        let got = reader.read(&mut buffer).expect("read");
        assert_eq!(&buffer[..got], sent, "round {round}");
        if whole {
            let end = reader.read(&mut buffer).expect_err("nothing more");
            assert_eq!(end.kind(), ErrorKind::WouldBlock);
        }
        send(&app, &sent);
        assert_eq!(receive(&envoy, SIZE), sent);
    }
}

/// Whether the second connection of an application that waits like this is joined.
fn takes_part(node: &Node, events: EpollFlags, whole: bool) -> bool {
    let listener = listen(APPLICATION);
    let before = node.stats().paired[hop::APP as usize];
    serve(&listener, events, whole);
    serve(&listener, events, whole);
    node.stats().paired[hop::APP as usize] == before + 1
}

#[test]
fn level_triggered_readers_take_part() {
    let Some((node, _)) = node("level_triggered") else {
        return;
    };
    assert!(takes_part(&node, EpollFlags::EPOLLIN, false));
}

#[test]
fn edge_triggered_readers_take_part_if_they_read_to_the_end() {
    let Some((node, hooks)) = node("edge_triggered") else {
        return;
    };
    let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    assert!(!takes_part(&node, events, false), "a short read is the end");
    assert_eq!(takes_part(&node, events, true), hooks.ends);
    assert!(hooks.ends, "no hook at the end of receiving calls");
}

#[test]
fn where_calls_end_is_seen_when_an_application_asks() {
    let Some((node, hooks)) = node("asks") else {
        return;
    };
    let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    let mut ends = Ends::open(&node.pins).expect("open");
    if !ends.release().expect("release") {
        // Programs on functions stay where they are.
        assert_eq!(takes_part(&node, events, true), hooks.ends);
        return;
    }
    // The kernel ends a link some time after its last name is gone.
    let hook = ProgramInfo::from_pin(node.pins.program(program::ENDS)).expect("look at");
    until("the link's end", || {
        loaded_links().all(|link| link.is_ok_and(|link| link.program_id() != hook.id()))
    });
    let before = ends.asks().expect("asks");
    assert!(!takes_part(&node, events, true), "not seen");
    let asked = ends.asks().expect("asks");
    assert!(asked > before, "{asked} after {before}");
    assert!(ends.attach().expect("attach"));
    assert!(takes_part(&node, events, true), "seen again");
    let known = ends.asks().expect("asks");
    assert!(ends.release().expect("release"));
    let listener = listen(APPLICATION);
    let joined = node.stats().paired[hop::APP as usize];
    serve(&listener, events, true);
    assert_eq!(node.stats().paired[hop::APP as usize], joined + 1);
    assert_eq!(ends.asks().expect("asks"), known, "known by now");
    Datapath::detach(&node.pins).expect("detach");
    assert!(!ends.attach().expect("attach"), "nothing to see");
}

/// Bytes that wait to be read, by `ioctl(FIONREAD)`.
fn unread(socket: &Socket) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int, which `bytes` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    bytes
}

#[test]
fn the_first_fionread_is_seen() {
    let Some((node, hooks)) = node("first_fionread") else {
        return;
    };
    if !hooks.guards {
        println!("not run: this kernel allows no programs on functions");
        return;
    }
    let listener = listen(APPLICATION);
    serve(&listener, EpollFlags::EPOLLIN, false);
    let (envoy, app) = connect(&listener, ENVOY, APPLICATION);
    send(&envoy, b"redirected");
    let joined = node.stats();
    assert_eq!(joined.paired[hop::APP as usize], 1, "joined");
    unread(&app);
    assert_eq!(receive(&app, 10), b"redirected");
    // Seen: the same connection's next message goes by TCP, and the next connection as a whole.
    send(&envoy, b"by TCP");
    assert_eq!(receive(&app, 6), b"by TCP");
    drop((envoy, app));
    serve(&listener, EpollFlags::EPOLLIN, false);
    let after = node.stats();
    let guarded = Reason::Guarded as usize;
    assert_eq!(after.tcp_messages[guarded], 1);
    assert_eq!(after.left[guarded], joined.left[guarded] + 1);
    assert_eq!(after.paired, joined.paired);
}
