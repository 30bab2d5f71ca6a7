//! DEL: takes the attachment's rows out.
//!
//! A DEL that fails keeps the runtime from removing the pod and the plugins
//! after us from freeing its address. So whatever is gone already (the rows,
//! the maps, bpffs, the namespace) is success without output, and a late DEL
//! leaves the rows of the pod that has the address now.

use sockway_common::addr::IpKey;
use sockway_datapath::Error as DatapathError;

use super::{Call, Done, registry};
use crate::addresses;
use crate::edge::Reply;
use crate::env::Attachment;
use crate::error::Error;
use crate::summary::Summary;

/// Runs the verb.
///
/// # Errors
/// Where the call itself is wrong; where rows may be left, only if the section
/// says `strict`.
pub fn run(call: &Call<'_>, summary: &mut Summary) -> Result<Done, Error> {
    let attachment = summary.attachment.insert(call.env.attachment()?).clone();
    call.env.netns()?;
    let removed = remove(call, &attachment, summary);
    Done::settled(
        call.conf.section.strict,
        removed,
        Reply::nothing(),
        "rows may be left, reconcile takes them out",
    )
}

/// Our section need not be right here: what ADD registered has to go.
fn remove(
    call: &Call<'_>,
    attachment: &Attachment,
    summary: &mut Summary,
) -> Result<String, Error> {
    // Containerd's second DEL comes without prevResult, and the attachment's
    // own row knows the addresses anyway.
    let ips = call
        .conf
        .prev_result()
        .and_then(addresses::of_result)
        .unwrap_or_default();
    let keys: Vec<IpKey> = ips.iter().map(|ip| (*ip).into()).collect();
    summary.ips = ips;
    match registry(&call.conf.section)
        .and_then(|mut maps| Ok(maps.unregister(&attachment.owner(), &keys)?))
    {
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
