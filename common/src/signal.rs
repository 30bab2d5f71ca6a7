//! Slots of the map `signals`: words that say how things are on this node.

/// Grows whenever something changed that a direction depends on: a program turned out proven or
/// unfit, an end came in, was opened or is to leave, the node or a pod was switched off. Each
/// send compares it, and looks at its direction in full where it has grown.
pub const EPOCH: u32 = 0;
/// How often a read came for which it matters where receiving calls end
/// ([`crate::program::wants_ends`]): user space sees to it that this is seen while it grows.
pub const ASKS: u32 = 1;
/// 1 while that is seen; written by user space.
pub const SEES_ENDS: u32 = 2;
/// 1 while the node is switched off: nothing is redirected, nothing comes in.
pub const OFF: u32 = 3;
/// The number of user space's last question which threads have begun a call since it was asked. Odd
/// while the answer is awaited, and grows only.
pub const QUESTION: u32 = 4;
/// How many there are.
pub const COUNT: usize = 5;
