//! Putting right what is not as wanted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{FIRST_RETRY, Keeper, names};
use crate::exit::chain;
use crate::keep::drift::Drift;
use crate::keep::programs;
use crate::keep::rhythm::Rhythm;
use crate::node::undo::Undo;

/// Last pause after programs that could not be put in place: each try reads the kernel's type information.
const LAST_PROGRAMS_RETRY: Duration = Duration::from_secs(30);

impl Keeper {
    /// Puts right what is not as wanted, in an order in which no pod fails meanwhile.
    pub(super) fn repair(
        &mut self,
        drift: &[Drift],
        rhythm: &mut Rhythm,
        now: Instant,
        trouble: &mut Vec<String>,
    ) {
        if !rhythm.may_repair(now) {
            self.shared.lock().throttled += 1;
            trouble.push(format!("repairs come too often; put off: {}", names(drift)));
            return;
        }
        let of = |name: &str| drift.iter().find(|one| one.name() == name);
        // First, and also without programs: the runtime may call it already.
        let plugin = of("plugin").is_none() || self.repair_one(&Drift::Plugin, trouble);
        if !plugin {
            self.withdraw(trouble);
        }
        // Before programs are in place it would be called for nothing. One call puts all right.
        let mut conflist = of("conflist").filter(|_| plugin);
        if self.attached
            && let Some(drift) = conflist.take()
        {
            self.repair_one(drift, trouble);
        }
        // Last: those of another run or version work too, and this takes a second.
        if of("programs").is_some()
            && self.repair_programs(now, trouble)
            && let Some(drift) = conflist
        {
            self.repair_one(drift, trouble);
        }
        if trouble.is_empty() {
            // Somebody else may have written at the same time: look again.
            rhythm.event(now);
        }
    }

    /// Whether the programs are in place. Where they cannot be put there it is tried less and less often.
    fn repair_programs(&mut self, now: Instant, trouble: &mut Vec<String>) -> bool {
        if now < self.next_programs {
            trouble.push("the programs are not in place; tried again soon".to_owned());
            return false;
        }
        if self.repair_one(&Drift::Programs, trouble) {
            self.programs_retry = FIRST_RETRY;
            return true;
        }
        self.next_programs = now + self.programs_retry;
        self.programs_retry = (self.programs_retry * 2).min(LAST_PROGRAMS_RETRY);
        false
    }

    /// Whether it worked.
    fn repair_one(&mut self, drift: &Drift, trouble: &mut Vec<String>) -> bool {
        let done = self.try_repair(drift);
        let mut known = self.shared.lock();
        match done {
            Ok(()) => *known.repairs.entry(drift.name()).or_default() += 1,
            Err(e) => {
                known.failures += 1;
                trouble.push(chain(&e));
                return false;
            }
        }
        true
    }

    /// No list may name a plugin that is not there: every pod of the node would fail.
    fn withdraw(&self, trouble: &mut Vec<String>) {
        match self.wanted.withdraw() {
            Ok(outcomes) => {
                for outcome in outcomes {
                    log::warn!(
                        "took the entry out of {} until the plugin can be put in place",
                        outcome.path.display()
                    );
                }
            }
            Err(e) => trouble.push(format!(
                "pods fail while the list names the plugin, and the entry cannot be taken out: {}",
                chain(&e)
            )),
        }
    }

    fn try_repair(&mut self, drift: &Drift) -> Result<()> {
        // Nothing is taken back: the next turn goes on from here.
        let mut undo = Undo::default();
        match drift {
            Drift::Programs => {
                let report = programs::put().context("cannot put the programs in place")?;
                self.programs_are_ours = true;
                self.hook.installed(Instant::now());
                self.next_reconcile = Instant::now();
                let how = if report.replaced {
                    "replaced in place"
                } else {
                    "attached"
                };
                log::info!("programs {how} at {}", self.host.cgroup.path().display());
                for limit in report.limits {
                    log::warn!("{limit}");
                }
            }
            Drift::Plugin => {
                self.wanted.install_plugin(&self.host, &mut undo)?;
                log::info!("wrote {}", self.wanted.cni.plugin_path().display());
            }
            Drift::Conflist(_) => {
                // One attempt: more would be writes that the rhythm knows nothing of.
                let outcomes = self.wanted.install_conflists(1, &mut undo)?;
                self.next_reconcile = Instant::now();
                self.listed = true;
                for outcome in outcomes.iter().filter(|o| o.is_changed()) {
                    let path = outcome.path.display();
                    match outcome.entry {
                        Some(_) => log::info!("put the entry into {path}"),
                        None => log::info!("took the entry out of {path}, which is not in effect"),
                    }
                }
            }
        }
        Ok(())
    }
}
