//! What the doctor says: one screen, or one JSON document.

use std::fmt::Write as _;

use serde::Serialize;
use sockway_datapath::host;

use super::proof::Proof;
use super::prove;
use super::{Finding, Verdict, facts, known_bad};
use crate::build::{COMMIT, VERSION};
use crate::exit::Exit;
use crate::options::{CgroupArgs, PinArgs, RunDirArgs};
use crate::sys::cgroup::{self, Choice};
use crate::ui::{Align, Paint, Table};

/// Everything, as `-o json` prints it. Names stay; more may come.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of the package.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: &'static str,
    /// The sum of it.
    pub verdict: Verdict,
    /// Why it is not `ok`, one line each.
    pub reasons: Vec<String>,
    /// What the node says of itself.
    pub facts: Vec<Finding>,
    /// The proof; null where there was nowhere to try it.
    pub proof: Option<Proof>,
}

impl Report {
    /// Looks, and proves.
    pub fn gather(
        pins: &PinArgs,
        cgroup: &CgroupArgs,
        run_dir: &RunDirArgs,
        backlog_limit: u32,
    ) -> Self {
        let choice = cgroup::choose(cgroup, run_dir, true);
        let mut facts = facts::gather(&pins.pins(), &choice);
        let proof = choice
            .ok()
            .map(|choice: Choice| prove::prove(&choice, backlog_limit));
        facts.push(known_bad::finding(
            &host::kernel_release(),
            &host::kernel_build(),
            proof.as_ref().and_then(|proof| proof.fionread_right),
        ));
        Self::of(facts, proof)
    }

    fn of(mut facts: Vec<Finding>, proof: Option<Proof>) -> Self {
        if let Some(proof) = proof.as_ref().filter(|p| !p.offsets.is_empty())
            && let Some(btf) = facts
                .iter_mut()
                .find(|f| f.name == "btf" && f.verdict == Verdict::Ok)
        {
            *btf = fields(proof);
        }
        // What the kernel did counts for more than what its files say: only what the proof
        // cannot see stays a reason to refuse.
        let proven = proof.as_ref().is_some_and(|p| p.failure().is_none());
        for fact in &mut facts {
            if proven
                && fact.verdict == Verdict::Failed
                && !OWN_GROUND.contains(&fact.name.as_str())
            {
                fact.verdict = Verdict::Limited;
            }
        }
        let worst = facts
            .iter()
            .map(|fact| fact.verdict)
            .filter(|v| *v != Verdict::Unknown);
        let steps = proof.as_ref().map(Proof::verdict);
        let verdict = worst.chain(steps).max().unwrap_or(Verdict::Failed);
        Self {
            version: VERSION,
            commit: COMMIT,
            verdict,
            reasons: reasons(&facts, proof.as_ref()),
            facts,
            proof,
        }
    }

    /// The exit code that says the same.
    pub fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Failed => Exit::Unfit,
            _ => Exit::Done,
        }
    }

    /// For a person.
    pub fn text(&self, paint: Paint) -> String {
        let table = |head: [&'static str; 2], findings: &[Finding]| {
            let [what, found] = head;
            let mut table =
                Table::new(&[(what, Align::Left), ("", Align::Left), (found, Align::Left)]);
            for Finding {
                name,
                verdict,
                found,
                note,
            } in findings
            {
                table.row([
                    name.clone(),
                    verdict.word().to_owned(),
                    with_note(found, note),
                ]);
            }
            table.render(paint, 0)
        };
        let mut text = table(["CHECK", "FOUND"], &self.facts);
        if let Some(proof) = &self.proof {
            text.push('\n');
            text.push_str(&table(["PROOF", "SEEN ON THIS KERNEL"], &proof.steps));
        }
        text.push('\n');
        text.push_str(&match self.verdict {
            Verdict::Failed => paint.bad("Sockway cannot run on this node:"),
            Verdict::Limited => paint.warn("Sockway runs on this node, with less:"),
            Verdict::Unknown | Verdict::Ok => {
                paint.good("Sockway runs on this node with everything it has.")
            }
        });
        text.push('\n');
        for reason in &self.reasons {
            let _ = writeln!(text, "  - {reason}");
        }
        text
    }
}

/// Facts that the proof cannot see, because it stands on ground of its own.
const OWN_GROUND: [&str; 4] = ["kernel", "bpffs", "cgroup2", "rights"];

fn with_note(found: &str, note: &str) -> String {
    if note.is_empty() {
        found.to_owned()
    } else {
        format!("{found}: {note}")
    }
}

/// The kernel's fields, as the proof found them.
fn fields(proof: &Proof) -> Finding {
    let missing: Vec<&str> = proof
        .offsets
        .iter()
        .filter(|(_, offset)| offset.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let all = proof.offsets.len();
    if missing.is_empty() {
        return Finding::new(
            "btf",
            Verdict::Ok,
            format!("names all {all} fields that are read"),
        );
    }
    let found = format!(
        "names {} of {all} fields; not {}",
        all - missing.len(),
        missing.join(", ")
    );
    // What that costs is among the limits, if anything.
    Finding::new("btf", Verdict::Ok, found)
}

/// Why it cannot run; where it can, what works with less.
fn reasons(facts: &[Finding], proof: Option<&Proof>) -> Vec<String> {
    let line = |finding: &Finding| {
        let Finding {
            name, found, note, ..
        } = finding;
        format!("{name}: {}", with_note(found, note))
    };
    let steps = proof.map_or(&[][..], |proof| &proof.steps[..]);
    let of = |verdict| {
        let all = facts.iter().chain(steps);
        all.filter(move |f| f.verdict == verdict).map(line)
    };
    let failed: Vec<String> = of(Verdict::Failed).collect();
    if !failed.is_empty() {
        return failed;
    }
    let limits = proof.iter().flat_map(|proof| proof.limits.iter().cloned());
    of(Verdict::Limited).chain(limits).collect()
}

#[cfg(test)]
mod tests;
