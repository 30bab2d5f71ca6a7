//! Keeping a node as it should be: what `sockway run` does after the install.

pub mod drift;
pub mod ends;
pub mod existing;
pub mod keeper;
pub mod lock;
pub mod programs;
pub mod rhythm;
pub mod shared;
pub mod throttle;
pub mod watch;
