//! Keeping a node as it should be: what `sockway run` does after the install.

pub mod drift;
pub mod keeper;
pub mod late;
pub mod lock;
pub mod pace;
pub mod places;
pub mod programs;
pub mod pulse;
pub mod receive_hook;
pub mod rhythm;
pub mod shared;
pub mod throttle;
pub mod tripwire;
pub mod watch;
