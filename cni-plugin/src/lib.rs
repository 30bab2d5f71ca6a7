//! `sockway-cni`, the chained CNI plugin that registers pods with Sockway.
//!
//! The runtime starts it on every pod creation and removal, as root: it reads
//! the environment and standard input, writes rows into pinned maps, and
//! answers with one JSON document or nothing on standard output. No threads, no
//! other processes, no network.

#![forbid(unsafe_code)]

pub mod addresses;
pub mod commands;
pub mod conf;
pub mod constants;
pub mod edge;
pub mod env;
pub mod error;
pub mod logger;
pub mod netns;
pub mod pod;
pub mod policy;
pub mod rollout;
pub mod summary;

use std::io::Read;

use commands::{Call, Done, add, check, del, gc, status, version};
use conf::{Keys, NetConf};
use edge::{Reply, Verb};
use env::Env;
use error::{Error, chain};
use pod::Pod;
use sockway_common::calls as counters;
use sockway_datapath::{Pins, calls};
use summary::Summary;

/// Runs one call: the whole plugin between its inputs and its output.
#[must_use]
pub fn run(env: Env<'_>, stdin: impl Read) -> Reply {
    let mut summary = Summary::begin();
    let mut version = None;
    let result = call(env, stdin, &mut summary, &mut version);
    count(&summary, &result);
    match result {
        Ok(Done {
            reply,
            outcome,
            degraded: true,
        }) => {
            log::warn!("{}", summary.line(&outcome));
            reply
        }
        Ok(Done {
            reply,
            outcome,
            degraded: false,
        }) => {
            log::info!("{}", summary.line(&outcome));
            reply
        }
        Err(error) => {
            log::error!("{}", summary.line(&format!("failed: {}", chain(&error))));
            Reply::error(&error, version.as_deref())
        }
    }
}

/// Notes the call for `sockway run`'s figures. What cannot be counted is not: no call depends on it.
fn count(summary: &Summary, result: &Result<Done, Error>) {
    let (Some(bpffs), Some(verb)) = (&summary.bpffs, counters::verb(summary.verb)) else {
        return;
    };
    let outcome = match result {
        Ok(Done {
            degraded: false, ..
        }) => counters::DONE,
        Ok(Done { degraded: true, .. }) => counters::DEGRADED,
        Err(_) => counters::FAILED,
    };
    if let Err(error) = calls::count(&Pins::new(bpffs), verb, outcome, summary.took()) {
        log::debug!("not counted: {error}");
    }
}

fn call(
    env: Env<'_>,
    stdin: impl Read,
    summary: &mut Summary,
    version: &mut Option<String>,
) -> Result<Done, Error> {
    // The verb comes first: VERSION is answered whatever the rest looks like.
    let verb = env.verb().inspect_err(|_| logger::to_stderr())?;
    summary.verb = verb.name();
    let run: fn(&Call<'_>, &mut Summary) -> Result<Done, Error> = match verb {
        Verb::Add => add::run,
        Verb::Del => return Ok(del::run(&env, stdin, summary)),
        Verb::Check => check::run,
        Verb::Status => status::run,
        Verb::Gc => gc::run,
        Verb::Version => {
            logger::to_stderr();
            return Ok(version::run(stdin));
        }
    };
    let bytes = conf::read(stdin).inspect_err(|_| logger::to_stderr())?;
    let conf = parse(&bytes, version).inspect_err(|_| logger::to_stderr())?;
    logger::from_section(&conf.section);
    summary.bpffs = Some(conf.section.bpffs.clone());
    summary.pod = Pod::from_args(&env.args());
    run(&Call { env, conf }, summary)
}

/// Notes the version as soon as it is known, for errors further on.
fn parse<'a>(bytes: &'a [u8], version: &mut Option<String>) -> Result<NetConf<'a>, Error> {
    let keys = Keys::parse(bytes)?;
    let named = keys.version()?;
    *version = Some(named.clone()).filter(|named| version::repeatable(named));
    NetConf::new(keys, named)
}
