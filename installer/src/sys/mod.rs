//! The node's files, cgroups and processes.

pub mod cgroup;
pub mod files;
pub mod parent;
