//! How applications wait for their sockets, and what else shows that only TCP can serve them.

use std::io::{ErrorKind, Read as _};
use std::os::fd::AsRawFd as _;

use aya::programs::{ProgramInfo, loaded_links};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::layout::program;
use sockway_common::pair::hop;
use sockway_common::program::{SERVER, sign};
use sockway_common::scope;
use sockway_datapath::kernel::Hooks;
use sockway_datapath::receive_hook::ReceiveHook;
use sockway_datapath::{Datapath, host};
use sockway_testkit::ring::privileged;

use crate::support::measure::until;
use crate::support::node::{Node, connect, listen, message, receive, receive_all, send};

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
    privileged(test)?;
    let node = Node::new(&["10.9.0.1/32", "127.0.0.6/32"]);
    let report = Datapath::install(&node.options()).expect("install");
    node.pod("10.9.0.1", scope::AUTO);
    Some((node, report.hooks))
}

/// Whether this kernel has no hook at the end of receiving calls: the tracepoint came with 6.3, and arm64
/// took no programs on functions before.
fn lacks_ends() -> bool {
    let release = host::kernel_release();
    let mut numbers = release.split('.').map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next(), numbers.next());
    cfg!(target_arch = "aarch64") && version < (Some(6), Some(3))
}

/// Answers `ROUNDS` messages from an epoll loop; `whole`: reads on until `EAGAIN`.
fn serve(listener: &Socket, events: EpollFlags, whole: bool) {
    exchange(listener, events, whole, true);
}

/// The same; `answers`: else it only reads.
fn exchange(listener: &Socket, events: EpollFlags, whole: bool, answers: bool) {
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
        if answers {
            send(&app, &sent);
            assert_eq!(receive_all(&envoy, SIZE), sent);
        }
    }
}

/// Messages that were redirected to the application so far.
fn to_application(node: &Node) -> u64 {
    let way = hop::direction(hop::APP, true);
    node.stats().redirected_messages[way as usize]
}

/// Whether bytes are redirected to the second connection of an application that waits like this.
fn takes_part(node: &Node, listener: &Socket, events: EpollFlags, whole: bool) -> bool {
    serve(listener, events, whole);
    let before = to_application(node);
    serve(listener, events, whole);
    let redirected = to_application(node) - before;
    assert!(
        redirected == 0 || redirected == ROUNDS as u64,
        "{redirected} of {ROUNDS}"
    );
    redirected != 0
}

#[test]
fn level_triggered_readers_take_part() {
    let Some((node, hooks)) = node("level_triggered") else {
        return;
    };
    // Where FIONREAD is wrong and nobody sees who asks, only those who have no use for it.
    let (short, whole) = (listen(APPLICATION), EpollFlags::EPOLLIN);
    assert_eq!(
        takes_part(&node, &short, whole, false),
        node.comes_in_at_once()
    );
    drop(short);
    let to_end = listen(APPLICATION);
    let wanted = hooks.ends || node.comes_in_at_once();
    assert_eq!(takes_part(&node, &to_end, whole, true), wanted);
    assert!(hooks.ends || lacks_ends(), "no hook at the end of calls");
}

#[test]
fn edge_triggered_readers_take_part_if_they_read_to_the_end() {
    let Some((node, hooks)) = node("edge_triggered") else {
        return;
    };
    let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    let short = listen(APPLICATION);
    assert!(
        !takes_part(&node, &short, events, false),
        "a short read is the end"
    );
    drop(short);
    let whole = listen(APPLICATION);
    assert_eq!(takes_part(&node, &whole, events, true), hooks.ends);
    assert!(hooks.ends || lacks_ends(), "no hook at the end of calls");
}

/// Both ends are this executable: what its accepted ends show counts for one that only sends.
#[test]
fn who_only_sends_takes_part_once_its_executable_is_known() {
    let Some((node, hooks)) = node("only_sends") else {
        return;
    };
    let listener = listen(APPLICATION);
    for whole in [true, false] {
        exchange(&listener, EpollFlags::EPOLLIN, whole, false);
        let before = to_application(&node);
        exchange(&listener, EpollFlags::EPOLLIN, whole, false);
        let redirected = to_application(&node) - before;
        let wanted = hooks.ends || node.comes_in_at_once();
        let wanted = if wanted { ROUNDS as u64 } else { 0 };
        assert_eq!(redirected, wanted, "known by the connection before");
    }
}

