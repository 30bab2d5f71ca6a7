//! CHECK: compares the maps with what ADD was given and what it wrote.
//!
//! Not with the addresses that the interface has by now: the kernel adds its own
//! at any time (router advertisements, privacy addresses), and they are not the chain's.
//!
//! CHECK tells the truth about the attachment, but a pod that is not
//! accelerated works. So where there are no maps at all, or our own section is
//! not right, CHECK succeeds with a warning (`strict`: an error), as ADD did;
//! where there are maps and they do not say what ADD wrote, it fails.

use sockway_common::pod::PodRow;
use sockway_datapath::Registry;

use super::{Call, Done, registry};
use crate::addresses;
use crate::edge::Reply;
use crate::env::Attachment;
use crate::error::Error;
use crate::netns::Netns;
use crate::summary::Summary;

/// Runs the verb.
///
/// # Errors
/// Where the call itself is wrong; [`Error::Mismatch`]; where nothing could be
/// compared, only if the section says `strict`.
pub fn run(call: &Call<'_>, summary: &mut Summary) -> Result<Done, Error> {
    call.conf.needs("0.4.0", "CHECK")?;
    let attachment = summary.attachment.insert(call.env.attachment()?).clone();
    call.env.required_netns()?;
    call.conf.prev_result()?;
    let compared = compare(call, &attachment, summary);
    let strict = call.conf.section.strict;
    Done::settled(
        strict,
        compared,
        Reply::nothing(),
        "the pod is not accelerated",
    )
}

fn compare(
    call: &Call<'_>,
    attachment: &Attachment,
    summary: &mut Summary,
) -> Result<String, Error> {
    let section = call.conf.sound_section()?;
    let mut ips = addresses::of_result(call.conf.prev_result()?)?;
    summary.ips.clone_from(&ips);
    let netns = Netns::of_pod(&call.env.required_netns()?)?;
    let maps = registry(section)?;
    match maps.sandbox(&attachment.owner())? {
        Some(row) => {
            for ip in row.ips() {
                let ip = (*ip).into();
                if !ips.contains(&ip) {
                    ips.push(ip);
                }
            }
        }
        // ADD wrote nothing: what it would have written is missing.
        None => ips = addresses::complete(ips, &netns, &attachment.ifname)?,
    }
    summary.ips.clone_from(&ips);
    let expected = PodRow {
        owner: attachment.owner(),
        outbound_port: section.envoy_ports.outbound,
        inbound_port: section.envoy_ports.inbound,
        scope: 0,
    };
    let mut wrong = Vec::new();
    for ip in ips {
        if let Some(why) = difference(maps.pod(&ip.into())?, &expected, &maps)? {
            wrong.push(format!("{ip} {why}"));
        }
    }
    if wrong.is_empty() {
        return Ok("as registered".to_owned());
    }
    Err(Error::Mismatch(wrong))
}

/// What is wrong with a row. The scope is not compared: it is the pod's own
/// word, which may have changed since.
fn difference(
    found: Option<PodRow>,
    expected: &PodRow,
    maps: &Registry,
) -> Result<Option<String>, Error> {
    let Some(found) = found else {
        return Ok(Some(
            "is not registered: run `sockway reconcile`".to_owned(),
        ));
    };
    let PodRow {
        owner,
        outbound_port,
        inbound_port,
        scope: _,
    } = found;
    if owner != expected.owner {
        let who = maps.sandbox(&owner)?.map_or_else(
            || "an unknown attachment".to_owned(),
            |row| {
                format!(
                    "container {}",
                    sockway_common::pod::field_text(&row.container_id)
                )
            },
        );
        return Ok(Some(format!("is registered for {who}")));
    }
    if (outbound_port, inbound_port) != (expected.outbound_port, expected.inbound_port) {
        return Ok(Some(format!(
            "is registered with Envoy ports {outbound_port} and {inbound_port}, \
             the configuration says {} and {}",
            expected.outbound_port, expected.inbound_port
        )));
    }
    Ok(None)
}
