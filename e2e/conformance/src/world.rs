//! Namespaces of the run's own.
//!
//! The program runs three times. Outside, it makes a cgroup and new namespaces
//! and waits. As the new process namespace's init, it reaps what daemons leave
//! behind. As the worker it tests. `/run` and libcni's cache are fresh tmpfs,
//! the node's network is a fresh namespace. When the init goes, be it by
//! SIGKILL, the kernel ends every process and drops every mount; only the
//! cgroup is left for the outside, or for the next run.

mod cgroup;

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::geteuid;
use signal_hook::consts::{SIGINT, SIGTERM};
use sockway_datapath::host;
use sockway_testkit::bpffs::{mount_at, private_mounts};

use cgroup::Cgroup;

/// Which of its parts the program plays.
const PART: &str = "SOCKWAY_CONFORMANCE_PART";
/// The run's cgroup, for its parts.
const CGROUP: &str = "SOCKWAY_CONFORMANCE_CGROUP";
/// Directory of the run, on the private `/run`.
pub(crate) const DIR: &str = "/run/sockway-conformance";
/// libcni's cache, which cnitool and containerd cannot be told to put elsewhere.
const LIBCNI_CACHE: &str = "/var/lib/cni";
const TICK: Duration = Duration::from_millis(20);
const NONE: Option<&str> = None;

/// Where the worker runs.
#[derive(Debug)]
pub struct World {
    /// cgroup2 directory that holds every process of the run.
    pub(crate) cgroup: PathBuf,
}

/// A part of the program.
#[derive(Debug)]
pub enum Part {
    /// Started by a person.
    Outside,
    /// The first process of the namespace.
    Init,
    /// The tests.
    Worker(World),
}

/// Which part this process plays.
#[must_use]
pub fn part() -> Part {
    let cgroup = env::var_os(CGROUP).unwrap_or_default().into();
    match env::var(PART).as_deref() {
        Ok("init") => Part::Init,
        Ok("worker") => Part::Worker(World { cgroup }),
        _ => Part::Outside,
    }
}

/// Makes the world, runs the init in it, and removes what remains.
///
/// # Errors
/// Without root, and where the kernel refuses.
pub fn enter() -> Result<ExitCode> {
    if !geteuid().is_root() {
        bail!("needs root: it makes namespaces and BPF maps");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catch signals")?;
    }
    private_mounts()?;
    tmpfs("/run")?;
    // Not there on a machine without any CNI; an empty directory stays then.
    fs::create_dir_all(LIBCNI_CACHE).with_context(|| format!("create {LIBCNI_CACHE}"))?;
    tmpfs(LIBCNI_CACHE)?;
    fs::create_dir_all(Path::new(DIR).join("bpf")).with_context(|| format!("create {DIR}"))?;
    let mut hierarchy = host::find_cgroup2()?;
    if hierarchy.is_none() {
        let at = Path::new(DIR).join("cgroup2");
        host::mount_cgroup2(&at)?;
        hierarchy = Some(at);
    }
    let hierarchy = hierarchy.context("a cgroup2 hierarchy")?;
    let cgroup = Cgroup::make(&hierarchy)?;
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET).context("unshare")?;
    let mut init = start("init", Some(&cgroup.path))?;
    // It ends with everything in it, so there is nothing to ask it for.
    loop {
        if let Some(status) = init.try_wait().context("wait for the init")? {
            return Ok(code(status.code()));
        }
        if stop.load(Ordering::Relaxed) {
            init.kill().context("end the init")?;
            init.wait().context("wait for the init")?;
            eprintln!("sockway-conformance: interrupted");
            return Ok(ExitCode::FAILURE);
        }
        thread::sleep(TICK);
    }
}

/// Prepares the namespace from inside and reaps until the worker has ended.
///
/// # Errors
/// Where the kernel refuses.
pub fn init() -> Result<ExitCode> {
    set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NONE).context("mount /proc")?;
    mount_at(&Path::new(DIR).join("bpf"), "bpf")?;
    let worker = i32::try_from(start("worker", None)?.id()).context("a process id")?;
    loop {
        match wait().context("wait for the worker")? {
            WaitStatus::Exited(pid, status) if pid.as_raw() == worker => {
                return Ok(code(Some(status)));
            }
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == worker => {
                bail!("the tests were ended by {signal}");
            }
            _ => {}
        }
    }
}

/// Starts another part of this program with the same arguments.
fn start(part: &str, cgroup: Option<&Path>) -> Result<std::process::Child> {
    let this = env::current_exe().context("find this program")?;
    let mut command = Command::new(this);
    command
        .args(env::args_os().skip(1))
        .env(PART, part)
        .stdin(Stdio::null());
    if let Some(path) = cgroup {
        command.env(CGROUP, path).process_group(0);
    }
    command.spawn().with_context(|| format!("start the {part}"))
}

fn tmpfs(at: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some("mode=0755"))
        .with_context(|| format!("mount a tmpfs at {at}"))
}

fn code(code: Option<i32>) -> ExitCode {
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}
