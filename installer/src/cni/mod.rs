//! CNI as it is on a node: the runtime's directories, its conflists with our entry in them, the plugin.

mod args;
pub mod changes;
pub mod confdir;
pub mod conflist;
pub mod crio;
pub mod plugin;
pub mod settings;

pub use args::CniArgs;
