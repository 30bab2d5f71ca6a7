//! What the proof says.

use serde::{Deserialize, Serialize};
use sockway_common::counters::{Reason, Stats};
use sockway_datapath::kernel::{self, Found, Functions};

use super::{Finding, Verdict};
use crate::exit::chain;

/// What was tried and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// In order; one that failed is the last.
    pub steps: Vec<Finding>,
    /// What the programs counted.
    pub figures: Figures,
    /// Rules that work with less on this kernel, one line each.
    pub limits: Vec<String>,
    /// Every kernel field that the programs read, with its offset in bytes; null where the kernel lacks it.
    pub offsets: Vec<(String, Option<u32>)>,
    /// Every kernel function that programs are attached to, with its id in the BTF; null where the kernel lacks it.
    pub functions: Vec<(String, Option<u32>)>,
    /// Whether it can be seen how applications read.
    pub reads_seen: bool,
    /// Whether it can be seen who reads until `EAGAIN`.
    pub ends_seen: bool,
    /// Whether the kernel takes the fentry programs.
    pub guarded: bool,
    /// Whether the kernel answers `FIONREAD` rightly for a socket in a sockhash; null where that was not measured.
    pub fionread_right: Option<bool>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// What the programs counted during the proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Connections of which both ends were joined.
    pub joined: u64,
    /// Messages that were redirected.
    pub redirected_messages: u64,
    /// Bytes that were redirected.
    pub redirected_bytes: u64,
    /// Messages that went by TCP because their reader was behind.
    pub backlog_messages: u64,
    /// Times that a direction came back from TCP.
    pub resumed: u64,
    /// Bytes that a sender got rid of whose peer did not read.
    pub parked_bytes: u64,
}

impl Figures {
    /// From the programs' sums; nothing parked.
    pub fn of(stats: &Stats) -> Self {
        Self {
            joined: stats.paired.iter().sum(),
            redirected_messages: stats.redirected_messages.iter().sum(),
            redirected_bytes: stats.redirected_bytes.iter().sum(),
            backlog_messages: stats.tcp_messages[Reason::Backlog as usize],
            resumed: stats.resumed,
            parked_bytes: 0,
        }
    }
}

/// What later steps need not find out again.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What is used of the kernel's BTF, which need not be read again.
    pub found: Found,
    /// Whether the kernel takes the fentry programs.
    pub guards: bool,
}

impl Proof {
    /// The worst of its steps, and of its limits.
    pub fn verdict(&self) -> Verdict {
        let limits = (!self.limits.is_empty()).then_some(Verdict::Limited);
        let steps = self.steps.iter().map(|step| step.verdict);
        // Not even the first step is no proof.
        let none = self.steps.is_empty().then_some(Verdict::Failed);
        steps
            .chain(limits)
            .chain(none)
            .max()
            .unwrap_or(Verdict::Failed)
    }

    /// The step that failed.
    pub fn failure(&self) -> Option<&Finding> {
        self.steps
            .iter()
            .find(|step| step.verdict == Verdict::Failed)
    }

    /// What it found out about the kernel; `None` where it did not get that far.
    pub fn known(&self) -> Option<Known> {
        (!self.offsets.is_empty()).then(|| Known {
            found: Found {
                offsets: kernel::from_table(&self.offsets),
                functions: Functions::from_table(&self.functions),
            },
            guards: self.guarded,
        })
    }

    /// A proof that could not be tried.
    pub(super) fn not_tried(error: &anyhow::Error) -> Self {
        let step = Finding::new("scene", Verdict::Failed, chain(error))
            .note("nothing is known of how Sockway would work on this kernel");
        Self {
            steps: vec![step],
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Proof, Verdict};

    #[test]
    fn the_worst_step_decides() {
        assert_eq!(Proof::default().verdict(), Verdict::Failed, "nothing tried");
        let mut proof = Proof {
            steps: vec![Finding::new("load", Verdict::Ok, "")],
            ..Proof::default()
        };
        assert_eq!(proof.verdict(), Verdict::Ok);
        proof.limits.push("less".to_owned());
        assert_eq!(proof.verdict(), Verdict::Limited);
        proof
            .steps
            .push(Finding::new("order", Verdict::Failed, "byte 3"));
        assert_eq!(proof.verdict(), Verdict::Failed);
        assert_eq!(proof.failure().unwrap().name, "order");
    }
}
