//! What the tests share.

pub(crate) mod call;
pub(crate) mod pod;
