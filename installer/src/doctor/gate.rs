//! What `install` and `run` ask before they change anything.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use super::kept::{self, Of};
use super::proof::{Known, Proof};
use super::prove;
use crate::sys::cgroup::Choice;

/// The proof failed, and nobody said to go on nevertheless.
#[derive(Debug, thiserror::Error)]
#[error(
    "Sockway does not work on this node's kernel: {name}: {found}. At risk: {note}. `sockway doctor` says more; \
     --force goes on nevertheless"
)]
pub struct Refused {
    name: String,
    found: String,
    note: String,
}

/// Runs the proof, unless one of the same is kept in `run_dir`, and hands back what it found out of
/// the kernel.
///
/// # Errors
///
/// [`Refused`], unless `force`.
pub fn admit(
    run_dir: &Path,
    cgroup: &Choice,
    backlog_limit: u32,
    force: bool,
) -> Result<Option<Known>> {
    let of = Of::this(cgroup.path(), backlog_limit);
    if let Some(proof) = of.as_ref().and_then(|of| kept::read(run_dir, of)) {
        log::info!("proved on this kernel before, since it was booted");
        return Ok(proof.known());
    }
    let proof = prove::prove(cgroup, backlog_limit);
    let known = judge(&proof, force)?;
    if let Some(of) = of.filter(|_| proof.failure().is_none()) {
        kept::write(run_dir, of, &proof);
    }
    Ok(known)
}

fn judge(proof: &Proof, force: bool) -> Result<Option<Known>> {
    let Some(Finding {
        name, found, note, ..
    }) = proof.failure().cloned()
    else {
        let figures = proof.figures;
        log::info!(
            "proved on this kernel in {} ms: {} messages redirected, a sender whose peer does not read stopped \
             after {}, every byte in order",
            proof.took_ms,
            figures.redirected_messages,
            crate::ui::bytes(figures.parked_bytes)
        );
        return Ok(proof.known());
    };
    if force {
        log::warn!(
            "the proof on this kernel failed: {name}: {found}; going on (--force). At risk: {note}"
        );
        return Ok(proof.known());
    }
    Err(Refused { name, found, note }.into())
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, Verdict};
    use super::{Proof, Refused, judge};

    #[test]
    fn only_force_goes_on() {
        let mut proof = Proof {
            steps: vec![Finding::new("order", Verdict::Failed, "byte 3").note("wrong bytes")],
            ..Proof::default()
        };
        let error = judge(&proof, false)
            .unwrap_err()
            .context("nothing was changed");
        assert!(error.downcast_ref::<Refused>().is_some());
        let text = crate::exit::chain(&error);
        assert!(
            text.contains("order: byte 3")
                && text.contains("wrong bytes")
                && text.contains("--force"),
            "{text}"
        );
        judge(&proof, true).unwrap();
        proof.steps[0].verdict = Verdict::Limited;
        judge(&proof, false).unwrap();
    }
}
