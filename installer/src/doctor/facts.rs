//! What the node says of itself. Nothing is changed and nothing is tried.

use std::fs;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;
use sockway_datapath::probe::{self, Other};
use sockway_datapath::{Pins, host, kernel};

use super::kconfig::{HELPFUL, Kconfig};
use super::version::{Version, numbers};
use super::{Finding, Verdict};
use crate::exit::chain;
use crate::sys::cgroup::Choice;

/// The oldest kernel with what the programs use: socket storage in `sk_msg`, `bpf_link`s of cgroups.
const OLDEST: (u32, u32) = (5, 10);
/// From here on the kernel charges maps to the memory cgroup instead of the memlock limit.
const NO_MEMLOCK: (u32, u32) = (5, 11);
/// What all maps together take at once, before any row is written.
const MAPS_MEMORY: u64 = 128 << 20;

/// Capabilities, with their numbers in include/uapi/linux/capability.h and what each is for.
const CAPABILITIES: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "attaching programs"),
    ("CAP_SYS_ADMIN", 21, "namespaces and mounts"),
    ("CAP_PERFMON", 38, "reading kernel fields"),
    ("CAP_BPF", 39, "loading programs"),
];

/// Everything, in the order in which it is shown.
pub fn gather(pins: &Pins, cgroup: &anyhow::Result<Choice>) -> Vec<Finding> {
    let release = host::kernel_release();
    let config = Kconfig::find(&release);
    let mut findings = vec![
        kernel_version(&release),
        options(config.as_ref(), &release),
        btf(),
        lockdown(&read("/sys/kernel/security/lockdown")),
        jit(&read("/proc/sys/net/core/bpf_jit_enable")),
        capabilities(&read("/proc/self/status")),
        memlock(version(&release)),
        bpffs(pins),
    ];
    match cgroup {
        Ok(choice) => {
            findings.push(cgroup_finding(choice));
            findings.push(others(choice.path()));
        }
        Err(e) => findings.push(Finding::new("cgroup2", Verdict::Failed, chain(e))),
    }
    findings.push(helpers());
    findings
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `(major, minor)` of a release such as `5.10.134-16.al8.x86_64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (Version(major, minor, _), _) = numbers(release)?;
    Some((major, minor))
}

fn kernel_version(release: &str) -> Finding {
    let machine = uname().map(|u| u.machine().to_string_lossy().into_owned());
    let found = format!("{release} {}", machine.unwrap_or_default());
    match version(release) {
        Some(version) if version >= OLDEST => Finding::new("kernel", Verdict::Ok, found),
        Some(_) => Finding::new("kernel", Verdict::Failed, found)
            .note("5.10 or later is needed: the programs use what older kernels lack"),
        None => Finding::new("kernel", Verdict::Unknown, found),
    }
}

fn options(config: Option<&Kconfig>, release: &str) -> Finding {
    let Some(config) = config else {
        let found = format!("neither /proc/config.gz nor /boot/config-{release} is here");
        return Finding::new("options", Verdict::Unknown, found);
    };
    let path = config.path.display();
    let missing = config.missing();
    if !missing.is_empty() {
        let found = format!("{path}: no {}", missing.join(", no "));
        return Finding::new("options", Verdict::Failed, found)
            .note("a kernel that is built with them is needed");
    }
    let without: Vec<&str> = HELPFUL.into_iter().filter(|o| !config.has(o)).collect();
    if without.is_empty() {
        return Finding::new("options", Verdict::Ok, format!("{path}: all that are used"));
    }
    let found = format!("{path}: all that are needed; no {}", without.join(", no "));
    Finding::new("options", Verdict::Limited, found)
}

fn btf() -> Finding {
    if Path::new(kernel::BTF).exists() {
        // Which fields it names is found out by the proof, which has to read it anyway.
        return Finding::new("btf", Verdict::Ok, kernel::BTF);
    }
    Finding::new(
        "btf",
        Verdict::Failed,
        format!("{} is not here", kernel::BTF),
    )
    .note("no field of the kernel can be found: a kernel with CONFIG_DEBUG_INFO_BTF is needed")
}

/// The chosen word stands in brackets: `[none] integrity confidentiality`.
fn lockdown(text: &str) -> Finding {
    let chosen = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    match chosen.map(|(word, _)| word) {
        Some("confidentiality") => Finding::new("lockdown", Verdict::Failed, "confidentiality")
            .note("programs may not read kernel memory: boot with lockdown=integrity or none"),
        Some(word) => Finding::new("lockdown", Verdict::Ok, word),
        None => Finding::new("lockdown", Verdict::Ok, "not in this kernel"),
    }
}

fn jit(text: &str) -> Finding {
    match text.trim() {
        "0" => Finding::new("jit", Verdict::Limited, "off")
            .note("programs are interpreted, which costs speed: sysctl net.core.bpf_jit_enable=1"),
        "" => Finding::new(
            "jit",
            Verdict::Unknown,
            "net.core.bpf_jit_enable cannot be read",
        ),
        _ => Finding::new("jit", Verdict::Ok, "on"),
    }
}

fn capabilities(status: &str) -> Finding {
    let Some(effective) = host::capabilities(status) else {
        return Finding::new("rights", Verdict::Unknown, "/proc/self/status names none");
    };
    // CAP_SYS_ADMIN holds all that CAP_BPF and CAP_PERFMON hold.
    let admin = effective & (1 << 21) != 0;
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(_, bit, _)| effective & (1 << bit) == 0 && !(admin && *bit >= 38))
        .map(|(name, _, what)| format!("{name} ({what})"))
        .collect();
    if missing.is_empty() {
        let names: Vec<&str> = CAPABILITIES.iter().map(|(name, ..)| *name).collect();
        return Finding::new("rights", Verdict::Ok, names.join(", "));
    }
    let found = format!("without {}", missing.join(", "));
    Finding::new("rights", Verdict::Failed, found)
        .note("run it as root, or in a pod with these capabilities")
}

fn memlock(version: Option<(u32, u32)>) -> Finding {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else {
        return Finding::new("memlock", Verdict::Unknown, "the limit cannot be read");
    };
    let word = |limit| match limit {
        RLIM_INFINITY => "unlimited".to_owned(),
        limit => crate::ui::bytes(limit),
    };
    let found = format!("{} (hard {})", word(soft), word(hard));
    if version.is_none_or(|v| v >= NO_MEMLOCK) {
        let found = format!("{found}, of no matter from kernel 5.11 on");
        return Finding::new("memlock", Verdict::Ok, found);
    }
    if soft >= MAPS_MEMORY {
        return Finding::new("memlock", Verdict::Ok, found);
    }
    Finding::new("memlock", Verdict::Limited, found)
        .note("this kernel charges maps to the limit: ulimit -l unlimited (LimitMEMLOCK=infinity)")
}

fn bpffs(pins: &Pins) -> Finding {
    match host::require_bpffs(pins.root()) {
        Ok(()) => Finding::new("bpffs", Verdict::Ok, pins.root().display().to_string()),
        Err(e) => Finding::new("bpffs", Verdict::Failed, e.to_string()),
    }
}

fn cgroup_finding(choice: &Choice) -> Finding {
    let path = choice.path().display();
    match choice {
        Choice::Mount(_) => {
            let found = format!("not mounted (a cgroup v1 host); install mounts it at {path}");
            Finding::new("cgroup2", Verdict::Ok, found)
        }
        Choice::Present(at) if host::is_cgroup2_root(at) => Finding::new(
            "cgroup2",
            Verdict::Ok,
            format!("{path}, the root of the hierarchy"),
        ),
        Choice::Present(_) => {
            let found = format!("{path}, a part of the hierarchy");
            Finding::new("cgroup2", Verdict::Limited, found)
                .note("only sockets of processes in it and below it are seen")
        }
    }
}

fn others(cgroup: &Path) -> Finding {
    let others = match probe::others(cgroup) {
        Ok(others) => others,
        Err(e) => return Finding::new("others", Verdict::Unknown, e.to_string()),
    };
    if others.is_empty() {
        return Finding::new(
            "others",
            Verdict::Ok,
            "no sock_ops or sk_msg program of others",
        );
    }
    let line = |Other { hook, id, name, .. }: &Other| {
        let name = if name.is_empty() {
            "without a name"
        } else {
            name
        };
        format!("{hook} program {id} ({name})")
    };
    let found = others.iter().map(line).collect::<Vec<_>>().join(", ");
    if others.iter().any(|other| other.exclusive) {
        return Finding::new("others", Verdict::Failed, found).note(
            "one of them was attached without BPF_F_ALLOW_MULTI, and the kernel admits no other beside it: \
             detach it, or attach elsewhere with --cgroup",
        );
    }
    Finding::new("others", Verdict::Ok, format!("beside ours: {found}"))
        .note("a socket that is in another program's sockmap stays with it and is not accelerated")
}

fn helpers() -> Finding {
    let helpers = probe::helpers();
    let names = |wanted: Option<bool>| {
        let of = helpers.iter().filter(|h| h.there == wanted);
        of.map(|h| format!("{} in {}", h.name, h.kind))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (missing, unknown) = (names(Some(false)), names(None));
    if !missing.is_empty() {
        return Finding::new("helpers", Verdict::Failed, format!("no {missing}"))
            .note("a newer kernel, or one with all of CONFIG_BPF_EVENTS, is needed");
    }
    if !unknown.is_empty() {
        return Finding::new(
            "helpers",
            Verdict::Unknown,
            format!("cannot ask for {unknown}"),
        );
    }
    Finding::new("helpers", Verdict::Ok, format!("all {}", helpers.len()))
}

#[cfg(test)]
mod tests;
