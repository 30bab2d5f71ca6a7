//! Counters.

/// Adds to a counter.
///
/// Atomic: a softirq may interrupt a send on the same CPU. Most lines are this
/// CPU's own, so it costs little.
#[inline(always)]
pub(crate) fn bump(counter: *mut u64, by: u64) {
    // core has no atomic additions for this target: it lacks compare-and-swap.
    // SAFETY: `counter` points into a map value that the verifier has seen
    // checked for null, is aligned, and lives as long as the program runs.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) by);
    }
}
