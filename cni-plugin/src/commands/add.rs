//! ADD: registers the pod's addresses, and passes prevResult on untouched.
//!
//! A pod that is not to take part (`scope` off, or left out) is registered too: connections
//! to it must be left alone whatever the pod at the other end says.

use std::time::{SystemTime, UNIX_EPOCH};

use sockway_common::pod::{PodRow, SandboxRow, text_field};

use super::{Call, Done, pod_addresses, registry};
use crate::edge::Reply;
use crate::env::Attachment;
use crate::error::Error;
use crate::pod::part_of;
use crate::summary::Summary;

/// Runs the verb.
///
/// # Errors
/// Where the call itself is wrong; where the pod could not be registered, only
/// if the section says `strict`.
pub fn run(call: &Call<'_>, summary: &mut Summary) -> Result<Done, Error> {
    let attachment = summary.attachment.insert(call.env.attachment()?).clone();
    call.env.required_netns()?;
    let result = call.conf.prev_result()?;
    let registered = register(call, &attachment, summary);
    Done::settled(
        call.conf.section.strict,
        registered,
        Reply::passed_on(result),
        "passed on, the pod is not accelerated",
    )
}

fn register(
    call: &Call<'_>,
    attachment: &Attachment,
    summary: &mut Summary,
) -> Result<String, Error> {
    let section = call.conf.sound_section()?;
    let container = &attachment.container_id;
    let part = part_of(&summary.pod, container, section, call.conf.runtime_config())?;
    summary.scope = Some(part.scope);
    let (ips, netns) = pod_addresses(call, attachment, summary)?;
    let mut sandbox = SandboxRow {
        netns_inode: netns.inode(),
        since_unix_ns: now(),
        ip_count: u32::try_from(ips.len()).unwrap_or(u32::MAX),
        part: part.word(),
        container_id: text_field(&attachment.container_id),
        ifname: text_field(&attachment.ifname),
        network: text_field(&call.conf.name),
        pod_namespace: text_field(&summary.pod.namespace),
        pod_name: text_field(&summary.pod.name),
        ..SandboxRow::default()
    };
    for (place, ip) in sandbox.ips.iter_mut().zip(&ips) {
        *place = (*ip).into();
    }
    let owner = attachment.owner();
    let row = PodRow {
        owner,
        outbound_port: section.envoy_ports.outbound,
        inbound_port: section.envoy_ports.inbound,
        scope: part.scope,
    };
    log::debug!(
        "registering {} addresses under {}",
        ips.len(),
        section.bpffs
    );
    registry(section)?.register(owner, &sandbox, &row)?;
    Ok(match part.left_out {
        Some(why) => format!("registered, {why}"),
        None => "registered".to_owned(),
    })
}

/// Nanoseconds since the Unix epoch; 0 under a clock that is before it.
fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
