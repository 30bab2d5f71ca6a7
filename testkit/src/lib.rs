//! What every suite is made of: namespaces and what is mounted in them, sockets and bytes, processes, rows of the
//! maps; and with the feature `mesh` pods wired by a real CNI chain, each with a real Envoy, and verified traffic.
//!
//! Product crates have it among their dev-dependencies only.

pub mod bpffs;
pub mod carried;
pub mod cgroup;
pub mod command;
pub mod median;
pub mod net;
pub mod netns;
pub mod patience;
pub mod pattern;
pub mod place;
pub mod process;
pub mod ring;
pub mod rows;
pub mod runs;
pub mod stop;

#[cfg(feature = "mesh")]
pub mod hops;
#[cfg(feature = "mesh")]
pub mod load;
#[cfg(feature = "mesh")]
pub mod mesh;
#[cfg(feature = "mesh")]
pub mod output;
#[cfg(feature = "mesh")]
pub mod stall;
#[cfg(feature = "mesh")]
pub mod traffic;
