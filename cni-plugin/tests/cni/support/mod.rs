//! What the tests share.

#[path = "../../../../datapath/tests/support/bpffs.rs"]
pub(crate) mod bpffs;
pub(crate) mod call;
pub(crate) mod pod;
