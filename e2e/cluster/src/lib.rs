//! A whole cluster on one machine, in namespaces of its own: etcd, Kubernetes,
//! containerd, `CoreDNS`, Istio with its CNI plugin, and Sockway as users install it.
//!
//! Nothing of the machine outside is touched: the node has its own network,
//! mounts, host name and part of every cgroup hierarchy, and its directories are
//! layers over the machine's that go with it.

mod app;
mod cli;
mod counters;
mod fortio;
mod images;
mod kubectl;
mod launch;
mod mesh;
mod node;
mod options;
mod parts;
mod place;
mod product;
mod roles;
mod run;
mod scenarios;
mod space;
mod templates;
mod up;
mod verified;
mod versions;

pub use cli::run;
