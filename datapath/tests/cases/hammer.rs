//! Rows that several CPUs write at the same time.

use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;
use sockway_common::program::{SERVER, sign};
use sockway_common::scope;
use sockway_datapath::stats;
use sockway_testkit::needs;

use crate::support::measure::{set_option, until};
use crate::support::node::{connect, listen, message, receive, receive_all, send};
use crate::support::threads::{AtEnd, pin};
use crate::{node, ping_pong};

const ENVOY: &str = "127.0.0.6";
const APPLICATION: &str = "10.9.0.1:8080";

/// One byte, there and read; `epoll`: it waits level-triggered, so that each read counts.
fn read_one(client: &Socket, server: &Socket, epoll: &Epoll) {
    send(client, b"x");
    let mut event = [EpollEvent::empty()];
    let timeout = EpollTimeout::from(10_000_u16);
    assert_eq!(epoll.wait(&mut event, timeout), Ok(1));
    // To the end: where FIONREAD is wrong nobody looks any more at who stopped short often.
    assert_eq!(receive_all(server, 1), b"x");
}

/// One read that leaves a sign of its own, none of those after which nobody looks any more.
fn leave_sign(number: usize, client: &Socket, server: &Socket, epoll: &Epoll) -> usize {
    send(client, b"12345678");
    let mut bytes = [0_u8; 8];
    match number {
        0 => {
            set_option(server, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1);
            assert_eq!(receive(server, 8).len(), 8);
            set_option(server, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 0);
            sign::TCP_ONLY
        }
        1 => {
            set_option(server, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 4);
            assert_eq!(receive(server, 8).len(), 8);
            set_option(server, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 1);
            sign::RCVLOWAT
        }
        2 => {
            let how = |flags| {
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN | flags, 0);
                epoll.modify(server, &mut event).expect("EPOLL_CTL_MOD");
            };
            how(EpollFlags::EPOLLET);
            assert_eq!(receive_all(server, 8).len(), 8);
            how(EpollFlags::empty());
            sign::EDGE
        }
        _ => {
            let (read, write) = nix::unistd::pipe().expect("a pipe");
            // SAFETY: two live descriptors, no offsets.
            let moved = unsafe {
                libc::splice(
                    server.as_raw_fd(),
                    std::ptr::null_mut(),
                    write.as_raw_fd(),
                    std::ptr::null_mut(),
                    8,
                    0,
                )
            };
            assert_eq!(moved, 8, "{}", std::io::Error::last_os_error());
            assert_eq!(nix::unistd::read(&read, &mut bytes), Ok(8));
            sign::OTHER_READ
        }
    }
}

/// Each sign is left by one read only, while other CPUs write the same row.
///
/// One thread for each CPU: a kernel that preempts programs skips them for who reads meanwhile on the same CPU (7.2).
#[test]
fn no_sign_of_a_program_is_lost() {
    const SIGNS: usize = 4;
    const ROUNDS: usize = 150;
    const READS: usize = 50;
    let node = needs!(node("hammer_program"));
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = cpus.min(SIGNS);
    for round in 0..ROUNDS {
        // A port of its own, so a row of its own.
        let port = 9000 + u16::try_from(round).expect("small");
        let at = format!("10.9.0.1:{port}");
        let listener = listen(&at);
        let open: Vec<_> = (0..count).map(|_| connect(&listener, ENVOY, &at)).collect();
        let start = Barrier::new(count);
        let signs: Vec<usize> = thread::scope(|threads| {
            let threads: Vec<_> = open
                .iter()
                .enumerate()
                .map(|(number, (client, server))| {
                    let start = &start;
                    threads.spawn(move || {
                        pin(number);
                        let epoll =
                            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll_create1");
                        let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
                        epoll.add(server, event).expect("EPOLL_CTL_ADD");
                        start.wait();
                        for _ in 0..READS / 2 {
                            read_one(client, server, &epoll);
                        }
                        let sign = leave_sign((number + round) % SIGNS, client, server, &epoll);
                        for _ in 0..READS / 2 {
                            read_one(client, server, &epoll);
                        }
                        sign
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a thread"))
                .collect()
        });
        let rows = node.programs(SERVER, u32::from(port));
        let [row] = rows[..] else {
            panic!("{} rows of one program", rows.len());
        };
        for &sign in &signs {
            assert_eq!(row.signs[sign], 1, "round {round}: sign {sign}: {row:?}");
        }
        let others = signs.iter().filter(|s| **s == sign::OTHER_READ).count();
        let reads = count * (READS + 1) - others;
        assert_eq!(
            (row.reads, row.others),
            (reads as u64, others as u64),
            "round {round}: {row:?}"
        );
    }
}

/// The mark that an end is to leave is set once, by its peer's send, while its own reads write
/// the same row on another CPU.
#[test]
fn no_mark_to_leave_is_lost() {
    const ROUNDS: usize = 100;
    let node = needs!(node("hammer_end"));
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    for round in 0..ROUNDS {
        // A program that has begun to block is unfit for good, but not another one.
        let listener = listen(APPLICATION);
        let (client, server) = connect(&listener, ENVOY, APPLICATION);
        ping_pong(&client, &server, 20);
        drop((client, server));
        let (client, server) = connect(&listener, ENVOY, APPLICATION);
        ping_pong(&client, &server, 3);
        let marked = || {
            let ends = stats::ends(&node.pins).expect("list ends");
            let own = ends.iter().find(|(_, row)| row.local_port == 8080);
            let (_, row) = own.expect("its row");
            assert_eq!(row.joined, 1, "round {round}: nobody takes it out here");
            row.leaves == 1
        };
        assert!(!marked());
        let end = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                pin(1);
                let mut buffer = [std::mem::MaybeUninit::uninit(); 64];
                while !end.load(Ordering::Acquire) {
                    match server.recv_with_flags(&mut buffer, libc::MSG_DONTWAIT) {
                        Ok(_) => {}
                        Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                    }
                }
            });
            let sends = threads.spawn(|| {
                let _at_end = AtEnd(&end);
                pin(0);
                send(&client, &message(round, 32));
                server.set_nonblocking(false).expect("blocking");
                // One send sees it, marks the end, and sees to it that no later one is redirected.
                send(&client, &message(round, 32));
                until("the mark", &marked);
                for _ in 0..20 {
                    send(&client, &message(round, 32));
                }
                assert!(marked(), "round {round}: the mark was lost");
            });
            assert!(sends.join().is_ok());
        });
    }
}
