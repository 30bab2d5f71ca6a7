//! A reader whose pod is at its memory limit.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::direction::LOOK_TICKS;
use sockway_common::scope;

use crate::support::measure::fill;
use crate::support::node::{Node, connect, dial, listen, message, move_to, receive};
use crate::{LOOK_AGAIN, MANY, node, ping_pong};

/// Memory of the pod that stays: too little, and the limit ends the pages of its sockets.
const HELD: usize = 8 << 20;
/// Pages of a disk that the kernel can take back, bytes.
const CACHED: usize = 16 << 20;
/// Until the next send looks at the reader again, whatever the length of a timer tick.
const SEEN: Duration = Duration::from_millis(10 * LOOK_TICKS);

/// A pod with memory of its own below the node's cgroup; this process is beside it.
struct Pod {
    root: PathBuf,
    beside: PathBuf,
    at: PathBuf,
    held: PathBuf,
}

impl Pod {
    fn new(node: &Node) -> Self {
        let above = node.options().cgroup;
        let root = above.parent().expect("below the root").to_owned();
        let pod = Self {
            root,
            beside: above.join("beside"),
            at: above.join("pod"),
            held: PathBuf::from(format!("/dev/shm/sockway-test-{}", std::process::id())),
        };
        for at in [&pod.beside, &pod.at] {
            fs::create_dir(at).expect("make a cgroup");
        }
        move_to(&pod.beside);
        // The guest's root has it already.
        fs::write(above.join("cgroup.subtree_control"), "+memory").expect("account memory");
        pod.inside(|| fs::write(&pod.held, vec![1; HELD]).expect("hold memory"));
        pod
    }

    /// Does something as a process of the pod, which pays for what is made.
    fn inside<T>(&self, what: impl FnOnce() -> T) -> T {
        move_to(&self.at);
        let result = what();
        move_to(&self.beside);
        result
    }

    /// Bytes in use.
    fn used(&self) -> usize {
        let used = fs::read_to_string(self.at.join("memory.current")).expect("read");
        used.trim().parse().expect("a number")
    }

    /// No more than what is in use.
    fn fill(&self) {
        self.limit(&self.used().to_string());
    }

    fn limit(&self, max: &str) {
        fs::write(self.at.join("memory.max"), max).expect("limit memory");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.held);
        move_to(&self.root);
        let removed = [&self.at, &self.beside].map(fs::remove_dir);
        let clean = removed.iter().all(Result::is_ok);
        assert!(clean || std::thread::panicking(), "{removed:?}");
    }
}

/// A node, a pod on it, and a connection from the pod to another one.
fn connected(test: &str, scope: u32) -> Option<(Node, Pod, Socket, Socket)> {
    if std::env::var_os("SOCKWAY_OWN_KERNEL").is_none() {
        println!("not run: needs the memory controller of cgroup2; guests run it");
        return None;
    }
    let node = node(test)?;
    node.install();
    node.pod("10.9.0.1", scope);
    let pod = Pod::new(&node);
    let listener = listen("10.9.0.1:15006");
    let (client, server) = pod.inside(|| connect(&listener, "10.9.0.2", "10.9.0.1:15006"));
    ping_pong(&client, &server, 10);
    Some((node, pod, client, server))
}

/// What a sender can put in before a pod without room reads any of it, and that it all arrives
/// once there is room.
fn sent_into(pod: &Pod, client: &Socket, server: &Socket) {
    pod.fill();
    std::thread::sleep(SEEN);
    // Fails where a send does.
    let sent = fill(server, &message(0, 16 * 1024), 64 << 20);
    assert_ne!(sent, 0, "nothing was taken");
    pod.limit("max");
    assert_eq!(receive(client, sent).len(), sent);
}

#[test]
fn a_send_to_a_pod_without_memory_waits() {
    for scope in [scope::OFF, scope::ALL] {
        let Some((node, pod, client, server)) = connected("pod_limit", scope) else {
            return;
        };
        let by_tcp = || node.stats().tcp_messages[Reason::Memory as usize];
        assert_eq!(by_tcp(), 0);
        sent_into(&pod, &client, &server);
        if scope == scope::OFF {
            continue;
        }
        // Until both directions have come back and what they noted is in the sums.
        ping_pong(&client, &server, LOOK_AGAIN + MANY);
        let before = by_tcp();
        assert_ne!(before, 0, "redirected into a pod without memory");
        assert_ne!(node.stats().resumed, 0, "the direction did not come back");
        ping_pong(&client, &server, MANY);
        assert_eq!(by_tcp(), before);
    }
}

#[test]
fn pages_of_files_make_room() {
    let Some((node, pod, client, server)) = connected("pod_cache", scope::ALL) else {
        return;
    };
    let disk = std::env::var_os("SOCKWAY_DISK").expect("a guest has a disk");
    let mut bytes = vec![0; CACHED];
    // Open for as long as its pages are to stay.
    let mut disk = File::open(disk).expect("open the disk");
    let cached = pod.inside(|| disk.read_exact(&mut bytes));
    cached.expect("read the disk");
    drop(bytes);
    pod.fill();
    std::thread::sleep(SEEN);
    ping_pong(&client, &server, LOOK_AGAIN + MANY);
    let messages = node.stats().tcp_messages;
    assert_eq!(
        messages,
        [0; _],
        "by TCP, although the kernel can take pages back"
    );
}

/// The kernel charges a socket to the pod that accepts it, with what it holds by then. Redirected
/// bytes not among that would be given back without ever having been charged.
#[test]
fn bytes_before_accept_are_charged_once() {
    let Some((node, pod, client, server)) = connected("pod_accept", scope::ALL) else {
        return;
    };
    drop((client, server));
    let listener = listen("10.9.0.1:15006");
    let part = message(0, 1024);
    let before = pod.used();
    for _ in 0..200 {
        let client = dial("10.9.0.2", "10.9.0.1:15006");
        let sent = fill(&client, &part, 48 * 1024);
        let (server, _) = pod.inside(|| listener.accept()).expect("accept");
        server.set_nonblocking(true).expect("O_NONBLOCK");
        assert_eq!(receive(&server, sent).len(), sent);
        ping_pong(&client, &server, 2);
    }
    let after = pod.used();
    let messages = node.stats().redirected_messages;
    assert_ne!(messages, [0; _], "nothing was redirected");
    assert!(
        after + (1 << 20) > before,
        "{before} bytes in use before, {after} after"
    );
}
