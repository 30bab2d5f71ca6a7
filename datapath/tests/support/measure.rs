//! What crosses `lo`, and how much a socket takes.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use socket2::Socket;
use sockway_testkit::net;

/// Bytes that `lo` of this namespace received so far.
pub(crate) fn lo_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").expect("read net/dev");
    let line = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("lo:"))
        .expect("lo");
    line.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

/// Makes a listener hand out connections only with their first data.
pub(crate) fn defer_accept(listener: &Socket) {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 10);
}

/// Sets a socket option whose value is an int.
pub(crate) fn set_option(socket: &Socket, level: i32, option: i32, value: libc::c_int) {
    let set = net::set_option(socket, level, option, value);
    set.unwrap_or_else(|error| panic!("option {option} of level {level}: {error}"));
}

/// How many times slower than usual this machine is: an emulated one says so by `SOCKWAY_PACE`.
pub(crate) fn pace() -> u32 {
    let said = std::env::var("SOCKWAY_PACE").ok();
    said.and_then(|pace| pace.parse().ok()).unwrap_or(1).max(1)
}

/// Waits for something to become true.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Duration::from_secs(10) * pace();
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "hang: waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends until the kernel takes no more for 200 ms; how many bytes it took.
pub(crate) fn fill(mut socket: &Socket, message: &[u8], at_most: usize) -> usize {
    let mut total = 0;
    while total < at_most {
        match socket.write(message) {
            Ok(n) => total += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let moment = Duration::from_millis(200);
                if !net::wait_for(&socket, PollFlags::POLLOUT, moment).expect("poll") {
                    break;
                }
            }
            Err(e) => panic!("send: {e}"),
        }
    }
    total
}