/// Who stops short may ask for the length of the queue when an answer comes.
#[test]
fn who_only_sends_stays_out_where_its_executable_stops_short() {
    let Some((node, _)) = node("only_sends_short") else {
        return;
    };
    let listener = listen(APPLICATION);
    exchange(&listener, EpollFlags::EPOLLIN, false, false);
    let before = to_application(&node);
    exchange(&listener, EpollFlags::EPOLLIN, false, false);
    let redirected = to_application(&node) - before;
    let wanted = if node.comes_in_at_once() {
        ROUNDS as u64
    } else {
        0
    };
    assert_eq!(redirected, wanted);
}

#[test]
fn where_calls_end_is_seen_when_an_application_asks() {
    let Some((node, hooks)) = node("asks") else {
        return;
    };
    let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    let mut ends = ReceiveHook::open(&node.pins).expect("open");
    let listener = listen(APPLICATION);
    if !ends.release().expect("release") {
        // Programs on functions stay where they are.
        assert_eq!(takes_part(&node, &listener, events, true), hooks.ends);
        return;
    }
    // The kernel ends a link some time after its last name is gone, and takes it off the tracepoint
    // some time after that.
    let hook = ProgramInfo::from_pin(node.pins.program(program::ENDS)).expect("look at");
    until("the link's end", || {
        loaded_links().all(|link| link.is_ok_and(|link| link.program_id() != hook.id()))
    });
    let before = ends.asks().expect("asks");
    let mut listener = Some(listener);
    until("the hook to see nothing", || {
        let unknown = listener.get_or_insert_with(|| listen(APPLICATION));
        let seen = takes_part(&node, unknown, events, true);
        if seen {
            listener = None;
        }
        !seen
    });
    let listener = listener.expect("the one that was not seen");
    let asked = ends.asks().expect("asks");
    assert!(asked > before, "{asked} after {before}");
    assert!(ends.attach().expect("attach"));
    assert!(takes_part(&node, &listener, events, true), "seen again");
    let known = ends.asks().expect("asks");
    assert!(ends.release().expect("release"));
    let redirected = to_application(&node);
    serve(&listener, events, true);
    assert_eq!(to_application(&node), redirected + ROUNDS as u64);
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
    let listener = listen(APPLICATION);
    serve(&listener, EpollFlags::EPOLLIN, true);
    let (envoy, app) = connect(&listener, ENVOY, APPLICATION);
    let before = to_application(&node);
    send(&envoy, b"redirected");
    unread(&app);
    assert_eq!(receive(&app, 10), b"redirected");
    send(&envoy, b"by TCP");
    assert_eq!(receive(&app, 6), b"by TCP");
    drop((envoy, app));
    let messages = to_application(&node) - before;
    let asks = node.programs(SERVER, 8080)[0].signs[sign::FIONREAD] != 0;
    if !hooks.guards {
        // Who asks cannot be seen there, and status says so.
        let limits = Datapath::status(&node.pins).expect("status").limits;
        let said = limits.iter().any(|limit| limit.contains("FIONREAD"));
        assert!(said && !asks, "{limits:?}");
        assert_eq!(messages, 2);
        return;
    }
    // Seen: the same connection's next message goes by TCP, and the next connection's as well.
    assert_eq!((messages, asks), (1, true));
    // By what its program is, or because the end leaves, whichever was looked at first.
    let stats = node.stats();
    let why = [Reason::Guarded, Reason::Closed].map(|why| stats.tcp_messages[why as usize]);
    assert_eq!(why.iter().sum::<u64>(), 1, "{why:?}");
    let before = to_application(&node);
    serve(&listener, EpollFlags::EPOLLIN, true);
    assert_eq!(to_application(&node), before);
}
