//! The node's namespaces: made, held by a process that does nothing else, entered, left.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sethostname};

use crate::place::{CGROUP, GATEWAY, NODE, NODE_IP, Place};
use crate::run::Run;

/// The machine's mounts of cgroup hierarchies are below it.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Where everything of the node runs that is not a pod; pods are in `kubepods` beside it.
pub(crate) const SYSTEM: &str = "system";
/// Directories of the machine that the node sees and changes only for itself.
const LAYERED: [&str; 3] = ["/etc", "/opt", "/var"];
/// Directories that cannot be a layer, or that are fast without: below the node's own disk.
const PLAIN: [&str; 4] = [
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/etcd",
    "/var/log",
];
/// At most so much memory for everything that the node writes.
const DISK: &str = "size=8g,mode=755";

/// The namespaces of a cluster that is up.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    holder: Pid,
    place: Place,
}

impl Space {
    /// Makes them.
    pub(crate) fn create(place: &Place) -> Result<Self> {
        if Self::find(place)?.is_some() {
            bail!(
                "a cluster is up already in {}: make cluster-down ends it",
                place.dir().display()
            );
        }
        for hierarchy in hierarchies()? {
            if hierarchy.join(CGROUP).exists() {
                bail!(
                    "{} is there: another checkout's cluster is up, or was ended by force; its own make cluster-down clears it",
                    hierarchy.join(CGROUP).display()
                );
            }
            make_cgroups(&hierarchy)?;
        }
        let this = std::env::current_exe().context("no path of this program")?;
        // A file: it outlives us, and whoever reads our own would wait for it.
        let log = place.write("log/holder.log", "")?;
        let stderr =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut holder = Command::new(this)
            .arg("hold")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .context("cannot start the process that holds the namespaces")?;
        let mut line = String::new();
        let stdout = holder.stdout.take().context("no pipe")?;
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("no word of the holder")?;
        if line.trim() != "ready" {
            let _ = holder.wait();
            sweep()?;
            let why = fs::read_to_string(&log).unwrap_or_default();
            bail!("the namespaces cannot be made: {}", why.trim());
        }
        place.write("holder", &holder.id().to_string())?;
        let space = Self {
            holder: Pid::from_raw(i32::try_from(holder.id()).context("a process id")?),
            place: place.clone(),
        };
        space.network()?;
        Ok(space)
    }

    /// Those of the cluster that is up in that place.
    pub(crate) fn find(place: &Place) -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(place.path("holder")) else {
            return Ok(None);
        };
        let holder: i32 = text.trim().parse().context("the holder's process id")?;
        // A number can be used again: by nobody else in this cgroup.
        let ours = fs::read_to_string(format!("/proc/{holder}/cgroup")).is_ok_and(|text| {
            text.lines()
                .any(|line| line.ends_with(&format!("/{CGROUP}")))
        });
        Ok(ours.then(|| Self {
            holder: Pid::from_raw(holder),
            place: place.clone(),
        }))
    }

    /// As [`Space::find`], where one has to be there.
    pub(crate) fn up(place: &Place) -> Result<Self> {
        Self::find(place)?.context("no cluster is up here: make cluster starts one")
    }

    /// A command that runs in the node.
    #[expect(
        clippy::unused_self,
        reason = "only who has a cluster has its commands"
    )]
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let this = std::env::current_exe().unwrap_or_else(|_| "sockway-cluster".into());
        let mut command = Command::new(this);
        command.arg("in").arg(program);
        command
    }

    /// A command of the node that runs to its end.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>) -> Run {
        let shown = program.as_ref().to_string_lossy().into_owned();
        Run::of(self.command(program), shown)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Kills everything of the node except its namespaces, as a power cut does.
    #[expect(clippy::unused_self, reason = "only who has a cluster can end it")]
    pub(crate) fn power_cut(&self) -> Result<()> {
        for hierarchy in hierarchies()? {
            let cgroup = hierarchy.join(CGROUP);
            for inner in inner(&cgroup) {
                end(&inner)?;
            }
        }
        Ok(())
    }

    /// Ends it: every process, every mount, every cgroup.
    pub(crate) fn remove(self) -> Result<()> {
        let ended = self.power_cut();
        // Its mounts and networks go with it.
        let killed = kill(self.holder, Signal::SIGKILL);
        let swept = sweep();
        let _ = fs::remove_file(self.place.path("holder"));
        ended
            .and(killed.context("cannot end the holder"))
            .and(swept)
    }

    fn network(&self) -> Result<()> {
        let script = format!(
            "set -e
            ip link set lo up
            ip link add node0 type bridge
            ip address add {NODE_IP}/24 dev node0
            ip link set node0 up
            ip route add default via {GATEWAY} dev node0
            sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
            sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true"
        );
        self.run("sh").args(["-c", &script]).done()
    }
}

