//! Ctrl-C while tests run: they clean up after themselves, and we wait for that.
//!
//! If we went at once, their output would break in the middle of the clean-up.

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static SURVIVING: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process id of the program that runs now; 0 for none.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT and SIGTERM are only noted. A terminal sends SIGINT to the
/// program that runs now as well; SIGTERM came to us alone and is handed on.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn survive() -> Result<()> {
    if SURVIVING.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch SIGINT and SIGTERM")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            let child = CHILD.load(Ordering::SeqCst);
            if signal == SIGTERM
                && child != 0
                && let Err(error) = kill(Pid::from_raw(child), Signal::SIGTERM)
            {
                eprintln!("cannot hand SIGTERM on to process {child}: {error}");
            }
        }
    });
    Ok(())
}

/// Whether one of the signals came.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Names the program that runs from now until the value is dropped.
#[derive(Debug)]
pub struct Running;

impl Running {
    /// This one.
    pub fn new(child: &Child) -> Self {
        CHILD.store(child.id().cast_signed(), Ordering::SeqCst);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CHILD.store(0, Ordering::SeqCst);
    }
}
