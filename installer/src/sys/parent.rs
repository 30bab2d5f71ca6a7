//! A process that ends with the one which started it.

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// Has the kernel send `signal` when `parent`, which started this process, ends. An end that came before
/// that was arranged counts too.
///
/// # Errors
///
/// Where the parent is gone already, or the kernel refuses (`prctl(2)` `PR_SET_PDEATHSIG`).
pub fn end_with(parent: u32, signal: Signal) -> Result<()> {
    set_pdeathsig(signal).context("cannot ask to end with the parent process")?;
    let now = u32::try_from(getppid().as_raw()).unwrap_or(0);
    ensure!(
        now == parent,
        "process {parent}, which started this one, is gone"
    );
    Ok(())
}
