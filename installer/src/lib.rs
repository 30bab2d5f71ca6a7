//! Puts Sockway onto a node, keeps it there, shows what it does, takes it off again.
//!
//! `commands` -> {`keep`, `serve`} -> `node` -> {`doctor`, `reconcile`} -> `cni` -> `sys`; what is shown is gathered
//! in `view`.
#![forbid(unsafe_code)]

pub mod build;
pub mod cli;
pub mod cni;
pub mod commands;
pub mod doctor;
pub mod exit;
pub mod keep;
pub mod logging;
pub mod node;
pub mod options;
pub mod reconcile;
pub mod serve;
pub mod sys;
pub mod ui;
pub mod view;
