//! What the eBPF programs and user space share, and nothing else.
//!
//! Every type that crosses the border is `repr(C)`, made of fixed-width
//! integers and arrays, without implicit padding (asserted in [`layout`]).
#![no_std]

pub mod addr;
pub mod calls;
pub mod cast;
pub mod config;
pub mod counters;
pub mod direction;
pub mod end;
pub mod flow;
pub mod layout;
pub mod offsets;
pub mod order;
pub mod pair;
pub mod part;
pub mod pod;
pub mod policy;
pub mod program;
pub mod scope;
pub mod signal;
pub mod state;

/// Implements aya's `Pod` for types that are plain old data.
#[cfg(feature = "user")]
macro_rules! impl_pod {
    ($($t:ty),+ $(,)?) => { $(
        // SAFETY: the type is repr(C), Copy, holds integers and arrays only and
        // has no implicit padding (asserted by size in the module that defines
        // it), so any bit pattern is valid and every byte is initialised.
        unsafe impl aya::Pod for $t {}
    )+ };
}
#[cfg(feature = "user")]
pub(crate) use impl_pod;
