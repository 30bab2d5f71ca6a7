//! Telling user space (ring buffer `events`).

use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use sockway_common::end::Event;

use crate::maps::EVENTS;

/// Tells of an end; where the buffer is full nobody is told, and user space finds out by its own looks.
#[inline(always)]
pub(crate) fn tell(kind: u32, cookie: u64) {
    let mut event = Event {
        cookie,
        kind,
        pad: 0,
    };
    let map = (&raw const EVENTS).cast_mut().cast();
    let size = size_of::<Event>() as u64;
    // SAFETY: `map` is the ring buffer, the event a live local of the size given (kernel 5.8).
    let _full = unsafe { bpf_ringbuf_output(map, (&raw mut event).cast(), size, 0) };
}
