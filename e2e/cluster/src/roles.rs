//! Other programs that this one is, by the name under which it is started: what has
//! no package that could be had, or is too small for one.

mod pause;
mod terway;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

pub(crate) use terway::{BRIDGE, FIRST, GATEWAY, MODE, Mode, NETWORK, VPC, rewrite};

/// What this program is to be, where its name is not its own.
pub(crate) fn of_name() -> Option<fn() -> ExitCode> {
    let name = std::env::args_os().next()?;
    match Path::new(&name).file_name().and_then(OsStr::to_str)? {
        "pause" => Some(pause::run),
        "terway" => Some(terway::plugin),
        _ => None,
    }
}
