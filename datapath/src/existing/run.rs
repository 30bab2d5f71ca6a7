//! The programs of one run, and what it asks of them.

use std::collections::HashMap;
use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

use aya::maps::{HashMap as Rows, MapData};
use aya::programs::Iter;
use aya::{Btf, Ebpf};
use sockway_common::config::Config;
use sockway_common::counters::Reason;
use sockway_common::existing::{DONE, Done, JOIN, JOINS, JoinRow, LOOK, MAX_JOINS, Seen, step};

use super::find::Looks;
use super::pairs::{End, Pair, Policy};
use super::{Joined, UNPAIRED, fields, iterate};
use crate::attach::{self, refused};
use crate::{Error, Pins, Registry, host, kernel, loader, stats};

/// How often all sockets are looked at; more often than the least where not every one
/// was found.
const LEAST_LOOKS: usize = 2;
const MOST_LOOKS: usize = 4;
/// How often two ends are tried whose numbers do not agree at the moment.
const TRIES: usize = 20;
/// Between two looks or tries, so that they say more than one.
const PAUSE: Duration = Duration::from_millis(3);

/// One run: the programs and what they need.
pub(super) struct Run<'a> {
    object: Ebpf,
    namespaces: &'a [File],
    policy: Policy,
}

impl<'a> Run<'a> {
    pub(super) fn new(pins: &Pins, namespaces: &'a [File]) -> Result<Self, Error> {
        let fields = fields::find(None)?;
        let config = Config {
            offsets: kernel::offsets(None)?,
            arch: kernel::ARCH,
            keepalive_idle: host::keepalive_idle(),
            ..Config::UNSET
        };
        if !(config.offsets.sees_order() && config.offsets.sees_files()) {
            return Err(Error::existing(
                "this kernel's BTF lacks what the rules look at",
            ));
        }
        let policy = Policy {
            pods: Registry::open(pins)?.pods()?.into_iter().collect(),
            readers: stats::readers(pins)?.into_iter().collect(),
        };
        let mut object = loader::iterators(pins, &config, &fields)?;
        let btf = Btf::from_sys_fs().map_err(|e| Error::existing(&attach::chain(&e)))?;
        for name in [LOOK, JOIN] {
            let program: &mut Iter = attach::get(&mut object, name)?;
            program.load("tcp", &btf).map_err(refused(name, "load"))?;
        }
        Ok(Self {
            object,
            namespaces,
            policy,
        })
    }

    fn look(&mut self) -> Result<Vec<End>, Error> {
        let program: &mut Iter = attach::get(&mut self.object, LOOK)?;
        let told = iterate::run::<Seen>(program, LOOK, self.namespaces)?;
        Ok(told
            .into_iter()
            .map(|(place, seen)| End { place, seen })
            .collect())
    }

    /// The pairs that may be brought in or watched.
    pub(super) fn find(&mut self, joined: &mut Joined) -> Result<Vec<Pair>, Error> {
        let mut looks = Looks::default();
        for number in 1..=MOST_LOOKS {
            if number > 1 {
                sleep(PAUSE);
            }
            looks.add(self.look()?, &self.policy);
            if number >= LEAST_LOOKS && !looks.wants_more(&self.policy) {
                break;
            }
        }
        let mut pairs = looks.judge(&self.policy, joined);
        let rest = pairs.len().saturating_sub(MAX_JOINS / 2);
        joined.leave(Reason::NotInserted.name(), rest);
        pairs.truncate(MAX_JOINS / 2);
        Ok(pairs)
    }

    /// Holds both ends of every pair, each once its numbers are those of the other.
    pub(super) fn hold(&mut self, pairs: &[Pair]) -> Result<HashMap<u64, &'static str>, Error> {
        let mut refused = self.step(pairs, step::HOLD)?;
        for _ in 1..TRIES {
            let again: Vec<_> = pairs
                .iter()
                .filter(|pair| {
                    pair.cookies()
                        .iter()
                        .any(|c| refused.get(c) == Some(&UNPAIRED))
                })
                .copied()
                .collect();
            if again.is_empty() {
                break;
            }
            sleep(PAUSE);
            for cookie in again.iter().flat_map(Pair::cookies) {
                refused.remove(&cookie);
            }
            refused.extend(self.step(&again, step::HOLD)?);
        }
        Ok(refused)
    }

    /// Takes a step with both ends of every pair; which sockets were refused, and why.
    pub(super) fn step(
        &mut self,
        pairs: &[Pair],
        step: u32,
    ) -> Result<HashMap<u64, &'static str>, Error> {
        let failed = |op| {
            move |source| Error::Map {
                name: JOINS,
                op,
                source,
            }
        };
        let map = self
            .object
            .map_mut(JOINS)
            .ok_or(Error::NoProgram { name: JOINS })?;
        let mut rows = Rows::<&mut MapData, u64, JoinRow>::try_from(map).map_err(failed("open"))?;
        for (cookie, row) in pairs.iter().flat_map(|pair| pair.rows(step)) {
            rows.insert(cookie, row, 0).map_err(failed("write a row"))?;
        }
        let mut refused: HashMap<u64, &'static str> = HashMap::new();
        // Those that are not told of are gone, or no longer established.
        for cookie in pairs.iter().flat_map(Pair::cookies) {
            refused.insert(cookie, Reason::PeerGone.name());
        }
        if pairs.is_empty() {
            return Ok(refused);
        }
        let program: &mut Iter = attach::get(&mut self.object, JOIN)?;
        for (_, done) in iterate::run::<Done>(program, JOIN, self.namespaces)? {
            if done.step != step {
                continue;
            }
            if done.result == DONE {
                refused.remove(&done.cookie);
            } else {
                let reason = Reason::ALL.into_iter().find(|r| *r as u32 == done.result);
                let name = match reason.unwrap_or(Reason::NotInserted) {
                    // The numbers did not agree.
                    Reason::NoPeer => UNPAIRED,
                    reason => reason.name(),
                };
                refused.insert(done.cookie, name);
            }
        }
        Ok(refused)
    }
}
