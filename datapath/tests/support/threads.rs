//! Threads of a test.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Ends the threads of a test whatever becomes of it.
pub(crate) struct AtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Keeps this thread on one CPU: that of a number, where there are as many.
pub(crate) fn pin(number: usize) {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut cpu = CpuSet::new();
    cpu.set(number % cpus).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &cpu).expect("pin");
}
