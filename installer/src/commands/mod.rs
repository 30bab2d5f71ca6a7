//! One file for each subcommand.

pub mod doctor;
pub mod explain;
pub mod install;
pub mod off;
pub mod pods;
pub mod reconcile;
pub mod run;
pub mod status;
pub mod top;
pub mod uninstall;
