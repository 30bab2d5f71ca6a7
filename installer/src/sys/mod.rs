//! The node's files and cgroups.

pub mod cgroup;
pub mod files;
