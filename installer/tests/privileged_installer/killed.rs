//! Killed before every system call that changes the node: the conflist stays whole and the next run finishes.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use sockway_datapath::Datapath;
use sockway_testkit::needs;

use super::node::{CONFLIST, Node, repeat};
use super::reboots::wipe;
use super::traffic::Connection;

/// System calls that change files, mounts or the kernel's BPF state.
const CHANGES: [(i64, &str); 28] = [
    (libc::SYS_openat, "openat"),
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_chmod, "chmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_truncate, "truncate"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_execve, "execve"),
];

/// How a traced run ended.
pub(crate) enum End {
    /// Killed before a call.
    Killed,
    /// By itself, or waiting with nothing left to do; the calls that it made.
    Finished(Vec<&'static str>),
}

/// Runs a command and kills it right before its call number `at` of those in [`CHANGES`].
fn run_and_kill(command: &Command, at: usize) -> End {
    run_and_kill_unless(command, at, &|| false)
}

/// The same for a command that does not end: it is ended where it waits and `idle` says so.
pub(crate) fn run_and_kill_unless(command: &Command, at: usize, idle: &dyn Fn() -> bool) -> End {
    // A shell that stops itself, so that the tracer is there before the first call.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let child = shell
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    trace(&mut child.unwrap(), at, idle)
}

fn trace(child: &mut Child, at: usize, idle: &dyn Fn() -> bool) -> End {
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    ptrace::attach(pid).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    ptrace::setoptions(
        pid,
        ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL,
    )
    .unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    let (mut calls, mut entering, mut signal) = (Vec::new(), true, None);
    loop {
        ptrace::syscall(pid, signal.take()).unwrap();
        match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::PtraceSyscall(_) if entering => {
                entering = false;
                match change(pid) {
                    Call::Waits if idle() => {
                        end(pid);
                        return End::Finished(calls);
                    }
                    Call::Changes(_) if calls.len() == at => {
                        end(pid);
                        return End::Killed;
                    }
                    Call::Changes(call) => calls.push(call),
                    Call::Waits | Call::Other => {}
                }
            }
            WaitStatus::PtraceSyscall(_) => entering = true,
            WaitStatus::Exited(_, code) => {
                assert_eq!(code, 0, "after {calls:?}");
                return End::Finished(calls);
            }
            WaitStatus::Stopped(_, Signal::SIGSTOP | Signal::SIGCONT | Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, other) => signal = Some(other),
            other => panic!("{other:?} after {calls:?}"),
        }
    }
}

fn end(pid: Pid) {
    kill(pid, Signal::SIGKILL).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
}

/// A system call, by what it means here.
enum Call {
    /// Changes the node.
    Changes(&'static str),
    /// Waits for something to happen.
    Waits,
    Other,
}

/// The call that a stopped process is about to make.
fn change(pid: Pid) -> Call {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let number = text.split_whitespace().next().and_then(|n| n.parse().ok());
    if [Some(libc::SYS_poll), Some(libc::SYS_ppoll)].contains(&number) {
        return Call::Waits;
    }
    let Some((_, name)) = CHANGES.iter().find(|(n, _)| Some(*n) == number) else {
        return Call::Other;
    };
    let argument = |at: usize| {
        let hex = text
            .split_whitespace()
            .nth(at + 1)
            .and_then(|a| a.strip_prefix("0x"));
        hex.and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .unwrap_or(0)
    };
    match *name {
        // Opening without O_CREAT or O_TRUNC changes nothing.
        "openat"
            if argument(2) & u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) == 0 =>
        {
            Call::Other
        }
        // Standard output and error are no part of the node.
        "write" | "writev" if argument(0) <= 2 => Call::Other,
        // Reading a map changes nothing: BPF_MAP_LOOKUP_ELEM, _GET_NEXT_KEY, _GET_INFO_BY_FD.
        "bpf" if matches!(argument(0), 1 | 4 | 15) => Call::Other,
        name => Call::Changes(name),
    }
}

fn assert_whole(node: &Node, at: usize) {
    let text = node.text();
    let list: serde_json::Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("killed before call {at}: {e}: {text}"));
    let plugins = list["plugins"].as_array().unwrap();
    assert!(
        (1..=2).contains(&plugins.len()),
        "killed before call {at}: {text}"
    );
    let loaded: Vec<_> = sockway_installer::cni::confdir::loadable(&node.path("net.d")).unwrap();
    assert_eq!(loaded, ["10-terway.conflist"], "killed before call {at}");
}

/// Every file is written to disk before it takes its place, and the directory after.
fn assert_synced(calls: &[&str]) {
    let places: Vec<usize> = (0..calls.len())
        .filter(|&at| calls[at].starts_with("rename"))
        .collect();
    assert!(!places.is_empty(), "{calls:?}");
    for at in places {
        // Pins are renamed in bpffs, which has nothing to write to disk.
        let pinned = calls[..at].iter().rev().take(3).any(|call| *call == "bpf");
        assert!(
            pinned || (calls[at - 1] == "fsync" && calls[at + 1] == "fsync"),
            "rename number {at} of {calls:?}"
        );
    }
}

