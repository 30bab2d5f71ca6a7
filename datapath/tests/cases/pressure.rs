//! A node whose TCP is short of memory.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};

use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::scope;
use sockway_testkit::needs;

use crate::support::measure::fill;
use crate::support::node::{connect, listen, message};
use crate::{LOOK_AGAIN, MANY, node, ping_pong};

/// Low, pressure and high mark of all TCP memory, pages.
const TCP_MEM: &str = "/proc/sys/net/ipv4/tcp_mem";
/// Marks of which a few unread connections pass the second only: past the third no TCP gets on.
const SHORT: &str = "1 1 1000000";

/// The marks, put back at the end. Opened first: a network namespace of its own has none.
struct Marks {
    file: File,
    before: String,
}

impl Marks {
    fn open() -> Self {
        let before = fs::read_to_string(TCP_MEM).expect("read tcp_mem");
        let file = File::options().write(true).open(TCP_MEM);
        Self {
            file: file.expect("open tcp_mem"),
            before,
        }
    }

    fn set(&mut self, marks: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(marks.as_bytes())
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        let before = self.before.clone();
        let put_back = self.set(&before);
        assert!(put_back.is_ok() || std::thread::panicking(), "{put_back:?}");
    }
}

/// Connections that are not joined, full of bytes nobody reads.
fn unread() -> Vec<(Socket, Socket)> {
    let listener = listen("10.9.0.2:9000");
    let pairs: Vec<_> = (0..8)
        .map(|_| connect(&listener, "10.9.0.2", "10.9.0.2:9000"))
        .collect();
    let part = message(0, 64 * 1024);
    for (client, _) in &pairs {
        fill(client, &part, 64 << 20);
    }
    pairs
}

#[test]
fn nothing_is_redirected_while_memory_is_short() {
    if std::env::var_os("SOCKWAY_OWN_KERNEL").is_none() {
        println!("not run: all connections of a machine share {TCP_MEM}; guests run it");
        return;
    }
    let mut marks = Marks::open();
    let node = needs!(node("memory_pressure"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let (client, server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    ping_pong(&client, &server, 10);
    let by_tcp = || node.stats().tcp_messages[Reason::Memory as usize];
    assert_eq!(by_tcp(), 0);

    let unread = unread();
    marks.set(SHORT).expect("write tcp_mem");
    // No send fails.
    ping_pong(&client, &server, MANY);
    assert_ne!(by_tcp(), 0, "still redirected");
    drop((marks, unread));

    // Until both directions have come back and what they noted is in the sums.
    ping_pong(&client, &server, LOOK_AGAIN + MANY);
    let (before, resumed) = (by_tcp(), node.stats().resumed);
    assert_ne!(resumed, 0, "the direction did not come back");
    ping_pong(&client, &server, MANY);
    assert_eq!(by_tcp(), before);
}
