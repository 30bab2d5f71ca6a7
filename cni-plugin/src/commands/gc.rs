//! GC: takes out every attachment of this network that is not listed as valid.
//!
//! The list speaks for one network. Another network's attachments stay, and so
//! do rows that name no network: they are the installer's to reconcile. Where
//! there is no list at all (cnitool gives none, after a DEL of everything that
//! it knows) nothing is known to be stale, which is not the runtime's fault.
//!
//! What two pods had at once (an address manager that lost its memory) goes to
//! the one that is left.

use std::collections::HashSet;

use sockway_common::pod::{OwnerKey, text_field};

use super::{Call, Done, del, registry};
use crate::edge::Reply;
use crate::error::{Error, chain};
use crate::summary::Summary;

/// Runs the verb. It goes on past errors.
///
/// # Errors
/// Where the call itself is wrong, and [`Error::Gc`] with everything that went
/// wrong: unlike DEL, a GC that fails holds no pod up.
pub fn run(call: &Call<'_>, _: &mut Summary) -> Result<Done, Error> {
    call.conf.needs("1.1.0", "GC")?;
    let Some(valid) = call.conf.valid_attachments()? else {
        return Ok(Done {
            degraded: true,
            ..Done::new(
                Reply::nothing(),
                "nothing taken out: cni.dev/valid-attachments does not say what to keep",
            )
        });
    };
    let valid: HashSet<OwnerKey> = valid
        .iter()
        .map(|a| OwnerKey::new(&a.container_id, &a.ifname))
        .collect();
    let network = text_field::<64>(&call.conf.name);

    let kept = |owner: &OwnerKey| valid.contains(owner);
    let ports = call.conf.section.envoy_ports;
    let done = registry(&call.conf.section).and_then(|mut maps| {
        let done = maps.retain(|owner, row| row.network != network || kept(owner))?;
        let given = maps.give_back(ports.outbound, ports.inbound)?;
        Ok((done, given.len()))
    });
    let (done, given) = match done {
        Ok(done) => done,
        Err(Error::Datapath(error)) if del::gone(&error) => {
            return Ok(Done::new(
                Reply::nothing(),
                format!("nothing to do: {error}"),
            ));
        }
        Err(error) => return Err(error),
    };
    let removed = done.removed.len();
    if done.errors.is_empty() {
        let outcome = format!(
            "{removed} stale attachments and {} orphans taken out, {given} addresses given back",
            done.orphans
        );
        return Ok(Done::new(Reply::nothing(), outcome));
    }
    let texts: Vec<_> = done.errors.iter().map(|error| chain(error)).collect();
    Err(Error::Gc {
        removed,
        why: texts.join("; "),
    })
}