/// Every call in a short command; of long ones (loading programs) every call that is not `bpf`, and some that are.
fn points(calls: &[&str]) -> Vec<usize> {
    let few = repeat(24, 1);
    (0..calls.len())
        .filter(|&at| calls[at] != "bpf" || at % few == 0)
        .collect()
}

fn calls_of(command: &Command) -> Vec<&'static str> {
    match run_and_kill(command, usize::MAX) {
        End::Finished(calls) => calls,
        End::Killed => panic!("killed before call {}", usize::MAX),
    }
}

fn reset(node: &Node) {
    Datapath::remove(&node.pins()).unwrap();
    for entry in fs::read_dir(node.path("bin")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(node.conflist(), CONFLIST).unwrap();
}

#[test]
fn install_at_every_call() {
    let node = needs!(Node::new("install_at_every_call"));
    let calls = calls_of(&node.sockway(&["install"]));
    assert_synced(&calls);
    // The proof takes the longest, and nothing of it is left on the node: shown once is enough.
    let kept = node.path("run").join("proof.json");
    let proof = fs::read(&kept).unwrap();
    let prepare = || {
        reset(&node);
        fs::create_dir_all(node.path("run")).unwrap();
        fs::write(&kept, &proof).unwrap();
    };
    prepare();
    let calls = calls_of(&node.sockway(&["install"]));
    assert_synced(&calls);
    let points = points(&calls);
    println!(
        "{} calls that change the node, killed before {}",
        calls.len(),
        points.len()
    );
    for at in points {
        prepare();
        run_and_kill(&node.sockway(&["install"]), at);
        assert_whole(&node, at);
        // The power comes back, or only the process ended; the next one installs or takes off.
        if at % 3 == 0 {
            wipe(&node);
        }
        if at % 2 == 0 {
            node.run(&["install"], 0);
            node.run(&["status"], 0);
            assert!(node.has_entry());
        } else {
            node.run(&["uninstall", "--purge"], 0);
            node.assert_gone(&[]);
        }
    }
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn upgrade_at_every_call() {
    let node = needs!(Node::new("upgrade_at_every_call"));
    node.run(&["install"], 0);
    node.cni("ADD");
    let mut connection = Connection::open();
    let calls = calls_of(&node.sockway(&["install"]));
    for at in points(&calls) {
        run_and_kill(&node.sockway(&["install"]), at);
        assert_whole(&node, at);
        connection.echo();
        Connection::open().echo();
    }
    node.run(&["install"], 0);
    node.run(&["status"], 0);
    assert_eq!(node.json(&["pods"], 0).as_array().unwrap().len(), 1);
    drop(connection);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

/// terwayd's rewrite and a binary that is gone, repaired by a keeper that is killed.
#[test]
fn repair_at_every_call() {
    let node = needs!(Node::new("repair_at_every_call"));
    node.run(&["install"], 0);
    let mut keeper = node.sockway(&["run"]);
    // Without pages it has one thread.
    keeper.env("SOCKWAY_LISTEN", "none");
    let undo = || {
        fs::write(node.conflist(), CONFLIST).unwrap();
        if node.plugin().exists() {
            fs::remove_file(node.plugin()).unwrap();
        }
    };
    let whole = || node.has_entry() && node.plugin().exists();
    undo();
    let End::Finished(calls) = run_and_kill_unless(&keeper, usize::MAX, &whole) else {
        panic!("killed before call {}", usize::MAX);
    };
    assert_synced(&calls);
    let points: Vec<usize> = (0..calls.len()).step_by(repeat(2, 1)).collect();
    println!(
        "{} calls that change the node, killed before {}",
        calls.len(),
        points.len()
    );
    for at in points {
        undo();
        run_and_kill_unless(&keeper, at, &whole);
        assert_whole(&node, at);
        // The next keeper finishes what this one began.
        let rest = run_and_kill_unless(&keeper, usize::MAX, &whole);
        assert!(
            matches!(rest, End::Finished(_)) && whole(),
            "after call {at}"
        );
        assert_whole(&node, at);
    }
    node.run(&["install"], 0);
    node.run(&["status"], 0);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn uninstall_at_every_call() {
    let node = needs!(Node::new("uninstall_at_every_call"));
    node.run(&["install"], 0);
    let calls = calls_of(&node.sockway(&["uninstall", "--purge"]));
    assert_synced(&calls);
    println!("{} calls that change the node", calls.len());
    for at in 0..calls.len() {
        node.run(&["install"], 0);
        run_and_kill(&node.sockway(&["uninstall", "--purge"]), at);
        assert_whole(&node, at);
        node.run(&["uninstall", "--purge"], 0);
        node.assert_gone(&[]);
    }
}