/// `sockway-cluster hold`: makes the namespaces and stays.
pub(crate) fn hold() -> Result<Infallible> {
    join(None)?;
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .context("cannot make namespaces: is this root?")?;
    sethostname(NODE).context("cannot set the host name")?;
    mounts(&Place::here()?)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")
        .and_then(|()| out.flush())
        .context("cannot say that it is ready")?;
    loop {
        thread::park();
    }
}

/// `sockway-cluster in PROGRAM ARGUMENTS`: becomes a program of the node.
pub(crate) fn enter(program: &OsStr, arguments: &[OsString]) -> Result<Infallible> {
    let place = Place::here()?;
    let space = Space::up(&place)?;
    join(Some(SYSTEM))?;
    for (name, flag) in [
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ] {
        let path = format!("/proc/{}/ns/{name}", space.holder);
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        setns(file, flag).with_context(|| format!("cannot enter {path}"))?;
    }
    // Some parts look for their sockets from where they were started.
    std::env::set_current_dir("/").context("cannot go to /")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("KUBECONFIG", place.path("kube/admin.conf"));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Moves this process into the cluster's part of every hierarchy.
fn join(inner: Option<&str>) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut cgroup = hierarchy.join(CGROUP);
        cgroup.extend(inner);
        let procs = cgroup.join("cgroup.procs");
        fs::write(&procs, std::process::id().to_string())
            .with_context(|| format!("cannot write {}", procs.display()))?;
    }
    Ok(())
}

fn make_cgroups(hierarchy: &Path) -> Result<()> {
    for cgroup in [hierarchy.join(CGROUP), hierarchy.join(CGROUP).join(SYSTEM)] {
        fs::create_dir(&cgroup).with_context(|| format!("cannot create {}", cgroup.display()))?;
        // Nobody can enter a cpuset of version 1 that is empty.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let (own, above) = (cgroup.join(name), cgroup.with_file_name(name));
            if own.exists() && fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty()) {
                fs::read(&above)
                    .and_then(|value| fs::write(&own, value))
                    .with_context(|| format!("cannot write {}", own.display()))?;
            }
        }
    }
    Ok(())
}

/// The machine's hierarchies by where they are mounted.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let found: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (path, kind) = (words.nth(1)?, words.next()?);
            (path.starts_with(CGROUPS) && kind.starts_with("cgroup")).then(|| PathBuf::from(path))
        })
        .collect();
    if found.is_empty() {
        bail!("no cgroup hierarchy is mounted at or below {CGROUPS}");
    }
    Ok(found)
}

/// What the node has mounted. Everything before this point is the machine's.
fn mounts(place: &Place) -> Result<()> {
    let none = None::<&str>;
    let attach =
        |source: &str, to: &str, kind: Option<&str>, flags: MsFlags, data: Option<&str>| {
            mount(Some(source), to, kind, flags, data)
                .with_context(|| format!("cannot mount {source} at {to}"))
        };
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot make the mounts private")?;
    let versions = hierarchies_with_options()?;
    // Hidden below ours they would still be listed, and be taken for ours.
    for path in ["/sys", "/run", "/run/netns"] {
        let _ = umount2(path, MntFlags::MNT_DETACH);
    }
    attach("sysfs", "/sys", Some("sysfs"), MsFlags::empty(), None)?;
    for (path, kind, options) in versions {
        if path == CGROUPS {
            attach(&kind, &path, Some(&kind), MsFlags::empty(), None)?;
            continue;
        }
        if !Path::new(CGROUPS).join(".sockway").exists() {
            // Version 1: one directory for each hierarchy.
            attach(
                "tmpfs",
                CGROUPS,
                Some("tmpfs"),
                MsFlags::empty(),
                Some("mode=755"),
            )?;
            fs::write(Path::new(CGROUPS).join(".sockway"), "").context("cgroups")?;
        }
        fs::create_dir_all(&path).with_context(|| format!("cannot create {path}"))?;
        attach(
            &kind,
            &path,
            Some(&kind),
            MsFlags::empty(),
            options.as_deref(),
        )?;
    }
    attach(
        "bpf",
        "/sys/fs/bpf",
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=700"),
    )?;
    let disk = place.path("disk");
    fs::create_dir_all(&disk).context("cannot create the disk's directory")?;
    let disk = disk
        .to_str()
        .context("a path that is not UTF-8")?
        .to_owned();
    attach("tmpfs", &disk, Some("tmpfs"), MsFlags::empty(), Some(DISK))?;
    for path in LAYERED {
        let (upper, work) = (format!("{disk}{path}"), format!("{disk}/work{path}"));
        fs::create_dir_all(&upper)
            .and_then(|()| fs::create_dir_all(&work))
            .context("layers")?;
        let data = format!("lowerdir={path},upperdir={upper},workdir={work}");
        attach(
            "overlay",
            path,
            Some("overlay"),
            MsFlags::empty(),
            Some(&data),
        )?;
    }
    for path in PLAIN {
        let own = format!("{disk}/plain{path}");
        fs::create_dir_all(&own)
            .and_then(|()| fs::create_dir_all(path))
            .context("plain")?;
        attach(&own, path, None, MsFlags::MS_BIND, None)?;
    }
    for path in ["/opt/cni/bin", "/etc/cni/net.d", "/var/lib/cni"] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))?;
    }
    volatile()?;
    Ok(())
}

