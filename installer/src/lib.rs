//! Puts Sockway onto a node, keeps it there, shows what it does, takes it off again.
#![forbid(unsafe_code)]

pub mod build;
pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod components;
pub mod confdir;
pub mod conflist;
pub mod conflists;
pub mod doctor;
pub mod drain;
pub mod exit;
pub mod explain;
pub mod figures;
pub mod files;
pub mod keep;
pub mod layouts;
pub mod logging;
pub mod node;
pub mod off;
pub mod options;
pub mod plugin;
pub mod pods;
pub mod rates;
pub mod reconcile;
pub mod runtime;
pub mod serve;
pub mod settings;
pub mod state;
pub mod ui;
pub mod undo;
