//! Kernels with known faults in what Sockway uses, by upstream's versions.
//!
//! Versions and commits are of the kernel's own CVE records (CVEProject/cvelistV5) and of what was measured
//! (docs/kernels.md). Makers of other kernels take fixes over without the version, so a version of theirs proves
//! nothing; where the proof measures a fault, that counts and no version does.

use super::version::{Version, numbers};
use super::{Finding, Verdict};

/// Its name among the findings.
pub const NAME: &str = "known faults";

/// What goes wrong on some kernels.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What goes wrong.
    pub what: &'static str,
    /// The commit that mends it.
    pub fix: &'static str,
    /// From the first release that has it to the first one that has it no more, each.
    pub ranges: &'static [(Version, Version)],
    /// What it means for a node.
    pub verdict: Verdict,
    /// What to do about it, or what Sockway does.
    pub remedy: &'static str,
    /// Whether the proof finds out by itself whether this kernel has it.
    pub measured: bool,
}

/// From [the oldest kernel that Sockway runs on](super::facts) on.
pub const FAULTS: [Fault; 5] = [
    Fault {
        what: "FIONREAD is answered with 0 for bytes that came by TCP to a socket in a sockhash (since 929e30f93125)",
        fix: "04af4efde58a",
        ranges: &[
            (Version(6, 6, 128), Version(6, 7, 0)),
            // Ends are what was measured right first; 6.18.44 was measured wrong.
            (Version(6, 12, 75), Version(6, 12, 117)),
            (Version(6, 18, 14), Version(7, 2, 13)),
        ],
        verdict: Verdict::Limited,
        remedy: "programs that may ask are left to TCP",
        measured: true,
    },
    Fault {
        what: "a program that receives 0 bytes while redirected bytes wait hangs a processor (CVE-2023-53133)",
        fix: "d900f3d20cc3",
        ranges: &[
            (Version(5, 10, 0), Version(5, 15, 103)),
            (Version(5, 16, 0), Version(6, 1, 20)),
            (Version(6, 2, 0), Version(6, 2, 7)),
        ],
        verdict: Verdict::Failed,
        remedy: "update the kernel, or exclude pods whose programs do so",
        measured: false,
    },
    Fault {
        what: "a connection that is closed while its peer sends by redirection leaks memory (CVE-2022-49207)",
        fix: "938d3480b92f",
        ranges: &[
            (Version(5, 14, 0), Version(5, 15, 33)),
            (Version(5, 16, 0), Version(5, 16, 19)),
            (Version(5, 17, 0), Version(5, 17, 2)),
        ],
        verdict: Verdict::Limited,
        remedy: "update the kernel",
        measured: false,
    },
    Fault {
        what: "a message that is redirected in parts is taken off its sender's memory account twice (CVE-2022-49204)",
        fix: "84472b436e76",
        ranges: &[
            (Version(5, 10, 0), Version(5, 10, 110)),
            (Version(5, 11, 0), Version(5, 15, 33)),
            (Version(5, 16, 0), Version(5, 16, 19)),
            (Version(5, 17, 0), Version(5, 17, 2)),
        ],
        verdict: Verdict::Limited,
        remedy: "update the kernel, which warns of it in its log",
        measured: false,
    },
    Fault {
        what: "a socket that is closed while it leaves the sockhash may not be closed in full (CVE-2024-39500)",
        fix: "4b4647add7d3",
        ranges: &[
            (Version(5, 13, 0), Version(5, 15, 162)),
            (Version(5, 16, 0), Version(6, 1, 95)),
            (Version(6, 2, 0), Version(6, 6, 35)),
            (Version(6, 7, 0), Version(6, 9, 6)),
        ],
        verdict: Verdict::Limited,
        remedy: "update the kernel, which warns of it in its log; seldom, and only by `sockway off` and late joining",
        measured: false,
    },
];

impl Fault {
    /// The first release after this one without the fault; `None` where this one is without.
    fn fixed_in(&self, version: Version) -> Option<Version> {
        let of = |(from, before): &&(Version, Version)| (*from..*before).contains(&version);
        self.ranges.iter().find(of).map(|(_, before)| *before)
    }
}

/// A kernel as its faults are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The release of upstream that it is made of.
    version: Version,
    /// Whether every fix of that release, and no other, is in it, as far as a version can tell.
    upstream: bool,
}

impl Kernel {
    /// From `uname`'s release and version. Debian names upstream's release in the latter
    /// (`#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)`), and takes it over whole.
    ///
    /// `None` where they do not say which release it is.
    pub fn of(release: &str, build: &str) -> Option<Self> {
        let debian = build
            .split_once("Debian ")
            .and_then(|(_, rest)| numbers(rest));
        if let Some((version, _)) = debian {
            return Some(Self {
                version,
                upstream: true,
            });
        }
        let (version, rest) = numbers(release)?;
        let upstream = rest.is_empty() || rest.starts_with("-rc");
        // Ubuntu's 5.15.0-91 is of some 5.15.y.
        (upstream || version.2 > 0).then_some(Self { version, upstream })
    }
}

/// What is known of a kernel, and how the proof found it to answer FIONREAD, if it did.
pub fn finding(release: &str, build: &str, fionread_right: Option<bool>) -> Finding {
    let Some(kernel) = Kernel::of(release, build) else {
        let found = format!("{release} does not say which release of upstream it is made of");
        return Finding::new(NAME, Verdict::Unknown, found);
    };
    let Kernel { version, upstream } = kernel;
    let mut hits = Vec::new();
    for fault in &FAULTS {
        let measured = fault.measured && fionread_right.is_some();
        let has = match fionread_right {
            Some(right) if fault.measured => !right,
            _ => fault.fixed_in(version).is_some(),
        };
        if has {
            hits.push((fault, measured));
        }
    }
    if hits.is_empty() {
        return Finding::new(NAME, Verdict::Ok, format!("none of {version}"));
    }
    let line = |(fault, measured): &(&Fault, bool)| {
        let fixed = fault.fixed_in(version);
        let release = fixed.map_or_else(String::new, |version| {
            format!(", in {version} at the latest")
        });
        let how = if *measured { "; measured" } else { "" };
        format!("{}: fixed by {}{release}{how}", fault.what, fault.fix)
    };
    let found: Vec<String> = hits.iter().map(line).collect();
    // What a maker may have mended counts for nothing.
    let verdicts = hits.iter().map(|(fault, measured)| {
        if upstream || *measured {
            fault.verdict
        } else {
            Verdict::Unknown
        }
    });
    let mut remedies: Vec<&str> = hits.iter().map(|(fault, _)| fault.remedy).collect();
    remedies.dedup();
    if !upstream && hits.iter().any(|(_, measured)| !measured) {
        remedies.push("this kernel's maker may have mended it without the version");
    }
    Finding::new(
        NAME,
        verdicts.max().unwrap_or(Verdict::Ok),
        found.join("; "),
    )
    .note(remedies.join("; "))
}

#[cfg(test)]
mod tests;
