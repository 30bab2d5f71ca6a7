//! DEL: takes the attachment's rows out.
//!
//! A DEL that fails keeps the runtime from removing the pod and the plugins
//! after us from freeing its address, and is called again for ever. So it
//! succeeds whatever it is given: the rows, the maps, bpffs or the namespace may
//! be gone already, our section may be wrong, standard input may be unreadable,
//! `strict` may be set. What rows are left then, reconcile takes out. A late DEL
//! leaves the rows of the pod that has the address now.

use std::io::Read;

use sockway_common::addr::IpKey;
use sockway_datapath::Error as DatapathError;
use sockway_datapath::section::Section;

use super::{Done, registry};
use crate::addresses;
use crate::conf::{Keys, read};
use crate::edge::Reply;
use crate::env::Env;
use crate::error::{Error, chain};
use crate::logger;
use crate::pod::Pod;
use crate::summary::Summary;

/// Runs the verb.
pub fn run(env: &Env<'_>, stdin: impl Read, summary: &mut Summary) -> Done {
    let bytes = read(stdin);
    let parsed = match &bytes {
        Ok(bytes) => Keys::parse(bytes).map_err(|error| chain(&error)),
        Err(error) => Err(chain(error)),
    };
    // Without a section the maps are where they are by default: the row's key is the attachment's.
    let section = match &parsed {
        Ok(keys) => keys.section().0,
        Err(_) => Section::default(),
    };
    match &parsed {
        Ok(_) => logger::from_section(&section),
        Err(_) => logger::to_stderr(),
    }
    summary.bpffs = Some(section.bpffs.clone());
    summary.pod = Pod::from_args(&env.args());
    let removed = remove(env, parsed.as_ref().ok(), &section, summary);
    let trouble: Vec<String> = removed
        .as_ref()
        .err()
        .map(|error| chain(error))
        .into_iter()
        .chain(parsed.err())
        .collect();
    if trouble.is_empty() {
        return Done::new(Reply::nothing(), removed.unwrap_or_default());
    }
    Done {
        reply: Reply::nothing(),
        outcome: format!(
            "rows may be left, reconcile takes them out: {}",
            trouble.join("; ")
        ),
        degraded: true,
    }
}

/// Our section need not be right here: what ADD registered has to go.
fn remove(
    env: &Env<'_>,
    keys: Option<&Keys<'_>>,
    section: &Section,
    summary: &mut Summary,
) -> Result<String, Error> {
    let attachment = summary.attachment.insert(env.attachment()?).clone();
    // Containerd's second DEL comes without prevResult, and the attachment's
    // own row knows the addresses anyway.
    let ips = keys
        .and_then(|keys| keys.prev_result().ok())
        .and_then(|result| addresses::of_result(result).ok())
        .unwrap_or_default();
    let also: Vec<IpKey> = ips.iter().map(|ip| (*ip).into()).collect();
    summary.ips = ips;
    match registry(section).and_then(|mut maps| Ok(maps.unregister(&attachment.owner(), &also)?)) {
        Ok(0) => Ok("nothing was registered".to_owned()),
        Ok(count) => Ok(format!("{count} addresses taken out")),
        Err(Error::Datapath(error)) if gone(&error) => Ok(format!("nothing to do: {error}")),
        Err(error) => Err(error),
    }
}

/// Errors that say that there are no maps of ours.
pub(super) const fn gone(error: &DatapathError) -> bool {
    matches!(
        error,
        DatapathError::NotInstalled { .. }
            | DatapathError::NoBpffs { .. }
            | DatapathError::OtherLayout { .. }
    )
}
