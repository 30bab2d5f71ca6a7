//! Which threads have begun a call since user space asked (map `callers`): none of them can be in a
//! call that is older (`datapath/src/late/rest.rs`).

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::maps::CALLERS;
use crate::signals;

/// The current thread sends, or has just ended a receiving call.
#[inline(always)]
pub(crate) fn note() {
    if let Some(question) = signals::question() {
        answer(question);
    }
}

/// An own function: asked rarely, and then by few.
#[inline(never)]
fn answer(question: u64) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half is the thread's"
    )]
    let thread = bpf_get_current_pid_tgid() as u32;
    if let Some(last) = CALLERS.get_ptr(thread)
        // SAFETY: a row stays readable until the program ends (RCU). One that is evicted meanwhile
        // may become another thread's; then this thread's answer is missing, which only takes time.
        && unsafe { last.read_volatile() } == question
    {
        return;
    }
    // Never by way of the pointer: the row may be another thread's by now.
    let _full = CALLERS.insert(thread, question, 0);
}
