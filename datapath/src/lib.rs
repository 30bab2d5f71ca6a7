//! The only crate that talks to the kernel's BPF side: loads, attaches, pins,
//! and offers typed views of the pinned maps.
//!
//! The plugin uses it without the `loader` feature: it opens pinned maps and
//! loads nothing.

pub mod calls;
pub mod error;
pub mod host;
pub mod pins;
pub mod registry;
#[cfg(feature = "section")]
pub mod section;
pub mod stats;
mod trust;
mod walk;

#[cfg(feature = "loader")]
mod arch;
#[cfg(feature = "loader")]
mod attach;
#[cfg(feature = "loader")]
pub mod cast;
#[cfg(feature = "loader")]
mod create;
#[cfg(feature = "loader")]
pub mod kernel;
#[cfg(feature = "loader")]
pub mod late;
#[cfg(feature = "loader")]
pub mod layouts;
#[cfg(feature = "loader")]
mod length;
#[cfg(feature = "loader")]
mod loaded;
#[cfg(feature = "loader")]
mod loader;
#[cfg(feature = "loader")]
mod lock;
#[cfg(feature = "loader")]
pub mod probe;
#[cfg(feature = "loader")]
pub mod receive_hook;
#[cfg(feature = "loader")]
pub mod sweep;
#[cfg(feature = "loader")]
pub mod switch;
#[cfg(feature = "loader")]
mod sys;
#[cfg(feature = "loader")]
mod table;
#[cfg(feature = "loader")]
mod unread;

#[cfg(feature = "loader")]
pub use attach::DatapathStatus;
pub use error::Error;
#[cfg(feature = "loader")]
pub use loader::{Datapath, InstallOptions, InstallReport};
pub use pins::Pins;
pub use registry::Registry;
