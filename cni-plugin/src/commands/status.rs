//! STATUS: whether pods that are added now get accelerated.
//!
//! Code 50 where the datapath is not there at all, 51 where something of it is
//! missing. Mind what runtimes make of it: containerd 2 and CRI-O take any
//! error for "network not ready" and tell the node so. They ask only where the
//! conflist says cniVersion 1.1.0; in an older list STATUS is never called and
//! a node without Sockway stays ready.

use sockway_common::layout::program;
use sockway_datapath::{Error as DatapathError, Pins, Registry};

use super::{Call, Done};
use crate::edge::Reply;
use crate::error::{Error, chain};
use crate::summary::Summary;

/// Runs the verb.
///
/// # Errors
/// Where the call itself is wrong; [`Error::NotThere`] and [`Error::Limited`].
pub fn run(call: &Call<'_>, _: &mut Summary) -> Result<Done, Error> {
    call.conf.needs("1.1.0", "STATUS")?;
    let pins = Pins::new(&call.conf.section.bpffs);
    let mut limits = Vec::new();
    match Registry::open(&pins) {
        Ok(_) => {}
        Err(error @ (DatapathError::NotInstalled { .. } | DatapathError::NoBpffs { .. }))
            if !pins.dir().exists() =>
        {
            return Err(Error::NotThere(chain(&error)));
        }
        Err(error) => limits.push(chain(&error)),
    }
    let link = pins.link(program::ESTABLISH);
    if pins.dir().exists() && !link.exists() {
        limits.push(format!(
            "{} is not there: no connection is joined until `sockway install` attaches it",
            link.display()
        ));
    }
    if let Err(error) = call.conf.sound_section() {
        limits.push(chain(&error));
    }
    if limits.is_empty() {
        return Ok(Done::new(Reply::nothing(), "ready"));
    }
    Err(Error::Limited(limits.join("; ")))
}
