//! One file for each verb.

pub mod add;
pub mod check;
pub mod del;
pub mod gc;
pub mod status;
pub mod version;

use std::net::IpAddr;

use sockway_datapath::section::Section;
use sockway_datapath::{Pins, Registry};

use crate::addresses;
use crate::conf::NetConf;
use crate::edge::Reply;
use crate::env::{Attachment, Env};
use crate::error::{Error, chain};
use crate::netns::Netns;
use crate::policy::{Outcome, settle};
use crate::summary::Summary;

/// A call of a verb that reads a configuration.
pub struct Call<'a> {
    /// The environment.
    pub env: Env<'a>,
    /// Standard input.
    pub conf: NetConf<'a>,
}

/// How a verb ended that did not fail.
#[derive(Debug)]
pub struct Done {
    /// What the runtime is told.
    pub reply: Reply,
    /// What the log is told.
    pub outcome: String,
    /// Whether something was wrong that the runtime is not told.
    pub degraded: bool,
}

impl Done {
    /// Success.
    fn new(reply: Reply, outcome: impl Into<String>) -> Self {
        Self {
            reply,
            outcome: outcome.into(),
            degraded: false,
        }
    }

    /// Applies the policy to how our own part of the verb went; `without` says
    /// what it means where it went wrong.
    fn settled(
        strict: bool,
        result: Result<String, Error>,
        reply: Reply,
        without: &str,
    ) -> Result<Self, Error> {
        Ok(match settle(strict, result)? {
            Outcome::Done(outcome) => Self::new(reply, outcome),
            Outcome::Without(error) => Self {
                reply,
                outcome: format!("{without}: {}", chain(&error)),
                degraded: true,
            },
        })
    }
}

fn registry(section: &Section) -> Result<Registry, Error> {
    Ok(Registry::open(&Pins::new(&section.bpffs))?)
}

/// The pod's addresses and its namespace, as ADD registers them.
fn pod_addresses(
    call: &Call<'_>,
    attachment: &Attachment,
    summary: &mut Summary,
) -> Result<(Vec<IpAddr>, Netns), Error> {
    let found = addresses::of_result(call.conf.prev_result()?)?;
    summary.ips.clone_from(&found);
    let netns = Netns::of_pod(&call.env.required_netns()?)?;
    let found = addresses::complete(found, &netns, &attachment.ifname)?;
    summary.ips.clone_from(&found);
    Ok((found, netns))
}
