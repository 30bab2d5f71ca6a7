//! Whether a program's sockets block, as `/proc` tells: not what the datapath thinks.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::manner::{Ends, Manner};

/// How often it is looked.
const TICK: Duration = Duration::from_millis(20);
/// State of an established connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// How often connections of one end were seen, and how often without `O_NONBLOCK`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    looks: u64,
    blocking: u64,
}

/// The two ends of the connections to a port.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sockets {
    client: Seen,
    server: Seen,
}

impl Sockets {
    /// An error where an end does not block that is said to, or the other way round.
    pub(crate) fn agree(self, ends: Ends) -> Result<()> {
        for (name, seen, manner) in [
            ("client", self.client, ends.client),
            ("server", self.server, ends.server),
        ] {
            let Seen { looks, blocking } = seen;
            let right = if manner == Manner::Blocks {
                // Not always: some wait for a request without, and read it blocking.
                blocking > 0
            } else {
                // A socket blocks for a moment between accept and fcntl, with some.
                blocking * 10 <= looks
            };
            ensure!(
                right,
                "the {name} is said to be {manner:?}, but {blocking} of {looks} looks at its sockets saw them blocking"
            );
        }
        Ok(())
    }
}

/// Looks until it is told to end.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Sockets>,
}

impl Watch {
    /// At the processes in some cgroups, but one each, and their connections to a port.
    pub(crate) fn start(cgroups: Vec<PathBuf>, but: HashSet<u32>, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut sockets = Sockets::default();
            while !ends.load(Ordering::Relaxed) {
                for cgroup in &cgroups {
                    look(cgroup, &but, port, &mut sockets);
                }
                thread::sleep(TICK);
            }
            sockets
        });
        Self { stop, thread }
    }

    /// What was seen.
    pub(crate) fn end(self) -> Result<Sockets> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("panic while looking at sockets"))
    }
}

/// Processes and descriptors come and go meanwhile: what is gone is not counted.
fn look(cgroup: &Path, but: &HashSet<u32>, port: u16, sockets: &mut Sockets) {
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for process in processes.lines().filter_map(|line| line.parse().ok()) {
        if but.contains(&process) {
            continue;
        }
        let proc = PathBuf::from(format!("/proc/{process}"));
        let connections = connections(&proc, port);
        for entry in fs::read_dir(proc.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let Some(&serves) = connections.get(&*target.to_string_lossy()) else {
                continue;
            };
            let info = fs::read_to_string(proc.join("fdinfo").join(entry.file_name()));
            let Some(flags) = info.ok().as_deref().and_then(flags) else {
                continue;
            };
            let seen = if serves {
                &mut sockets.server
            } else {
                &mut sockets.client
            };
            seen.looks += 1;
            seen.blocking += u64::from(flags & libc::O_NONBLOCK.unsigned_abs() == 0);
        }
    }
}

/// `socket:[inode]` of the established connections to a port, and whether it is the local one.
fn connections(proc: &Path, port: u16) -> HashMap<String, bool> {
    let table = |name: &str| fs::read_to_string(proc.join("net").join(name)).unwrap_or_default();
    let (v4, v6) = (table("tcp"), table("tcp6"));
    let lines = v4.lines().chain(v6.lines());
    lines.filter_map(|line| connection(line, port)).collect()
}

fn connection(line: &str, port: u16) -> Option<(String, bool)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else {
        return None;
    };
    let is = |address: &str| {
        let (_, found) = address.rsplit_once(':')?;
        Some(u16::from_str_radix(found, 16).ok()? == port)
    };
    let (local, remote) = (is(local)?, is(remote)?);
    (state == ESTABLISHED && (local || remote)).then(|| (format!("socket:[{inode}]"), local))
}

/// The open file's flags, which are octal there.
fn flags(info: &str) -> Option<u32> {
    let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::{Ends, Manner, Seen, Sockets, connection, flags};

    #[test]
    fn lines_of_proc_are_read() {
        let line = "   0: 0100007F:1F90 0100007F:3A99 01 00000000:00000000 00:00000000 00000000 0 0 4711 1";
        let found = |port| connection(line, port);
        assert_eq!(found(8080), Some(("socket:[4711]".to_owned(), true)));
        assert_eq!(found(15001), Some(("socket:[4711]".to_owned(), false)));
        assert_eq!(found(80), None);
        assert_eq!(
            flags("pos:\t0\nflags:\t02004002\nmnt_id:\t9\n"),
            Some(0o2_004_002)
        );
    }

    #[test]
    fn what_is_said_of_an_end_must_be_seen() {
        let ends = Ends {
            client: Manner::UntilEmpty,
            server: Manner::Blocks,
        };
        let sockets = |client, server| Sockets {
            client: Seen {
                looks: 100,
                blocking: client,
            },
            server: Seen {
                looks: 100,
                blocking: server,
            },
        };
        assert!(sockets(1, 90).agree(ends).is_ok());
        assert!(sockets(1, 0).agree(ends).is_err());
        assert!(sockets(50, 90).agree(ends).is_err());
        assert!(Sockets::default().agree(ends).is_err());
    }
}