/// What a reboot empties.
fn volatile() -> Result<()> {
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .context("cannot mount /run")?;
    for path in ["/run/lock", "/run/netns"] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))?;
    }
    // As systemd has it: pods' network namespaces are mounted here, and volumes
    // may ask to see them come. /sys stays private, as where there is no systemd.
    mount(
        None::<&str>,
        "/run",
        None::<&str>,
        MsFlags::MS_SHARED,
        None::<&str>,
    )
    .context("cannot share the mounts of /run")
}

fn hierarchies_with_options() -> Result<Vec<(String, String, Option<String>)>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let lines = mounts.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let [_, path, kind, options, ..] = words[..] else {
            return None;
        };
        if !path.starts_with(CGROUPS) || !kind.starts_with("cgroup") {
            return None;
        }
        // Which controllers, and not how the machine mounts.
        let general = [
            "rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec",
        ];
        let own: Vec<_> = options
            .split(',')
            .filter(|option| !general.contains(option) && !option.starts_with("release_agent"))
            .collect();
        let options = (kind == "cgroup").then(|| own.join(","));
        Some((path.to_owned(), kind.to_owned(), options))
    });
    Ok(lines.collect())
}

/// Removes the cluster's part of every hierarchy; whatever is still in it is ended.
fn sweep() -> Result<()> {
    for hierarchy in hierarchies()? {
        end(&hierarchy.join(CGROUP))?;
    }
    Ok(())
}

fn inner(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Ends the processes of a cgroup and of those below, and removes all but the node's own two.
fn end(cgroup: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        match try_end(cgroup) {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > Duration::from_secs(20) => {
                return Err(error).with_context(|| format!("{} does not end", cgroup.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn try_end(cgroup: &Path) -> Result<()> {
    for inner in inner(cgroup) {
        try_end(&inner)?;
    }
    let text = match fs::read_to_string(cgroup.join("cgroup.procs")) {
        Ok(text) => text,
        Err(_) if !cgroup.exists() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut left = false;
    for pid in text.lines().filter_map(|line| line.parse().ok()) {
        if pid == i32::try_from(std::process::id()).unwrap_or_default() {
            continue;
        }
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        left = true;
    }
    if left {
        bail!("processes are left");
    }
    // The node's own cgroup stays for a reboot; a sweep takes it from above.
    if cgroup.ends_with(Path::new(CGROUP).join(SYSTEM)) && holder_lives(cgroup) {
        return Ok(());
    }
    fs::remove_dir(cgroup).with_context(|| format!("cannot remove {}", cgroup.display()))
}

/// Whether a process is in the cgroup above.
fn holder_lives(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.with_file_name("cgroup.procs"))
        .is_ok_and(|text| !text.trim().is_empty())
}

/// `sockway-cluster reset`, in the node: what a reboot takes away.
pub(crate) fn reset() -> Result<()> {
    for path in ["/run", "/sys/fs/bpf"] {
        umount2(path, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {path}"))?;
    }
    volatile()?;
    mount(
        Some("bpf"),
        "/sys/fs/bpf",
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=700"),
    )
    .context("cannot mount bpffs")
}
