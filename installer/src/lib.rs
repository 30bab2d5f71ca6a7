//! Puts Sockway onto a node, keeps it there, shows what it does, takes it off again.
#![forbid(unsafe_code)]

pub mod conflist;
